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
            found.setdefault((run["task"], f"{run['mode']}/{run['init']}", str(run["shots"])), []).append(value)
    return found


def require_matplotlib() -> None:
    """Say before the work, not after it, that the picture cannot be drawn.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise ConfigError("few-shot curves need matplotlib; install it with: pip install 'spex[bench]'")


def plot(results: dict[str, Any], path: str | Path) -> None:
    """One panel per task: mean over seeds against labelled examples per class, and the range over seeds."""
    from matplotlib.figure import Figure

    tasks = list(results["tasks"])
    found = curves(results)
    shots = sorted({s for _, _, s in found}, key=lambda s: float("inf") if s == "all" else int(s))
    figure = Figure(figsize=(4.6 * len(tasks), 4.2), layout="constrained")
    for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        for arm, (colour, line) in LOOKS.items():
            here = [(i, found[task, arm, s]) for i, s in enumerate(shots) if (task, arm, s) in found]
            if here:
                x, rows = [i for i, _ in here], [row for _, row in here]
                mean, fill = [np.mean(row) for row in rows], colour if line == "-" else "white"
                axes.plot(x, mean, line, color=colour, marker="o", markersize=5, markerfacecolor=fill, label=arm)
                axes.fill_between(x, [min(r) for r in rows], [max(r) for r in rows], color=colour, alpha=0.12, lw=0)
        about = results["tasks"][task]
        axes.set_xticks(range(len(shots)), shots)
        measured = f"measured on {about['val_examples']} examples of {about['val_places']} places"
        axes.set_title(f"{task}\n{measured}", fontsize=10)
        axes.set_xlabel("labelled training examples per class")
        axes.set_ylabel(_MEASURES.get(about["kind"], _OTHERWISE)[1])
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)
