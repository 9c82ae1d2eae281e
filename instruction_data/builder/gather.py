"""Inputs of a build, whatever their form, as items under the name of their source."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from instruction_data.layouts import LAYOUTS, detect
from instruction_data.sources.chips import Chip, Layout, SceneItem, Split
from instruction_data.sources.inputs import SceneOptions, scene_items
from spex.errors import RecordError, SpexError

logger = logging.getLogger(__name__)
SIMULATED = "simulated"


def gather(
    inputs: Sequence[Path | str], scenes: SceneOptions, layout: str | None, simulated: int, seed: int,
    spectra: Path | None,
) -> list[tuple[str, SceneItem]]:  # fmt: skip
    """All items with the names of their sources, in a fixed order, and simulated ones last.

    Raises:
        RecordError: an unknown layout, or two items of one name.
        SpexError: an input that cannot be listed.
    """
    if layout is not None and layout not in LAYOUTS:
        raise RecordError(f"the layout {layout!r} is not known; choose one of {', '.join(LAYOUTS)}")
    found: list[tuple[str, SceneItem]] = []
    for spec in inputs:
        with _listing(spec):
            sources = _sources(Path(spec), scenes, layout)
            found += [
                (source.name, item) for source, folder in sources for item in source.items(folder)
            ]
            if not sources:
                name = _name(str(spec), {source for source, _ in found} | {SIMULATED, *LAYOUTS})
                found += [(name, _renamed(name, item)) for item in scene_items(spec, scenes)]
    if simulated:
        from instruction_data.simulate.items import (
            simulated_items,  # the simulator compiles code when it is imported
        )

        found += [(SIMULATED, item) for item in simulated_items(spectra, simulated, seed)]
    seen: set[tuple[str, str]] = set()
    for source, item in found:
        if (source, item.id) in seen:
            raise RecordError(
                f"{source} has two scenes called {item.id}; rename one or build them apart"
            )
        seen.add((source, item.id))
    return found


@contextmanager
def _listing(spec: Path | str) -> Iterator[None]:
    """Whatever is wrong with the lists and descriptions that an input comes with, in one line."""
    try:
        yield
    except SpexError:
        raise
    except (OSError, ValueError, LookupError) as error:
        told = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise RecordError(
            f"{spec}: its scenes cannot be listed ({told}); mend or fetch it again"
        ) from error


def _sources(spec: Path, scenes: SceneOptions, layout: str | None) -> list[tuple[Layout, Path]]:
    """The layouts that an input is in, by folder; none if it is scenes, as one with labels of its own is."""
    if layout is not None:
        if not LAYOUTS[layout].holds(spec):
            raise RecordError(
                f"{spec} is not in the layout {layout}; see how it is published at {LAYOUTS[layout].url}"
            )
        return [(LAYOUTS[layout], spec)]
    if scenes.labels is not None or not spec.is_dir():
        return []
    if source := detect(spec):
        return [(source, spec)]
    folders = sorted(path for path in spec.iterdir() if path.is_dir())
    inside = [(source, path) for path in folders if (source := detect(path))]
    if inside and len(inside) < len(folders):
        left = sorted({path.name for path in folders} - {path.name for _, path in inside})
        logger.warning("%s: left out, in no known layout: %s", spec, ", ".join(left))
    return inside


def _name(spec: str, taken: set[str]) -> str:
    """A name for an input's scenes: the last part of its path that is no pattern, fit for a file name."""
    parts = [part for part in Path(spec).parts if not re.search(r"[*?\[]", part)]
    name = (
        re.sub(r"[^A-Za-z0-9]+", "_", Path(parts[-1]).stem if parts else "").strip("_") or "scenes"
    )
    others = (f"{name}_{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (name, *others) if name not in taken)


def _renamed(source: str, item: SceneItem) -> SceneItem:
    """The item with its chips called after the source too: two folders may hold scenes of one name."""
    return replace(item, read=partial(_read_renamed, source, item))


def _read_renamed(source: str, item: SceneItem, split: Split) -> Iterator[Chip]:
    for chip in item.read(split):
        yield replace(chip, id=f"{source}_{chip.id}")
