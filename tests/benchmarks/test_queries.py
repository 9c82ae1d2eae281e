"""The benchmark's queries: sixty, half of them unseen, each with a meaning that can be written."""

from __future__ import annotations

from pathlib import Path

import yaml

from spex.query.answer_markup import format_span, parse_answer

QUERIES = yaml.safe_load(Path(__file__).with_name("queries.yaml").read_text(encoding="utf-8"))


def test_sixty_queries_half_of_them_unseen() -> None:
    assert len({query["ask"] for query in QUERIES}) == 60
    assert sum(query["seen"] for query in QUERIES) == 30


def test_every_meaning_can_be_written_as_an_answer() -> None:
    order = ("class", "min_area", "max_area", "where", "top", "index", "not")
    for query in QUERIES:
        for meant in query["spans"]:
            assert set(meant) <= set(order)
            attributes = " ".join(f"{name}={meant[name]}" for name in order if name in meant)
            (span,) = parse_answer(f"<seg {attributes}>x</seg>").spans
            assert {"class": span.class_name, **span.constraints.to_dict()} == meant
            assert (
                format_span(span.class_name, "x", span.constraints) == f"<seg {attributes}>x</seg>"
            )
