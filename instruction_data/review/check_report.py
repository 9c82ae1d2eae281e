"""The report of ``spex spie check``: what was read, and which records violate a rule."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

_MAX_LISTED = 20


@dataclass(frozen=True)
class Violation:
    """A record that violates a rule."""

    record: str
    rule: str
    what: str


@dataclass
class CheckReport:
    """What was read and what violates a rule.

    Attributes:
        records: number of records by kind and split.
        answers: number of last answers by outcome: carried out on labels (or on evidence, for a
            class without labels), refused, or with a constraint that SPEX refuses on the scene.
        slots: number of fact slots filled.
        violations: records that violate a rule.
        places: per place, the first record of each split.
        seconds: duration of the check.
    """

    records: Counter[tuple[str, str]] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    slots: int = 0
    violations: list[Violation] = field(default_factory=list)
    places: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    seconds: float = 0.0

    def add(self, record: str, rule: str, what: object) -> None:
        """Add a violation."""
        self.violations.append(Violation(record, rule, str(what)))

    def merge(self, other: CheckReport) -> None:
        """Add the results of another file."""
        self.records += other.records
        self.answers += other.answers
        self.slots += other.slots
        self.violations += other.violations
        for place, splits in other.places.items():
            self.places[place] = splits | self.places[place]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        records = {
            f"{kind}, {split}": count for (kind, split), count in sorted(self.records.items())
        }
        return {
            "records": records,
            "places": len(self.places),
            "answers": dict(sorted(self.answers.items())),
            "fact_slots": self.slots,
            "violations": [vars(violation) for violation in self.violations],
            "seconds": round(self.seconds, 1),
        }

    def lines(self) -> list[str]:
        """The report as text: counts, violations by rule, and the first of the violations."""
        lines = [
            f"{kind}, {split}: {count:,} records"
            for (kind, split), count in sorted(self.records.items())
        ]
        answers = ", ".join(f"{count:,} {name}" for name, count in sorted(self.answers.items()))
        lines.append(f"answers: {answers or 'none'}; {self.slots:,} fact slots filled")
        rule_counts = Counter(violation.rule for violation in self.violations)
        by_rule = ", ".join(f"{count:,} {rule}" for rule, count in sorted(rule_counts.items()))
        lines.append(f"violations: {len(self.violations):,}" + (f" ({by_rule})" if by_rule else ""))
        for violation in self.violations[:_MAX_LISTED]:
            lines.append(f"  {violation.record} [{violation.rule}] {violation.what}")
        if len(self.violations) > _MAX_LISTED:
            lines.append(f"  and {len(self.violations) - _MAX_LISTED:,} more")
        lines.append(f"{self.seconds:.0f} s")
        return lines
