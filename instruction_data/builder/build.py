"""Build a folder of SPIE records: chips as GeoTIFF, one survey per chip, and dialogues about it.

The scenes of all inputs are listed first, assigned to places and splits, and cut into shards in a
fixed order. Finished shards are kept, so that an interrupted build resumes exactly.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rasterio.errors import RasterioError

from instruction_data.builder.build_report import BuildReport, SkippedScene
from instruction_data.builder.build_shards import (
    BuildSettings,
    Shard,
    cut_into_shards,
    read_summary,
    write_json,
)
from instruction_data.builder.gather import gather
from instruction_data.builder.places import PlacedItem, place_items
from instruction_data.builder.processes import build_shards, scene_progress
from instruction_data.sources.inputs import SceneOptions
from spex.errors import OutputError, RecordError, SpexError
from spex.evidence.class_additions import add_classes, added_classes, read_class_entries


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
    """Build all inputs and ``settings.simulated`` chips into a folder; resumes an earlier build.

    Args:
        inputs: folders in a known layout, folders of such folders, or scenes as
            ``inputs.scene_items`` takes them.
        out: folder for chips, shards and the report.
        settings: settings that decide the records.
        scenes: how scenes outside the known layouts are labelled and cut.
        layout: the layout of every input; None: detected.
        spectra: measured spectra for the simulator.
        classes: a file of additional classes, in the form of ``classes.yaml``.
        workers: number of processes; 1 stays in the current process.

    Raises:
        RecordError: there is nothing to build from, no scene can be used, ``out`` contains another
            build, or a process died.
        OutputError: ``out`` cannot be written.
        SpexError: with ``strict``, the problem of the first scene that cannot be used.
    """
    start = time.perf_counter()
    scenes = scenes or SceneOptions()
    if classes:
        add_classes(read_class_entries(classes), str(classes))
    listed = gather(inputs, scenes, layout, settings.simulated, settings.seed, spectra)
    items = place_items(listed, settings.val_share)
    if not items:
        raise RecordError(
            "nothing to build from: no input contains a scene; give scenes or --simulated N"
        )
    configuration: dict[str, Any] = asdict(settings)
    configuration |= {"strict": None, "layout": layout, "spectra": spectra} | asdict(scenes)
    configuration |= {"inputs": list(inputs), "plan": _digest(items)}
    if classes:
        configuration["classes"] = added_classes()
    shards = cut_into_shards(items, settings)
    is_new = not out.exists()
    try:
        _prepare(out, configuration)
        _build_missing(shards, out, workers)
        report = _report(shards, out, time.perf_counter() - start)
        report.write(out / "report.json")
        if report.skipped and (settings.strict or not report.chips):
            raise _unusable(report.skipped, len(items))
    except SpexError:
        if is_new and (settings.strict or not any(out.glob("survey_*.parquet"))):
            shutil.rmtree(out)
        raise
    except (OSError, RasterioError) as error:
        raise OutputError(
            f"cannot write to {out} ({error}); fix this and rerun the same command"
        ) from error
    return report


def _unusable(skipped: Sequence[SkippedScene], scene_count: int) -> RecordError:
    first = skipped[0]
    return RecordError(
        f"{len(skipped)} of {scene_count} scenes could not be used; the first, {first.item}: "
        f"{first.reason}"
    )


def _prepare(out: Path, configuration: Mapping[str, Any]) -> None:
    """Create the folder of a build, or check that it contains the same build.

    Raises:
        RecordError: the folder contains another build.
    """
    (out / "chips").mkdir(parents=True, exist_ok=True)
    path = out / "build.json"
    configuration = json.loads(json.dumps(configuration, default=str))
    if path.exists():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        if earlier != configuration:
            changed = [key for key in configuration if earlier.get(key) != configuration[key]]
            words = ", ".join("list of scenes" if key == "plan" else key for key in changed)
            raise RecordError(
                f"{out} contains a build with another {words}; give another folder, or remove "
                "this one"
            )
    write_json(path, configuration)
    for leftover in out.glob("*.part"):  # temporary files of a build that was killed
        leftover.unlink()


def _build_missing(shards: Sequence[Shard], out: Path, workers: int) -> None:
    """Build the shards that are not finished."""
    missing = [shard for shard in shards if not _is_finished(out, shard)]
    total = sum(len(shard.items) for shard in shards)
    with scene_progress(total) as advance:
        advance(total - sum(len(shard.items) for shard in missing))
        for shard in build_shards(missing, out, workers):
            advance(len(shard.items))


def _is_finished(out: Path, shard: Shard) -> bool:
    """Whether a shard is complete; one with skipped scenes is tried again."""
    summary = read_summary(out, shard)
    return summary is not None and not summary.skipped


def _report(shards: Sequence[Shard], out: Path, seconds: float) -> BuildReport:
    records: dict[str, int] = {}
    chips = 0
    dialogues = 0
    pseudo = 0
    assumed: Counter[str] = Counter()
    skipped: list[SkippedScene] = []
    for shard in shards:
        summary = read_summary(out, shard)
        assert summary is not None
        if summary.surveys:
            records[f"survey_{shard.name}.parquet"] = summary.surveys
        if summary.dialogues:
            records[f"dialogue_{shard.name}.parquet"] = summary.dialogues
        chips += summary.surveys
        dialogues += summary.dialogues
        pseudo += summary.pseudo
        assumed.update(summary.assumed)
        skipped += summary.skipped
    return BuildReport(records, chips, dialogues, pseudo, dict(assumed), tuple(skipped), seconds)


def _digest(items: Iterable[PlacedItem]) -> str:
    """A checksum of the scenes with their places and splits."""
    lines = [f"{item.source} {item.item.id} {item.place} {item.split}" for item in items]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
