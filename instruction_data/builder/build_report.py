"""What a build wrote, and what it left out and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

_LISTED, _ASSUMED = 20, 5


@dataclass(frozen=True)
class SkippedScene:
    """A scene that was left out, wholly or from some chip on."""

    source: str
    item: str
    reason: str


@dataclass(frozen=True)
class BuildReport:
    """Records per Parquet file, how many chips and dialogues they are, what was skipped, and the run's seconds.

    ``pseudo``: chips that no label speaks of; ``assumed``: chips by what had to be assumed about their scene.
    """

    records: Mapping[str, int]
    chips: int
    dialogues: int
    pseudo: int
    assumed: Mapping[str, int]
    skipped: tuple[SkippedScene, ...]
    seconds: float

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False), encoding="utf-8")

    def lines(self) -> list[str]:
        """The report for a person: counts, then the first of what was skipped."""
        files = sum(count > 0 for count in self.records.values())
        found = [
            f"{self.chips} chips, {self.dialogues} dialogues in {files} files, {self.seconds:.0f} s"
        ]
        if self.pseudo:
            found.append(
                f"{self.pseudo} chips have no labels; their masks are pseudo-labels, where indices agree"
            )
        found += [
            f"assumed of {n} chips: {what}"
            for what, n in Counter(self.assumed).most_common(_ASSUMED)
        ]
        if self.skipped:
            per_source = ", ".join(
                f"{n} of {source}" for source, n in Counter(s.source for s in self.skipped).items()
            )
            found.append(f"skipped {len(self.skipped)} ({per_source}):")
            found += [f"  {skipped.item}: {skipped.reason}" for skipped in self.skipped[:_LISTED]]
            if len(self.skipped) > _LISTED:
                found.append(f"  and {len(self.skipped) - _LISTED} more, see report.json")
        return found
