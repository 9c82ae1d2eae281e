"""Build a folder of SPIE records: chips as GeoTIFF with their band sidecars, one survey per chip, dialogues about it.

The scenes of all inputs are listed first, given places and splits, and cut into shards in a fixed order. A shard is the
unit of work: one process reads its scenes, streams its records to Parquet and writes ``shard_*.json`` last, which marks
it finished. Nothing depends on who builds a shard or when, so any number of processes, and a build that was killed and
started again, give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from shapely.errors import ShapelyError

from instruction_data.builder.build_report import BuildReport, SkippedScene
from instruction_data.builder.chip_records import ChipOrigin, chip_records
from instruction_data.builder.gather import gather
from instruction_data.builder.places import PlacedItem, place_items
from instruction_data.sources.chips import Chip
from instruction_data.sources.inputs import SceneOptions
from instruction_data.sources.pseudo_labels import PseudoLabels
from spex.errors import OutputError, RecordError, SpexError
from spex.evidence.class_additions import add_classes, added_classes, read_class_entries
from spex.records import RecordWriter

_SHARDS = 16  # a source is cut into this many at least, so that few scenes still keep several processes busy
_CACHE_BYTES = (
    64 << 20
)  # of decoded raster blocks per process; GDAL's default is a share of all memory

_MEASURED = re.compile(
    r"\b(up to|value below|has reflectance) [\d.e+-]+"
)  # differs from scene to scene


@dataclass(frozen=True)
class BuildSettings:
    """What decides a build's records, beside its inputs."""

    dialogues: int = 30
    """Conversations per chip."""
    simulated: int = 0
    """Simulated chips."""
    seed: int = 0
    """Of everything drawn."""
    val_share: float = 0.15
    """Of the places; a source may fix its own."""
    per_shard: int = 32
    """Scenes per shard at most."""
    strict: bool = False
    """Refuse at the first scene that cannot be used instead of leaving it out."""

    def __post_init__(self) -> None:
        if not 0 <= self.val_share <= 1:
            raise RecordError(
                f"a validation share of {self.val_share} is not one; give a number from 0 to 1"
            )


@dataclass(frozen=True)
class Shard:
    """A unit of work: scenes of one source."""

    name: str
    entries: tuple[PlacedItem, ...]
    settings: BuildSettings


def build(
    inputs: Sequence[Path | str],
    out: Path,
    settings: BuildSettings,
    *,
    scenes: SceneOptions | None = None,
    layout: str | None = None,
    spectra: Path | None = None,
    classes: Path | None = None,
    workers: int = 1,
) -> BuildReport:
    """Build all ``inputs`` and ``settings.simulated`` chips into ``out``; goes on where an earlier build stopped.

    Args:
        inputs: folders in a known layout, folders that hold such folders, or scenes as ``inputs.scene_items`` takes.
        out: folder for chips, shards and the report.
        settings: what decides the records.
        scenes: how scenes outside the known layouts are labelled and cut.
        layout: take every input for this one instead of looking which it is in.
        spectra: measured spectra for the simulator.
        classes: a file of classes that SPEX does not have, in the form of ``classes.yaml``.
        workers: processes; 1 stays in this one.

    Raises:
        RecordError: nothing to build from, nothing could be built, ``out`` holds another build, or a process died.
        OutputError: ``out`` cannot be written.
        SpexError: with ``strict``, what is wrong with the first scene that cannot be used.
    """
    start, scenes = time.perf_counter(), scenes or SceneOptions()
    if classes:
        add_classes(read_class_entries(classes), str(classes))
    found = gather(inputs, scenes, layout, settings.simulated, settings.seed, spectra)
    entries = place_items(found, settings.val_share)
    if not entries:
        raise RecordError(
            "nothing to build from: the inputs hold no scene and no simulated ones are asked for"
        )
    decided = (
        asdict(settings) | {"strict": None, "layout": layout, "spectra": spectra} | asdict(scenes)
    )
    decided |= {"inputs": list(inputs), "plan": _digest(entries)} | (
        {"classes": added_classes()} if classes else {}
    )
    shards, new = plan(entries, settings), not out.exists()
    try:
        (out / "chips").mkdir(parents=True, exist_ok=True)
        _same(out / "build.json", decided)
        for left in out.glob("*.part"):  # by a build that was killed
            left.unlink()
        with _progress(len(entries)) as advance:
            todo = [shard for shard in shards if not _finished(out, shard)]
            advance(len(entries) - sum(len(shard.entries) for shard in todo))
            for shard in _run(todo, out, workers):
                advance(len(shard.entries))
        report = _report(shards, out, time.perf_counter() - start)
        report.write(out / "report.json")
        if report.skipped and (settings.strict or not report.chips):
            first = report.skipped[0]
            total = f"{len(report.skipped)} of {len(entries)} scenes"
            raise RecordError(f"{total} could not be used; the first, {first.item}: {first.reason}")
    except SpexError:
        if new and (settings.strict or not any(out.glob("survey_*.parquet"))):
            shutil.rmtree(out)
        raise
    except (OSError, RasterioError) as error:
        raise OutputError(
            f"cannot write to {out} ({error}); see to it, then run the same command again"
        ) from error
    return report


