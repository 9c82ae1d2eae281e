"""Few-shot curves of downstream results, as numbers and as a picture."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spex.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ARM_STYLES = {
    "finetune/pretrained": ("#1b6ca8", "-"),
    "finetune/scratch": ("#d1495b", "-"),
    "finetune/unet": ("#444444", "-"),
    "probe/pretrained": ("#1b6ca8", "--"),
    "probe/scratch": ("#d1495b", "--"),
}
"""Colour and line style of each arm."""
_MEASURES = {"scene": ("oa", "overall accuracy")}
_DEFAULT_MEASURE = ("mean_iou", "mean IoU")
_ARM_OFFSET = 0.03  # between arms, so that their ranges do not hide each other

CurvePoints = dict[tuple[str, str, str], list[float]]


def score_by_curve(results: dict[str, Any]) -> CurvePoints:
    """The scores of all seeds by task, arm and shots: accuracy of scenes, mean IoU of pixels."""
    points: CurvePoints = {}
    for run in results["runs"]:
        score, _ = _MEASURES.get(run["kind"], _DEFAULT_MEASURE)
        if run[score] is not None:
            key = (run["task"], f"{run['mode']}/{run['init']}", str(run["shots"]))
            points.setdefault(key, []).append(run[score])
    return points


def require_matplotlib() -> None:
    """Require before the work, not after it, that curves can be drawn.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ConfigError(
            "few-shot curves need matplotlib; install it with: pip install 'spex[bench]'"
        )


def plot_curves(results: dict[str, Any], path: str | Path) -> None:
    """Draw one panel per task: mean and range over seeds against labelled examples per class.

    Args:
        results: Content of ``results.json``.
        path: The picture to write.
    """
    from matplotlib.figure import Figure

    tasks = list(results["tasks"])
    points = score_by_curve(results)
    figure = Figure(figsize=(4.6 * len(tasks), 4.2), layout="constrained")
    for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        shots = sorted({key[2] for key in points if key[0] == task}, key=_shot_order)
        for number, arm in enumerate(ARM_STYLES):
            offset = _ARM_OFFSET * (number - len(ARM_STYLES) // 2)
            _plot_arm(axes, points, task, arm, shots, offset)
        _label_axes(axes, task, results["tasks"][task], shots)
    _add_legend(figure)
    figure.savefig(path, dpi=130)


def _shot_order(shots: str) -> float:
    return float("inf") if shots == "all" else int(shots)


def _plot_arm(
    axes: Axes, points: CurvePoints, task: str, arm: str, shots: list[str], offset: float
) -> None:
    positions = []
    scores = []
    for position, count in enumerate(shots):
        if values := points.get((task, arm, count)):
            positions.append(position + offset)
            scores.append(values)
    if not scores:
        return
    colour, line_style = ARM_STYLES[arm]
    means = np.array([np.mean(values) for values in scores])
    limits = np.array([(min(values), max(values)) for values in scores]).T
    axes.errorbar(
        positions,
        means,
        np.abs(limits - means),
        color=colour,
        linestyle=line_style,
        marker="o",
        markersize=5,
        label=arm,
        markerfacecolor=colour if line_style == "-" else "white",
        elinewidth=1,
    )


def _label_axes(axes: Axes, task: str, about: dict[str, Any], shots: list[str]) -> None:
    measured = f"measured on {about['val_examples']} examples of {about['val_places']} places"
    axes.set_title(f"{task}\n{measured}", fontsize=10)
    axes.set_xlim(-0.5, len(shots) - 0.5)
    axes.set_xticks(range(len(shots)), shots)
    axes.set_xlabel("labelled training examples per class")
    axes.set_ylabel(_MEASURES.get(about["kind"], _DEFAULT_MEASURE)[1])
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _add_legend(figure: Figure) -> None:
    """One legend of all panels."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles[label] = handle
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=len(handles),
        frameon=False,
        fontsize=9,
    )
