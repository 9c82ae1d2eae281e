"""How readings are compared."""

from __future__ import annotations

from spex.query.reader import read_request
from train.reading.expected import read_spans, same_spans


def test_units_and_order_do_not_matter_but_values_do() -> None:
    read = read_spans(read_request("lakes over 2 ha and roads"))
    water = frozenset({("min", "m2", 20000.0)})
    assert same_spans(read, [("road", frozenset()), ("water", water)])
    assert not same_spans(read, [("water", water)])
    assert not same_spans(read, [("road", frozenset()), ("water", frozenset())])
    other = frozenset({("min", "m2", 21000.0)})
    assert not same_spans(read, [("road", frozenset()), ("water", other)])


def test_no_distance_means_the_usual_one() -> None:
    read = read_spans(read_request("houses near water"))
    assert same_spans(read, [("building", frozenset({("near", "water", None)}))])
    assert not same_spans(read, [("building", frozenset({("near", "water", 200.0)}))])


def test_refusals_are_the_same_whatever_the_reason() -> None:
    assert read_spans(read_request("hello")) == read_spans(read_request("solar farms")) == "!"
