"""Everything that records claim, tested: schema, rasters, splits, prompts against pixels, answers against masks.

A prompt must follow from the chip's pixels byte for byte. An answer is carried out by the engine on the survey's masks
(``targets``): its slots must be measurable, what is measured must hold when it is measured again, its other numbers
must be the person's, and what it says in plain words must be borne out by the evidence. What breaks a rule is
collected, not raised.
"""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from rasterio.errors import NotGeoreferencedWarning

from instruction_data.dialogues import false_claims
from instruction_data.review.record_files import record_files, rows, survey_file
from instruction_data.review.remeasure import disagreements
from instruction_data.review.targets import ExpectedAnswer, LabelledChip
from spex.errors import AnswerError, QueryError, RecordError, SpexError
from spex.evidence.classes import classes
from spex.evidence.text import evidence_text
from spex.postprocess.fact_text import fact_text
from spex.query.answer_markup import Answer, fill_slots, parse_answer
from spex.query.numbers import stated_numbers
from spex.query.prompt import query_of_message, user_message
from spex.query.wording import constraints_text
from spex.records import SpieRecord, parse_record

_LISTED = 20


@dataclass(frozen=True)
class Violation:
    """A record that breaks a rule."""

    record: str
    rule: str
    what: str


@dataclass
class CheckReport:
    """What was read and what breaks a rule.

    ``answers`` counts how the last answers fared: carried out on labels (or on evidence, where the labels do not speak
    of a class), refused, or with a constraint that SPEX refuses on that scene when it runs.
    """

    records: Counter[tuple[str, str]] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    slots: int = 0
    violations: list[Violation] = field(default_factory=list)
    places: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    seconds: float = 0.0

    def add(self, record: str, rule: str, what: object) -> None:
        """Note a violation."""
        self.violations.append(Violation(record, rule, str(what)))

    def merge(self, other: CheckReport) -> None:
        """Take in what was found in another shard."""
        self.records += other.records
        self.answers += other.answers
        self.slots += other.slots
        self.violations += other.violations
        for place, splits in other.places.items():
            self.places[place] = splits | self.places[place]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "records": {
                f"{kind}, {split}": count for (kind, split), count in sorted(self.records.items())
            },
            "places": len(self.places),
            "answers": dict(sorted(self.answers.items())),
            "fact_slots": self.slots,
            "violations": [vars(violation) for violation in self.violations],
            "seconds": round(self.seconds, 1),
        }

    def lines(self) -> list[str]:
        """The report for a person: counts, then the violations by rule and the first of them."""
        found = [
            f"{kind}, {split}: {count:,} records"
            for (kind, split), count in sorted(self.records.items())
        ]
        answers = ", ".join(f"{count:,} {what}" for what, count in sorted(self.answers.items()))
        found.append(f"answers: {answers or 'none'}; {self.slots:,} fact slots filled")
        broken = Counter(violation.rule for violation in self.violations)
        by_rule = ", ".join(f"{count:,} {rule}" for rule, count in sorted(broken.items()))
        found.append(f"violations: {len(self.violations):,}" + (f" ({by_rule})" if broken else ""))
        found += [f"  {one.record} [{one.rule}] {one.what}" for one in self.violations[:_LISTED]]
        if len(self.violations) > _LISTED:
            found.append(f"  and {len(self.violations) - _LISTED:,} more")
        return [*found, f"{self.seconds:.0f} s"]


def check(path: str | Path, workers: int = 1) -> CheckReport:
    """Test every record under ``path``, a built folder or one file of it.

    Raises:
        RecordError: there are no records.
    """
    start, report = time.perf_counter(), CheckReport()
    tasks = _tasks(Path(path))
    if workers > 1 and len(tasks) > 1:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            for found in pool.map(_check_shard, *zip(*tasks, strict=True)):
                report.merge(found)
    else:
        for task in tasks:
            report.merge(_check_shard(*task))
    for place, splits in sorted(report.places.items()):
        if len(splits) > 1:
            report.add(
                splits["val"],
                "place",
                f"place {place!r} lies in train ({splits['train']}) and in val",
            )
    report.seconds = time.perf_counter() - start
    return report


def _tasks(path: Path) -> list[tuple[Path, Path | None]]:
    """Survey shards, each with the shard of its dialogues."""
    talks = {survey_file(shard): shard for shard in record_files(path, "dialogue")}
    return [
        (survey, talks.get(survey)) for survey in sorted({*record_files(path, "survey"), *talks})
    ]


def _check_shard(surveys: Path, talks: Path | None) -> CheckReport:
    report = CheckReport()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            _check_pair(report, surveys, talks)
        except RecordError as error:
            report.add(surveys.name.removeprefix("survey_"), "file", error)
    return report


def _check_pair(report: CheckReport, surveys: Path, talks: Path | None) -> None:
    # Dialogues stand in the order of their surveys, so one chip at a time is open.
    groups = groupby(_records(report, talks) if talks else (), key=lambda pair: pair[0])
    waiting = next(groups, None)
    for path, survey in _records(report, surveys):
        chip = _check_survey(report, survey) if survey else None
        if waiting and waiting[0] == path:
            for _, record in waiting[1]:
                if record and survey:
                    _check_dialogue(report, record, survey, chip)
            waiting = next(groups, None)
    while waiting:
        for _, record in waiting[1]:
            if record:
                report.add(
                    record.id,
                    "survey",
                    f"there is no survey of its chip in {surveys.name}, or not in order",
                )
        waiting = next(groups, None)


