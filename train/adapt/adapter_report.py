"""The report of an adapter: scores and degraded classes as JSON and Markdown, and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spex.evaluate import Case, LabelTarget
from spex.evidence.class_additions import added_classes
from spex.evidence.classes import classes
from spex.results.picture_sheet import Panel, picture_sheet
from spex.results.rendering import overlay, rgb_image
from spex.scores import Scores
from train.adapt.comparison import MAX_CHANGED_SHARE, MAX_IOU_LOSS, CaseComparison

_MAX_TILES = 4
_PANEL_SIDE = 256  # pixels


def draw_before_after(comparison: CaseComparison, path: Path) -> None:
    """Draw image, label and mask before and after, of the first held-out tiles that show a class.

    The class is a new one, else the one with the most pixels. Without such a tile, nothing is
    written.

    Args:
        comparison: Held-out tiles queried with ``before`` and ``after``.
        path: The PNG file to write.
    """
    class_name = _class_to_draw(comparison)
    rows = []
    for case in comparison.cases:
        for target in case.targets:
            if target.name == class_name and (target.mask & target.known).any():
                rows.append((case.id, _panels(comparison, case, target)))
    if rows:
        picture_sheet(rows[:_MAX_TILES], _PANEL_SIDE).save(path, optimize=True)


def _class_to_draw(comparison: CaseComparison) -> str:
    rows = comparison.score_rows()
    rows.sort(key=lambda row: (row["class"] in added_classes(), row["pixels"]))
    return str(rows[-1]["class"])


def _panels(comparison: CaseComparison, case: Case, target: LabelTarget) -> list[Panel]:
    image, composite = rgb_image(case.pixels)
    land_class = classes()[target.name]
    colours = [land_class.colour]
    label_image = np.where(target.known[..., None], image, image // 3)
    caption = f"label: {land_class.title}"
    if not target.known.all():
        caption += " (dark: unknown)"
    label_mask = (target.mask & target.known).astype(np.uint8)
    panels = [
        Panel(image, composite),
        Panel(overlay(label_image, label_mask, colours), caption),
    ]
    for title in ("before", "after"):
        probability = comparison.maps[case.id, title][target.name]
        mask = np.zeros_like(target.mask)
        if probability is not None:
            mask = np.asarray(probability >= 0.5)
        picture = overlay(image, mask.astype(np.uint8), colours)
        panels.append(Panel(picture, f"{title}, IoU {_iou(mask, target):.2f}"))
    return panels


def _iou(mask: NDArray[np.bool_], target: LabelTarget) -> float:
    truth = target.mask[target.known]
    predicted = mask[target.known]
    return float((truth & predicted).sum() / max((truth | predicted).sum(), 1))


def write_report(out: Path, document: Mapping[str, Any], tables: Mapping[str, Scores]) -> None:
    """Write ``report.json`` and ``report.md``.

    Args:
        out: Folder of the adapter.
        document: Content of ``report.json``.
        tables: Scores by the heading of their table.
    """
    lines = _summary_lines(out.name, document)
    for title, scores in tables.items():
        if scores.tallies:
            lines += [f"## IoU {title}", "", scores.table("iou"), ""]
    lines += _known_class_lines(document["forgetting"])
    if (out / "before_after.png").exists():
        lines += ["![image, label, mask before and after](before_after.png)", ""]
    (out / "report.md").write_text("\n".join(lines), encoding="utf-8")
    content = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    (out / "report.json").write_text(content, encoding="utf-8")


def _summary_lines(name: str, document: Mapping[str, Any]) -> list[str]:
    return [
        f"# Adapter {name}",
        "",
        f"Learned from {document['tiles']} tiles in {document['minutes']:.1f} minutes "
        f"({document['steps']} steps), {document['bytes'] / 1e6:.1f} MB, "
        f"for the model {document['base']['name']}. Held out: {document['held_out']}.",
        f"New classes: {', '.join(document['new']) or 'none'}. "
        "The encoder and the language model are unchanged, so every query is read as before.",
        "",
    ]


def _known_class_lines(forgetting: Mapping[str, Any]) -> list[str]:
    if forgetting["beyond"]:
        verdict = f"DEGRADED: {', '.join(forgetting['beyond'])}"
    else:
        verdict = "No class known before has degraded"
    lines = [
        "## Classes known before",
        "",
        f"{verdict}. A class may lose {MAX_IOU_LOSS} IoU on labelled tiles, and its mask may "
        f"change on {MAX_CHANGED_SHARE:.0%} of the half of the sample scene that was not replayed.",
        "",
    ]
    lines += [f"- {name}: {loss:+.3f} IoU lost" for name, loss in forgetting["lost"].items()]
    for name, share in forgetting["changed"].items():
        lines.append(f"- sample scene, {name}: {share:.1%} of the pixels changed")
    return [*lines, ""]
