"""The requests written by hand: every line is in the notation, and no batch repeats another."""

from __future__ import annotations

from pathlib import Path

import pytest

from instruction_data.requests.corpus import FOLDER, REFUSED, RequestedSpan, read_requests
from spex.errors import RecordError

TRAINING = sorted(FOLDER.glob("*.tsv"))
KEPT = sorted((Path(__file__).parents[2] / "requests").glob("*.tsv"))


@pytest.mark.parametrize("path", [*TRAINING, *KEPT], ids=lambda path: path.stem)
def test_every_line_is_in_the_notation(path: Path) -> None:
    assert len(list(read_requests(path))) >= 100


def test_no_kept_request_is_learned_from() -> None:
    training = {request.turns for path in TRAINING for request in read_requests(path)}
    kept = [request.turns for path in KEPT for request in read_requests(path)]
    assert len(kept) >= 800 and len(training) >= 4500
    assert not [turns for turns in kept if len(" ".join(turns).split()) > 4 and turns in training]


def test_a_reading_has_alternatives_spans_and_constraints(tmp_path: Path) -> None:
    path = tmp_path / "batch.tsv"
    path.write_text(
        "lakes over 2 ha, and woods || thanks\twater{min=2ha,not=wetland}; tree_cover | !\n",
        encoding="utf-8",
    )
    (request,) = read_requests(path)
    assert request.turns == ("lakes over 2 ha, and woods", "thanks")
    spans = (
        RequestedSpan("water", ("min=2ha", "not=wetland")),
        RequestedSpan("tree_cover", ()),
    )
    assert request.readings == (spans, REFUSED)


@pytest.mark.parametrize("reading", ["lake", "water{big}", "water{not=lake}", "water{min=2}", ""])
def test_another_notation_is_refused_with_its_line(reading: str, tmp_path: Path) -> None:
    path = tmp_path / "batch.tsv"
    path.write_text(f"water\twater\nwater\t{reading}\n", encoding="utf-8")
    with pytest.raises(RecordError, match="line 2"):
        list(read_requests(path))
