"""Contact sheets: the records they choose, what their pictures show, and both forms of the file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from instruction_data.review.panels import panels
from instruction_data.review.sheet import contact_sheet
from instruction_data.review.targets import LabelledChip
from spex.errors import OutputError, RecordError
from spex.evidence.classes import classes
from spex.query.answer_markup import parse_answer
from spex.records import read_records


def test_html_holds_pictures_and_dialogue(built: Path, tmp_path: Path) -> None:
    assert contact_sheet(built, tmp_path / "sheet.html", 10) == 6  # all there are
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert page.count("<section>") == 6 and page.count("data:image/png;base64,") == 2 * (4 + 4 + 3)
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    for words in (
        "¿Cuántos coches hay?",
        "&lt;seg class=water",
        "water (of at least 0.1 ha)",
        "made by hand",
        "held out",
    ):
        assert words in page
    assert "45.3 %" in page  # 29 of 64 columns, filled from the mask


def test_seed_chooses(built: Path, tmp_path: Path) -> None:
    def titles(seed: int) -> list[str]:
        contact_sheet(built, tmp_path / "sheet.html", 3, seed)
        return re.findall(r"<h2>(\S+)", (tmp_path / "sheet.html").read_text(encoding="utf-8"))

    assert titles(1) == titles(1) and len({tuple(titles(seed)) for seed in range(5)}) > 1


def test_png(built: Path, tmp_path: Path) -> None:
    assert contact_sheet(built, tmp_path / "new/sheet.png", 2) == 2
    with Image.open(tmp_path / "new/sheet.png") as sheet:
        assert sheet.width > 1500 and sheet.height > 500


def test_surveys_alone(built: Path, tmp_path: Path) -> None:
    for shard in built.glob("dialogue_*"):
        shard.unlink()
    assert contact_sheet(built, tmp_path / "sheet.html", 5) == 2
    assert "Q</b>" not in (tmp_path / "sheet.html").read_text(encoding="utf-8")


def test_what_cannot_be_drawn(built: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"neither \.png nor \.html"):
        contact_sheet(built, tmp_path / "sheet.pdf")
    with pytest.raises(OutputError, match="name another file"):
        contact_sheet(built, built / "survey_own_000_train.parquet/sheet.png")
    (built / "survey_own_000_train.parquet").unlink()
    with pytest.raises(RecordError, match="no surveys beside it"):
        contact_sheet(built / "dialogue_own_000_train.parquet", tmp_path / "sheet.png")


def test_panels_show_labels_answer_and_evidence(built: Path) -> None:
    survey = next(read_records(built / "survey_own_000_train.parquet"))
    chip = LabelledChip(survey)
    answer = parse_answer("<seg class=tree_cover where=north>trees</seg>: <fact:area>.")
    image, evidence, labels, masks = panels(chip, survey, "trees", answer, chip.carry_out(answer))
    assert evidence.caption.startswith("tree cover: NDVI above")
    blue = evidence.image[..., 2].astype(int) - evidence.image[..., 0]
    assert (blue[:, 40:] > 0).all() and (blue[:, :20] < 0).all()
    hatch = (labels.image == (255, 0, 200)).all(axis=2)
    assert hatch[:, 29:32].any() and not hatch[:, :29].any() and not hatch[:, 32:].any()
    changed = np.ptp(masks.image.astype(int), axis=2) > 0  # coloured on grey
    assert image.caption == "true colour" and np.ptp(image.image.astype(int), axis=2).any()
    assert changed[:32, 32:].all() and not changed[32:].any() and not changed[:, :32].any()
    green = np.array([int(classes()["tree_cover"].colour[i : i + 2], 16) for i in (1, 3, 5)])
    assert (masks.image[31, 40] == green).all()  # its outline
    assert len(panels(chip, survey, "why?")) == 3
