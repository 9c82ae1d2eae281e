"""The cost of instruction data: index and region work beside memory bandwidth; records per hour.

    python tests/benchmarks/builder.py [--size 4096] [--chips 256]

The bound of a piece of work is the bytes that it must at least move, every input read once and
every output written once, over the bandwidth of a triad ``a = b + s * c`` on float32 planes of
the same size, measured in turns with it, all on one core and in the process's own time. Records
per hour come from whole builds, from the start of Python to the data card, with one and two
processes; 16 cores are taken for eight times two.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from measure import ROOT
from rasterio.transform import from_origin
from scipy import ndimage

from spex.evidence.indices import EVIDENCE_INDICES, compute_indices, index_roles
from spex.evidence.regions import label_runs, regions

BLOCK = 1 << 16
CORES, BUDGET = 16, 400_000
BANDS = "B02=490/65,B03=560/35,B04=665/30,B08=842/115,B11=1610/90,B12=2190/180"
SPECTRA = np.array(
    [
        [600, 700, 400, 200, 80, 50],
        [300, 700, 400, 4200, 1800, 800],
        [1000, 1400, 1900, 2700, 3300, 2800],
    ]
)


def bandwidth(size: int) -> list[tuple[str, float, float]]:
    """(work, its GB/s, the triad's GB/s) for index and region work on ``size`` squared pixels."""
    rng = np.random.default_rng(0)
    planes = {
        role: rng.uniform(0.05, 0.5, (size, size)).astype(np.float32)
        for role in ("B", "G", "R", "N", "S1", "S2")
    }
    coarse = ndimage.gaussian_filter(rng.normal(size=(size // 16, size // 16)), 2)
    land = ndimage.zoom(coarse, 16, order=1).astype(np.float32) + 0.01 * rng.normal(
        size=(size, size)
    ).astype(np.float32)
    mask = land > 0.05
    out, plane = np.empty(size * size, np.float32), 4 * size * size

    def triad() -> None:
        b, c = planes["R"].ravel(), planes["N"].ravel()
        for first in range(0, out.size, BLOCK):
            block = slice(first, first + BLOCK)
            np.multiply(c[block], np.float32(3), out=out[block])
            np.add(out[block], b[block], out=out[block])

    roles = frozenset().union(*map(index_roles, EVIDENCE_INDICES))
    work: dict[str, tuple[Callable[[], object], float]] = {
        "NDVI": (lambda: compute_indices(["NDVI"], planes), 3 * plane),
        f"{len(EVIDENCE_INDICES)} indices of {len(roles)} bands": (
            lambda: compute_indices(EVIDENCE_INDICES, planes),
            (len(roles) + len(EVIDENCE_INDICES)) * plane,
        ),
        "regions labelled": (lambda: label_runs(mask).labels(), 1.25 * plane),
        "regions and their statistics": (
            lambda: regions(mask, planes={"NDVI": land}, limit=10),
            1.25 * plane,
        ),
    }
    found = []
    for name, (run, moved) in work.items():
        best, triads = float("inf"), float("inf")
        for _ in range(7):
            triads, best = min(triads, seconds(triad)), min(best, seconds(run))
        found.append((name, moved / best / 1e9, 3 * plane / triads / 1e9))
    return found


def seconds(run: Callable[[], object]) -> float:
    """Processor seconds of this single-threaded process."""
    start = time.process_time()
    run()
    return time.process_time() - start


def write_scenes(folder: Path, count: int) -> None:
    """Scenes of one chip each with a water mask in patches of many sizes, far apart."""
    (folder / "labels").mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        levels = ndimage.gaussian_filter(rng.normal(size=(256, 256)), rng.uniform(2, 12))
        kinds = np.digitize(levels, np.quantile(levels, [0.3, 0.6]))
        values = np.clip(
            SPECTRA[kinds].transpose(2, 0, 1) + rng.normal(0, 60, (6, 256, 256)), 1, None
        )
        place = from_origin(
            300_000 + number % 20 * 10_000, 5_000_000 + number // 20 * 10_000, 10, 10
        )
        for path, planes in (
            (f"s{number:04d}.tif", values.astype(np.uint16)),
            (f"labels/s{number:04d}.tif", (kinds == 0)[None]),
        ):
            profile = {
                "driver": "GTiff",
                "count": len(planes),
                "height": 256,
                "width": 256,
                "dtype": planes.dtype,
            }
            profile["dtype"] = "uint8" if planes.dtype == bool else "uint16"
            with rasterio.open(
                folder / path, "w", crs="EPSG:32633", transform=place, **profile
            ) as raster:
                raster.write(planes.astype(profile["dtype"]))


def build(scenes: Path, out: Path, simulated: int, workers: int) -> tuple[int, float, float]:
    """Records, seconds and seconds of cores of one build as a person would start it."""
    command = [sys.executable, "-m", "instruction_data", "build", str(scenes)]
    command += [
        "--legend",
        "mask:water",
        "--bands",
        BANDS,
        "--simulated",
        str(simulated),
        "--workers",
        str(workers),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [*command, "--out", str(out)],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    took, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return sum(json.loads((out / "report.json").read_text())["records"].values()), took, busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--size", type=int, default=4096, help="side of the scene for the bandwidth"
    )
    parser.add_argument(
        "--chips", type=int, default=128, help="chips of a build, half of them simulated"
    )
    arguments = parser.parse_args()

    print(
        f"\nOn {arguments.size} x {arguments.size} pixels, one core\n"
        f"{'':36}{'GB/s':>8}{'triad':>8}{'share':>8}"
    )
    for name, rate, bound in bandwidth(arguments.size):
        print(f"{name:36}{rate:8.1f}{bound:8.1f}{rate / bound:8.0%}")

    with tempfile.TemporaryDirectory() as folder:
        scenes = Path(folder) / "scenes"
        write_scenes(scenes, arguments.chips // 2)
        rates = {}
        print(f"\nBuilding {arguments.chips} chips, half of them simulated")
        print(f"{'':36}{'records':>8}{'seconds':>9}{'per s':>8}{'core s':>8}{'per core s':>12}")
        for workers in (1, 2):
            count, took, busy = build(
                scenes, Path(folder) / f"out{workers}", arguments.chips // 2, workers
            )
            rates[workers] = count / took
            name = f"{workers} of {os.cpu_count()} cores"
            print(
                f"{name:36}{count:8}{took:9.1f}{rates[workers]:8.1f}{busy:8.1f}{count / busy:12.1f}"
            )
        hour = 3600 * rates[2] * CORES / 2
        print(f"{CORES} cores, extrapolated: {hour:,.0f} records per hour (budget {BUDGET:,})")


if __name__ == "__main__":
    main()