def plan(entries: Sequence[PlacedItem], settings: BuildSettings) -> list[Shard]:
    """Cut the entries of every source into shards of one split each, in their order."""
    sources: dict[str, list[PlacedItem]] = {}
    for entry in entries:
        sources.setdefault(entry.source, []).append(entry)
    shards = []
    for source, own in sources.items():
        size = min(settings.per_shard, -(-len(own) // _SHARDS))
        sides = [[entry for entry in own if entry.split == split] for split in ("train", "val")]
        parts = [
            tuple(side[first : first + size])
            for side in sides
            for first in range(0, len(side), size)
        ]
        digits = max(3, len(str(len(parts) - 1)))
        shards += [
            Shard(f"{source}_{n:0{digits}d}_{part[0].split}", part, settings)
            for n, part in enumerate(parts)
        ]
    return shards


def build_shard(shard: Shard, out: Path) -> None:
    """Write one shard's chips, Parquet files and, last, its summary.

    Raises:
        SpexError: with ``strict``, what is wrong with the first scene that cannot be used.
    """
    settings, skipped, pseudo, assumed = shard.settings, list[SkippedScene](), 0, Counter[str]()
    with (
        rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES),
        warnings.catch_warnings(),
        RecordWriter(out / f"survey_{shard.name}.parquet") as surveys,
        RecordWriter(out / f"dialogue_{shard.name}.parquet") as dialogues,
    ):
        warnings.simplefilter(
            "ignore", NotGeoreferencedWarning
        )  # a chip without a place is what many of them are
        for entry in shard.entries:
            origin, before = ChipOrigin(entry.source, entry.place, entry.split), surveys.count
            try:
                for chip in _chips(entry):
                    survey, talk = chip_records(
                        chip, origin, out, settings.dialogues, settings.seed
                    )
                    surveys.add(survey)
                    pseudo += chip.labels == PseudoLabels.described
                    assumed.update(
                        _MEASURED.sub(r"\1 …", what)
                        for what in filter(None, [chip.extra.get("assumed")])
                    )
                    for record in talk:
                        dialogues.add(record)
                if surveys.count == before:
                    raise RecordError(
                        f"{entry.item.id}: nothing in it can be used, its pixels or labels are empty"
                    )
            except SpexError as error:
                if settings.strict:
                    raise
                kept = (
                    f"; the {surveys.count - before} chips before it are kept"
                    if surveys.count > before
                    else ""
                )
                skipped.append(SkippedScene(entry.source, entry.item.id, f"{error}{kept}"))
    counts = {
        "surveys": surveys.count,
        "dialogues": dialogues.count,
        "pseudo": pseudo,
        "assumed": assumed,
    }
    _replace(_summary(out, shard), {**counts, "skipped": [asdict(one) for one in skipped]})


def _chips(entry: PlacedItem) -> Iterator[Chip]:
    try:
        yield from entry.item.read(entry.split)
    except SpexError:
        raise
    except (RasterioError, ShapelyError, OSError, ValueError, LookupError) as error:
        # A reader need not foresee every way in which one file of ten thousand can be broken.
        raise RecordError(
            f"{entry.item.id}: {' '.join(str(error).split())}; repair or remove the file"
        ) from error


def _run(shards: Sequence[Shard], out: Path, workers: int) -> Iterator[Shard]:
    """Build shards and yield each when it is finished."""
    if workers == 1:
        for shard in shards:
            build_shard(shard, out)
            yield shard
        return
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _start, (added_classes(),)
    )
    try:
        queue, running = iter(shards), dict[Future[None], Shard]()
        while True:
            for shard in islice(queue, 2 * workers - len(running)):
                running[pool.submit(build_shard, shard, out)] = shard
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                yield running.pop(future)
    except BrokenProcessPool as error:
        raise RecordError(
            "a process of the build ended, perhaps for want of memory; run the same command again, with fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start(entries: dict[str, Any]) -> None:
    """Know the classes that were added, and end when the process that started this one is killed, not wait for ever."""
    add_classes(entries, "the classes of this build")
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's stderr; what it gives takes how many scenes are done."""
    columns = (
        TextColumn("building"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("scenes"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.advance(task, count)


def _summary(out: Path, shard: Shard) -> Path:
    return out / f"shard_{shard.name}.json"


def _finished(out: Path, shard: Shard) -> bool:
    """Whether a shard is there and whole; one with scenes left out is tried again, they may have been mended."""
    summary = _summary(out, shard)
    return summary.exists() and not json.loads(summary.read_text())["skipped"]


def _report(shards: Sequence[Shard], out: Path, seconds: float) -> BuildReport:
    records, chips, dialogues, pseudo, skipped = dict[str, int](), 0, 0, 0, list[SkippedScene]()
    assumed = Counter[str]()
    for shard in shards:
        found = json.loads(_summary(out, shard).read_text())
        counts = {"survey": found["surveys"], "dialogue": found["dialogues"]}
        records |= {
            f"{kind}_{shard.name}.parquet": count for kind, count in counts.items() if count
        }
        chips, dialogues = chips + counts["survey"], dialogues + counts["dialogue"]
        pseudo += found["pseudo"]
        assumed.update(found["assumed"])
        skipped += [SkippedScene(**one) for one in found["skipped"]]
    return BuildReport(records, chips, dialogues, pseudo, dict(assumed), tuple(skipped), seconds)


def _same(path: Path, decided: dict[str, Any]) -> None:
    """Keep what decides a build, or see that what is kept there is the same."""
    decided = json.loads(json.dumps(decided, default=str))
    if path.exists() and (kept := json.loads(path.read_text())) != decided:
        other = ", ".join(
            {"plan": "list of scenes"}.get(k, k) for k in decided if kept.get(k) != decided[k]
        )
        raise RecordError(
            f"{path.parent} holds a build with another {other}; give another folder, or remove this one"
        )
    _replace(path, decided)


def _digest(entries: Iterable[PlacedItem]) -> str:
    told = "\n".join(f"{e.source} {e.item.id} {e.place} {e.split}" for e in entries)
    return hashlib.sha256(told.encode()).hexdigest()


def _replace(path: Path, content: dict[str, Any]) -> None:
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    aside.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    aside.replace(path)
