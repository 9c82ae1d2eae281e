"""All inputs of a build, whatever their form, as scene items under the name of their source."""

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
"""Name of the source of simulated chips."""


def gather(
    inputs: Sequence[Path | str],
    scenes: SceneOptions,
    layout: str | None,
    simulated: int,
    seed: int,
    spectra: Path | None,
) -> list[tuple[str, SceneItem]]:
    """List the scenes of all inputs in a fixed order, and simulated ones last.

    Args:
        inputs: folders in a known layout, folders of such folders, or scenes.
        scenes: how scenes outside the known layouts are read.
        layout: the layout of every input; None: detected.
        simulated: number of simulated chips.
        seed: seed of the simulator.
        spectra: measured spectra for the simulator.

    Returns:
        Pairs of source name and item.

    Raises:
        RecordError: an unknown layout, or two items of the same name.
        SpexError: an input that cannot be listed.
    """
    if layout is not None and layout not in LAYOUTS:
        raise RecordError(f"unknown layout {layout!r}; choose one of {', '.join(LAYOUTS)}")
    items: list[tuple[str, SceneItem]] = []
    for location in inputs:
        with _listing(location):
            layouts = _find_layouts(Path(location), scenes, layout)
            for input_layout, folder in layouts:
                items += [(input_layout.name, item) for item in input_layout.items(folder)]
            if not layouts:
                taken = {source for source, _ in items} | {SIMULATED, *LAYOUTS}
                source = _source_name(str(location), taken)
                for item in scene_items(location, scenes):
                    items.append((source, _prefix_chip_ids(source, item)))
    if simulated:
        # Imported late: the simulator compiles code when it is imported.
        from instruction_data.simulate.items import simulated_items

        items += [(SIMULATED, item) for item in simulated_items(spectra, simulated, seed)]
    _check_unique(items)
    return items


def _check_unique(items: Sequence[tuple[str, SceneItem]]) -> None:
    names: set[tuple[str, str]] = set()
    for source, item in items:
        if (source, item.id) in names:
            raise RecordError(
                f"{source} has two scenes named {item.id}; rename one, or build them separately"
            )
        names.add((source, item.id))


@contextmanager
def _listing(location: Path | str) -> Iterator[None]:
    """Turn any error in the lists and metadata of an input into one line."""
    try:
        yield
    except SpexError:
        raise
    except (OSError, ValueError, LookupError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise RecordError(
            f"{location}: its scenes cannot be listed ({reason}); correct it or download it again"
        ) from error


def _find_layouts(
    folder: Path, scenes: SceneOptions, layout: str | None
) -> list[tuple[Layout, Path]]:
    """Layouts of an input with their folders; none if the input is scenes of the user.

    An input with labels of its own is always scenes of the user.
    """
    if layout is not None:
        if not LAYOUTS[layout].matches(folder):
            raise RecordError(
                f"{folder} is not in the layout {layout}; its structure is described at "
                f"{LAYOUTS[layout].url}"
            )
        return [(LAYOUTS[layout], folder)]
    if scenes.labels is not None or not folder.is_dir():
        return []
    if detected := detect(folder):
        return [(detected, folder)]
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir())
    layouts: list[tuple[Layout, Path]] = []
    for subfolder in subfolders:
        if detected := detect(subfolder):
            layouts.append((detected, subfolder))
    if layouts and len(layouts) < len(subfolders):
        unknown = sorted({path.name for path in subfolders} - {path.name for _, path in layouts})
        logger.warning("%s: skipped subfolders in no known layout: %s", folder, ", ".join(unknown))
    return layouts


def _source_name(location: str, taken: set[str]) -> str:
    """A name for the user's scenes: the last part of their path that is no glob pattern."""
    parts = [part for part in Path(location).parts if not re.search(r"[*?\[]", part)]
    stem = Path(parts[-1]).stem if parts else ""
    name = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_") or "scenes"
    numbered = (f"{name}_{number}" for number in range(2, len(taken) + 3))
    return next(candidate for candidate in (name, *numbered) if candidate not in taken)


def _prefix_chip_ids(source: str, item: SceneItem) -> SceneItem:
    """The item with its source in the ids of its chips: two folders may have scenes of one name."""
    return replace(item, read=partial(_read_prefixed, source, item))


def _read_prefixed(source: str, item: SceneItem, split: Split) -> Iterator[Chip]:
    for chip in item.read(split):
        yield replace(chip, id=f"{source}_{chip.id}")
