"""What an adapter changed: scores on held-out places before and after, what was forgotten, and pictures."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spex.engine.methods import Predictor
from spex.evaluate import Case, LabelTarget, QueryMethod, cases
from spex.evidence.classes import classes
from spex.evidence.scene_evidence import measure
from spex.raster.scene import Pixels
from spex.records import SpieRecord
from spex.results.rendering import overlay, rgb_image
from spex.scores import Scores

MOST_LOST = 0.03
"""IoU that a class known before may lose on held-out places."""
MOST_CHANGED = 0.03
"""Share of the pixels of the half of the sample scene that was not replayed whose mask may change, per class."""
_FEW = 300  # positive pixels below which an IoU is chance
_ASKED_OF_SAMPLE = 8
_ROWS, _PANEL, _GAP, _TITLE = 4, 256, 8, 22

Maps = Mapping[str, NDArray[np.float32] | None]


@dataclass
class Compared:
    """Cases asked before and after, their scores side by side, and the masks of the first few."""

    cases: list[Case]
    scores: Scores = field(default_factory=Scores)
    maps: dict[tuple[str, str], Maps] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Sequence[SpieRecord]) -> Compared:
        """Held-out tiles, those of different places first."""
        numbers: dict[str, int] = {}
        order = []
        for record in records:
            numbers[record.place] = numbers.get(record.place, 0) + 1
            order.append((numbers[record.place], record.id))
        chosen = [
            record
            for _, record in sorted(zip(order, records, strict=True), key=lambda pair: pair[0])
        ]
        return cls(list(cases(chosen)))

    def ask(self, arms: Mapping[str, Predictor], seconds: float | None = None) -> None:
        """Ask predictors about all cases; with a limit of time, drop those that will not fit, but one."""
        began = time.monotonic()
        for number, case in enumerate(self.cases):
            if (
                number
                and seconds is not None
                and (time.monotonic() - began) * (number + 1) / number > seconds
            ):
                self.cases = self.cases[:number]
                break
            answered = {title: QueryMethod(predictor)(case) for title, predictor in arms.items()}
            self.scores.add(
                case, {title: lambda _, found=found: found for title, found in answered.items()}
            )
            self.maps |= {(case.id, title): found for title, found in answered.items()}

    def rows(self) -> list[dict[str, Any]]:
        """Per source and class: IoU under each arm, and the pixels of the class."""
        return [
            {
                "source": source,
                "class": name,
                "pixels": next(iter(row.values())).scores()["positive_pixels"],
                "iou": {title: tally.scores()["iou"] for title, tally in row.items()},
                "false_alarms": {
                    title: tally.scores()["false_alarms"] for title, tally in row.items()
                },
            }
            for (source, name), row in sorted(self.scores.tallies.items())
        ]


def sample_case(pixels: Pixels, predictor: Predictor, known: Collection[str]) -> tuple[Case, Maps]:
    """A scene whose truth is what a predictor finds in it, of the most frequent classes that its bands can tell."""
    evidence = measure(pixels)
    able = [
        item
        for item in evidence.classes.values()
        if item.name in known and item.status in ("present", "absent")
    ]
    names = [item.name for item in sorted(able, key=lambda item: -item.fraction)][:_ASKED_OF_SAMPLE]
    nothing = np.zeros_like(pixels.valid)
    case = Case("sample", "sample", pixels, evidence, tuple(
        LabelTarget(name, name, classes()[name].title, nothing, pixels.valid) for name in names
    ))  # fmt: skip
    found = QueryMethod(predictor)(case)
    targets = [
        replace(t, mask=found[t.name] >= 0.5) for t in case.targets if found[t.name] is not None
    ]  # type: ignore[operator]
    return replace(case, targets=tuple(targets)), found


def changed(case: Case, before: Maps, after: Maps) -> dict[str, float]:
    """Share of a scene's valid pixels whose mask differs, by class."""
    found = {}
    for target in case.targets:
        mine, theirs = after[target.name], before[target.name]
        differs = (
            np.ones_like(case.pixels.valid)
            if mine is None or theirs is None
            else (mine >= 0.5) != (theirs >= 0.5)
        )
        found[target.name] = float(differs[case.pixels.valid].mean())
    return found


