"""Time and peak memory of a command, beside a baseline measured in the same run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cost:
    """The shortest wall time, and the largest resident memory of the process, over the repeats."""

    seconds: float
    peak_mib: float


def cost(arguments: Sequence[str], repeats: int = 3) -> Cost:
    """Run ``python ARGUMENTS`` from the checkout and measure it; a failure ends the benchmark."""
    seconds, peak = float("inf"), 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(arguments)} ended with status {process.returncode}")
        seconds = min(seconds, time.perf_counter() - start)
        peak = max(peak, usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2))
    return Cost(seconds, peak)


def table(title: str, baseline: tuple[str, Cost], rows: Sequence[tuple[str, Cost]]) -> None:
    """Print the costs, each also as a multiple of the baseline's."""
    print(f"\n{title}\n{'':36}{'seconds':>10}{'ratio':>8}{'peak MiB':>10}{'ratio':>8}")
    for name, one in (baseline, *rows):
        time_ratio, memory_ratio = (
            one.seconds / baseline[1].seconds,
            one.peak_mib / baseline[1].peak_mib,
        )
        print(
            f"{name:36}{one.seconds:10.2f}{time_ratio:8.1f}{one.peak_mib:10.0f}{memory_ratio:8.1f}"
        )
