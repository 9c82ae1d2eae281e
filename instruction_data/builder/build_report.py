"""The report of a build: what was written, and which scenes were skipped and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

_MAX_SKIPPED = 20
_MAX_ASSUMED = 5


@dataclass(frozen=True)
class SkippedScene:
    """A scene that was left out, wholly or from some chip on."""

    source: str
    item: str
    reason: str


@dataclass(frozen=True)
class BuildReport:
    """What a build wrote and what it left out.

    Args:
        records: number of records per Parquet file.
        chips: number of chips.
        dialogues: number of dialogues.
        pseudo: chips without labels, whose masks are pseudo-labels.
        assumed: number of chips by assumption about their scene.
        skipped: scenes left out.
        seconds: duration of the run.
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
        """The report as text: counts, assumptions, and the first of the skipped scenes."""
        files = sum(count > 0 for count in self.records.values())
        lines = [
            f"{self.chips} chips, {self.dialogues} dialogues in {files} files, {self.seconds:.0f} s"
        ]
        if self.pseudo:
            lines.append(
                f"{self.pseudo} chips have no labels; their masks are pseudo-labels where spectral "
                "indices agree"
            )
        for assumption, count in Counter(self.assumed).most_common(_MAX_ASSUMED):
            lines.append(f"assumed for {count} chips: {assumption}")
        if self.skipped:
            lines += self._skipped_lines()
        return lines

    def _skipped_lines(self) -> list[str]:
        counts = Counter(scene.source for scene in self.skipped)
        per_source = ", ".join(f"{count} of {source}" for source, count in counts.items())
        lines = [f"skipped {len(self.skipped)} ({per_source}):"]
        lines += [f"  {scene.item}: {scene.reason}" for scene in self.skipped[:_MAX_SKIPPED]]
        if len(self.skipped) > _MAX_SKIPPED:
            lines.append(f"  and {len(self.skipped) - _MAX_SKIPPED} more, see report.json")
        return lines
