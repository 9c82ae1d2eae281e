"""A query while it is answered: what it asks for, and the time that its steps take."""

from __future__ import annotations

import time
from dataclasses import dataclass

from spex.query.answer_markup import Answer
from spex.query.answers import ignored_text
from spex.query.reading import Reading, Understood


@dataclass(frozen=True)
class Turn:
    """A query with its reading and its answer.

    Attributes:
        query: as it was read.
        reading: what it asks for.
        answer: in span markup, its slots not filled.
        clock: started with the query.
    """

    query: str
    reading: Reading
    answer: Answer
    clock: Clock

    def understood(self, number: int) -> tuple[Understood, ...]:
        """What the query says of a span, by its number from 0."""
        if self.reading.masks:
            return self.reading.masks[number].understood
        return (Understood(f"class={self.answer.spans[number].class_name}", self.query),)

    def warnings(self) -> tuple[str, ...]:
        """That words of the query were not understood."""
        if not self.reading.ignored:
            return ()
        return (ignored_text(self.reading.ignored, self.reading.language),)


class Clock:
    """Seconds spent in each step of a query."""

    def __init__(self, before: dict[str, float]) -> None:
        self._laps = before
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Name the step that ends now."""
        now = time.perf_counter()
        self._laps[name] = now - self._last
        self._last = now

    def laps(self) -> dict[str, float]:
        """Seconds of each step and in total."""
        laps = {**self._laps, "total": sum(self._laps.values())}
        return {name: round(seconds, 3) for name, seconds in laps.items()}