def lost(rows: Sequence[Mapping[str, Any]], new: Collection[str]) -> dict[str, float]:
    """IoU that each class known before lost, of those with enough pixels to tell."""
    return {
        f"{row['source']}/{row['class']}": row["iou"]["before"] - row["iou"]["after"]
        for row in rows
        if row["class"] not in new and row["pixels"] >= _FEW and None not in row["iou"].values()
    }


def picture(compared: Compared, name: str, path: Path) -> None:
    """Image, truth, and the mask of one class before and after, of the first held-out tiles that show it."""
    showing = [
        (case, t)
        for case in compared.cases
        for t in case.targets
        if t.name == name and (t.mask & t.known).any()
    ]
    rows = [list(_panels(compared, case, target)) for case, target in showing[:_ROWS]]
    if not rows:
        return
    size = (4 * (_PANEL + _GAP) + _GAP, len(rows) * (_PANEL + _TITLE + _GAP) + _GAP)
    canvas, font = Image.new("RGB", size, "white"), ImageFont.load_default(13)
    pen = ImageDraw.Draw(canvas)
    for number, row in enumerate(rows):
        top = _GAP + number * (_PANEL + _TITLE + _GAP)
        for column, (words, panel) in enumerate(row):
            left = _GAP + column * (_PANEL + _GAP)
            pen.text((left, top), words[:36], fill=(30, 30, 30), font=font)
            scale = _PANEL / max(panel.shape[:2])
            wide, high = (max(1, round(n * scale)) for n in panel.shape[1::-1])
            canvas.paste(
                Image.fromarray(panel).resize((wide, high), Image.Resampling.NEAREST),
                (left, top + _TITLE),
            )
    canvas.save(path, optimize=True)


def _panels(
    compared: Compared, case: Case, target: LabelTarget
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    image, _ = rgb_image(case.pixels)
    colour = [classes()[target.name].colour]
    yield case.id, image
    told = np.where(target.known[..., None], image, image // 3)
    words = f"label: {classes()[target.name].title}" + (
        "" if target.known.all() else " (dark: unknown)"
    )
    yield words, overlay(told, (target.mask & target.known).astype(np.uint8), colour)
    for title in ("before", "after"):
        found = compared.maps[case.id, title][target.name]
        mask = np.zeros_like(target.mask) if found is None else found >= 0.5
        yield (
            f"{title}, IoU {_iou(mask, target):.2f}",
            overlay(image, mask.astype(np.uint8), colour),
        )


def _iou(mask: NDArray[np.bool_], target: LabelTarget) -> float:
    truth, mine = target.mask[target.known], mask[target.known]
    return float((truth & mine).sum() / max((truth | mine).sum(), 1))


def write_report(out: Path, document: Mapping[str, Any], tables: Mapping[str, Scores]) -> None:
    """``report.json`` and ``report.md``: what was learned from what, scores, and what was forgotten."""
    forgotten, base = document["forgetting"], document["base"]["name"]
    verdict = (
        "Nothing is forgotten"
        if not forgotten["beyond"]
        else f"FORGOTTEN: {', '.join(forgotten['beyond'])}"
    )
    lines = [
        f"# Adapter {out.name}", "",
        f"Learned from {document['tiles']} tiles in {document['minutes']:.1f} minutes ({document['steps']} steps), "
        f"{document['bytes'] / 1e6:.1f} MB, for the model {base}. Held out: {document['held_out']}.",
        f"New classes: {', '.join(document['new']) or 'none'}. "
        "The encoder and the language model are as before, so every query is read as before.", "",
    ]  # fmt: skip
    for title, scores in tables.items():
        lines += [f"## IoU {title}", "", scores.table("iou"), ""] if scores.tallies else []
    lines += [
        "## What was known before", "",
        f"{verdict}: a class may lose {MOST_LOST} IoU where labels tell, and change {MOST_CHANGED:.0%} of the pixels "
        "of the half of the sample scene that was not replayed.", "",
        *(f"- {name}: {loss:+.3f} IoU lost" for name, loss in forgotten["lost"].items()),
        *(f"- sample scene, {name}: {share:.1%} of the pixels changed" for name, share in forgotten["changed"].items()),
        "",
    ]  # fmt: skip
    if (out / "before_after.png").exists():
        lines += ["![image, label, mask before and after](before_after.png)", ""]
    (out / "report.md").write_text("\n".join(lines), encoding="utf-8")
    (out / "report.json").write_text(
        json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
