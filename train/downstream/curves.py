"""Few-shot curves of downstream results, as numbers and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spex.errors import ConfigError

LOOKS = {
    "finetune/pretrained": ("#1b6ca8", "-"), "finetune/scratch": ("#d1495b", "-"), "finetune/unet": ("#444444", "-"),
    "probe/pretrained": ("#1b6ca8", "--"), "probe/scratch": ("#d1495b", "--"),
}  # fmt: skip
_MEASURES = {"scene": ("oa", "overall accuracy")}
_OTHERWISE = ("mean_iou", "mean IoU")


def curves(results: dict[str, Any]) -> dict[tuple[str, str, str], list[float]]:
    """What the picture shows, one value per seed, by task, arm and shots; scenes by accuracy, pixels by mean IoU."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for run in results["runs"]:
        value = run[_MEASURES.get(run["kind"], _OTHERWISE)[0]]
        if value is not None:
            found.setdefault(
                (run["task"], f"{run['mode']}/{run['init']}", str(run["shots"])), []
            ).append(value)
    return found


def require_matplotlib() -> None:
    """Say before the work, not after it, that the picture cannot be drawn.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise ConfigError(
            "few-shot curves need matplotlib; install it with: pip install 'spex[bench]'"
        )


def plot(results: dict[str, Any], path: str | Path) -> None:
    """One panel per task: mean over seeds against labelled examples per class, and the range over seeds."""
    from matplotlib.figure import Figure

    tasks = list(results["tasks"])
    found = curves(results)
    figure = Figure(figsize=(4.6 * len(tasks), 4.2), layout="constrained")
    for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        shots = sorted(
            {s for t, _, s in found if t == task},
            key=lambda s: float("inf") if s == "all" else int(s),
        )
        for place, (arm, (colour, line)) in enumerate(LOOKS.items()):
            here = [
                (i, found[task, arm, s]) for i, s in enumerate(shots) if (task, arm, s) in found
            ]
            if here:
                beside = [
                    i + 0.03 * (place - len(LOOKS) // 2) for i, _ in here
                ]  # ranges do not hide each other
                mean = np.array([np.mean(row) for _, row in here])
                spread = np.abs(np.array([(min(row), max(row)) for _, row in here]).T - mean)
                axes.errorbar(beside, mean, spread, color=colour, linestyle=line, marker="o", markersize=5, label=arm,
                              markerfacecolor=colour if line == "-" else "white", elinewidth=1)  # fmt: skip
        axes.set_xlim(-0.5, len(shots) - 0.5)
        about = results["tasks"][task]
        axes.set_xticks(range(len(shots)), shots)
        measured = f"measured on {about['val_examples']} examples of {about['val_places']} places"
        axes.set_title(f"{task}\n{measured}", fontsize=10)
        axes.set_xlabel("labelled training examples per class")
        axes.set_ylabel(_MEASURES.get(about["kind"], _OTHERWISE)[1])
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    arms = {
        label: mark
        for axes in figure.axes
        for mark, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        arms.values(),
        arms.keys(),
        loc="outside lower center",
        ncols=len(arms),
        frameon=False,
        fontsize=9,
    )
    figure.savefig(path, dpi=130)