def _records(report: CheckReport, shard: Path) -> Iterator[tuple[str, SpieRecord | None]]:
    """Raster and record of every row, the raster's path resolved; None for a row that breaks the schema."""
    for row in rows(shard):
        path = str(shard.parent / row["scene"]["path"])
        try:
            record = parse_record(row)
        except RecordError as error:
            report.add(str(row["id"]), "schema", error)
            yield path, None
            continue
        report.records[record.kind, record.split] += 1
        report.places[record.place].setdefault(record.split, record.id)
        for name in {span.class_name for span in record.spans} - set(classes()):
            report.add(record.id, "class", f"unknown class {name!r}")
        yield (
            path,
            record.model_copy(update={"scene": record.scene.model_copy(update={"path": path})}),
        )


def _check_survey(report: CheckReport, survey: SpieRecord) -> LabelledChip | None:
    for span in survey.spans:
        if span.mask is None:
            report.add(survey.id, "mask", f"{span.class_name} has no mask")
        elif span.ignore and (span.mask.decode() & span.ignore.decode()).any():
            report.add(
                survey.id, "mask", f"{span.class_name}: mask and ignore claim the same pixels"
            )
    try:
        chip = LabelledChip(survey)
    except SpexError as error:
        report.add(survey.id, "raster", error)
        return None
    if survey.prior != evidence_text(chip.evidence):
        report.add(survey.id, "prior", "the prior is not what the chip's pixels give")
    return chip


def _check_dialogue(
    report: CheckReport, record: SpieRecord, survey: SpieRecord, chip: LabelledChip | None
) -> None:
    if (record.split, record.place, record.source) != (survey.split, survey.place, survey.source):
        report.add(
            record.id, "survey", "split, place or source differ from those of the chip's survey"
        )
    queries = [query_of_message(turn.content) for turn in record.turns if turn.role == "user"]
    _check_prompts(report, record, queries, chip)
    answer = None
    said = [turn.content for turn in record.turns if turn.role == "assistant"]
    for place, text in enumerate(said):
        try:
            answer = parse_answer(text)
        except AnswerError as error:
            report.add(record.id, "grammar", error)
            return
        for number in invented(answer, queries[: place + 1]):
            report.add(
                record.id,
                "number",
                f"answer {place + 1} states {number}, which neither a slot nor the query gives",
            )
        for claim in false_claims(text, chip.evidence) if chip else ():
            report.add(record.id, "claim", claim)
    if answer is None:
        return
    stated = [
        (s.class_name, s.phrase, {k: str(v) for k, v in s.constraints.to_dict().items()})
        for s in answer.spans
    ]
    if stated != [(s.class_name, s.phrase, s.attributes) for s in record.spans]:
        report.add(record.id, "spans", "the last answer and the spans disagree")
    elif chip is not None and all(span.class_name in classes() for span in record.spans):
        _check_answer(report, record, answer, chip)


def _check_prompts(
    report: CheckReport, record: SpieRecord, queries: Sequence[str], chip: LabelledChip | None
) -> None:
    prior = record.prior
    if prior and chip is not None and prior != evidence_text(chip.evidence, queries[0]):
        report.add(record.id, "prior", "the prior is not what the chip's pixels and the query give")
    users = [turn.content for turn in record.turns if turn.role == "user"]
    for place, (content, query) in enumerate(zip(users, queries, strict=True)):
        if not query or content != user_message(query, "" if place else prior):
            report.add(
                record.id,
                "prompt",
                f"user turn {place + 1} is not the message of its query and prior",
            )


def invented(answer: Answer, queries: Sequence[str]) -> list[str]:
    """Numbers in an answer's own words that nobody asked with; a refusal measures nothing and may give an example."""
    if answer.refusal is not None:
        return []
    wanted = " ".join([*queries, *(constraints_text(span.constraints) for span in answer.spans)])
    given = {number.rstrip(",") for number in stated_numbers(wanted)}
    stated = [number.rstrip(",") for number in stated_numbers(fill_slots(answer, lambda *_: " "))]
    return [number for number in stated if number not in given]


def _check_answer(
    report: CheckReport, record: SpieRecord, answer: Answer, chip: LabelledChip
) -> None:
    if not answer.spans:
        report.answers["refused"] += 1
        return
    try:
        target = chip.carry_out(answer)
    except QueryError:
        report.answers["with a constraint that this scene cannot answer"] += 1
        return
    labelled = all(chip.known(span.class_name) for span in answer.spans)
    report.answers["on labels" if labelled else "on evidence"] += 1
    for what in disagreements(chip, target):
        report.add(record.id, "fact", what)
    for slot in _unfilled(report, answer, target):
        report.add(record.id, "fact", f"{slot} cannot be measured on this chip")


def _unfilled(report: CheckReport, answer: Answer, target: ExpectedAnswer) -> list[str]:
    """Slots that stay without a value although their mask holds pixels."""
    missing: list[str] = []
    rest = [facts.fraction < 1 for facts in target.facts]

    def fact(number: int, name: str, index_name: str | None) -> str:
        if number in target.absences:
            return ""
        report.slots += 1
        text = fact_text(target.facts[number], name, index_name)
        # A mask of the whole scene leaves no pixel outside to measure.
        if text == "not available" and (rest[number] or name not in ("outside", "contrast")):
            missing.append(f"<fact:{name}{':' + index_name if index_name else ''}>")
        return text

    fill_slots(answer, fact)
    return missing
