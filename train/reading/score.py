"""``python -m train.reading.score``: how many requests of a batch are read rightly."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from scipy.stats import binomtest

from instruction_data.requests.corpus import REFUSED, WrittenRequest, read_requests
from spex.query.answer_markup import format_span
from spex.query.prompt import Exchange, clean_query
from spex.query.reader import read_request
from spex.query.reading import Reading
from train.reading.expected import expected_spans, read_spans, same_spans

_HEAD = """\
| batch | requests | right % | silently wrong % | warned though right % | ms | ms, 95 % |
|---|---:|---:|---:|---:|---:|---:|"""
_EVERYTHING = "<seg class=water>water</seg> <seg class=vegetation>vegetation</seg>"


@dataclass(frozen=True)
class Outcome:
    """A request as it was read.

    Attributes:
        request: with its readings.
        reading: what was understood.
        is_right: classes and all constraints are those of one of the readings.
        is_silent: nothing says that the reading may be wrong.
        seconds: the reading took.
    """

    request: WrittenRequest
    reading: Reading
    is_right: bool
    is_silent: bool
    seconds: float


def outcome_of(request: WrittenRequest) -> Outcome:
    """Read the last turn of a request, after the turns before it."""
    history: list[Exchange] = []
    for turn in request.turns[:-1]:
        query = clean_query(turn)
        history.append(Exchange(query, _markup(read_request(query, history))))
    query = clean_query(request.turns[-1])
    started = time.perf_counter()
    reading = read_request(query, history)
    seconds = time.perf_counter() - started
    spans = read_spans(reading)
    right = any(same_spans(spans, expected_spans(r)) for r in request.readings)
    doubted = any(remark.kind == "doubt" for remark in reading.remarks)
    silent = not (reading.ignored or doubted or spans == REFUSED)
    return Outcome(request, reading, right, silent, seconds)


def _markup(reading: Reading) -> str:
    """The spans of an answer, as a session would keep them."""
    if reading.whole_scene:
        return _EVERYTHING
    spans = []
    for mask in reading.masks:
        phrase = mask.phrase.replace("<", "").replace(">", "") or mask.class_name
        spans.append(format_span(mask.class_name, phrase, mask.constraints))
    return " ".join(spans)


def _row(name: str, outcomes: list[Outcome]) -> str:
    right = sum(outcome.is_right for outcome in outcomes)
    wrong = [outcome for outcome in outcomes if not outcome.is_right]
    silent = sum(outcome.is_silent for outcome in wrong)
    warned = sum(o.is_right and not o.is_silent and bool(o.reading.masks) for o in outcomes)
    interval = binomtest(right, len(outcomes)).proportion_ci(method="wilson")
    times = [1000 * outcome.seconds for outcome in outcomes]
    slowest = statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
    share = 100 / len(outcomes)
    return (
        f"| {name} | {len(outcomes)} | {right * share:.1f} "
        f"({100 * interval.low:.0f}-{100 * interval.high:.0f}) | {silent * share:.1f} "
        f"| {warned * share:.1f} | {statistics.median(times):.0f} | {slowest:.0f} |"
    )


def _wrong(outcomes: Iterable[Outcome]) -> Iterable[str]:
    for outcome in outcomes:
        if not outcome.is_right:
            yield " || ".join(outcome.request.turns)
            yield f"  read   {read_spans(outcome.reading)}"
            yield f"  right  {[expected_spans(r) for r in outcome.request.readings]}"
            doubts = [r.words for r in outcome.reading.remarks if r.kind == "doubt"]
            yield f"  said   ignored {list(outcome.reading.ignored)}, doubt {doubts}"


def main(
    batches: Annotated[list[Path], typer.Argument(help="Files of requests with readings.")],
    wrong: Annotated[
        Path | None, typer.Option(help="File to write what was read wrongly to.")
    ] = None,
) -> None:
    """Print a table of how many requests were read rightly, with 95 % intervals."""
    read_request("water")  # loads the tables, which is not part of reading
    typer.echo(
        "| batch | requests | right % | silently wrong % | warned though right % | ms | ms, 95 % |"
    )
    typer.echo("|---|---:|---:|---:|---:|---:|---:|")
    lines: list[str] = []
    for batch in batches:
        outcomes = [outcome_of(request) for request in read_requests(batch)]
        typer.echo(_row(batch.stem, outcomes))
        lines += _wrong(outcomes)
    if wrong is not None:
        wrong.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
