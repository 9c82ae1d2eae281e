"""From a chip to its files and records: raster, band sidecar, survey of its labels, dialogues."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

from instruction_data.dialogues.compose import draw_dialogue
from instruction_data.sources.chips import Chip, Split, complete_truth
from spex.evidence.classes import classes
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.evidence.text import evidence_text
from spex.query.prompt import user_message
from spex.records import Rle, SceneRef, SpanTarget, SpieRecord, Turn, load_pixels

PRIOR = "indices and thresholds of the chip's own pixels"


@dataclass(frozen=True)
class ChipOrigin:
    """Where a chip comes from: its source, its place and its side of the split."""

    source: str
    place: str
    split: Split


def chip_records(
    chip: Chip, origin: ChipOrigin, out: Path, count: int, seed: int
) -> tuple[SpieRecord, Iterator[SpieRecord]]:
    """Write the files of a chip and make its records, which name the raster relative to ``out``.

    Args:
        chip: the chip.
        origin: where it comes from.
        out: folder of the build.
        count: number of dialogues.
        seed: seed of the dialogues.

    Returns:
        The survey, and the dialogues as an iterator.
    """
    survey = survey_record(chip, origin)
    path = out / survey.scene.path
    write_chip(chip, survey, path)
    # The evidence is measured on what a reader of the file will see, not on the chip in memory.
    written = survey.model_copy(update={"scene": SceneRef(path=str(path))})
    evidence = measure(load_pixels(written))
    survey = survey.model_copy(update={"prior": evidence_text(evidence)})
    return survey, dialogue_records(survey, evidence, count, seed)


def write_chip(chip: Chip, survey: SpieRecord, path: Path) -> None:
    """Write the pixels of a chip as GeoTIFF in their own type, and the sidecar of its bands."""
    count, height, width = chip.values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=chip.values.dtype,
        nodata=chip.nodata,
        crs=chip.crs,
        transform=chip.transform,
        compress="deflate",
        zlevel=1,
        interleave="band",
        photometric="minisblack",  # otherwise GDAL takes a fourth band of bytes as alpha
    ) as raster:
        raster.write(chip.values)
    path.with_suffix(".bands.json").write_text(json.dumps(survey.band_metadata()))


def survey_record(chip: Chip, origin: ChipOrigin) -> SpieRecord:
    """The survey of a chip: a span with masks for every class that its labels know."""
    spans: list[SpanTarget] = []
    for name, (mask, unknown) in sorted(complete_truth(chip.truth).items()):
        span = SpanTarget(
            class_name=name,
            phrase=classes()[name].title,
            mask=Rle.encode(mask),
            ignore=Rle.encode(unknown) if unknown.any() else None,
        )
        spans.append(span)
    return SpieRecord(
        id=chip.id,
        kind="survey",
        split=origin.split,
        place=origin.place,
        source=origin.source,
        scene=SceneRef(path=f"chips/{chip.id}.tif"),
        sensor=chip.sensor,
        bands=list(chip.bands),
        level=chip.level,
        gsd_m=chip.gsd_m,
        scale=chip.scale,
        offset=chip.offset,
        spans=spans,
        provenance={**chip.extra, "spans": chip.labels, "prior": PRIOR},
    )


def dialogue_records(
    survey: SpieRecord, evidence: SceneEvidence, count: int, seed: int
) -> Iterator[SpieRecord]:
    """Conversations about one chip, drawn from its evidence and never from its labels."""
    for number in range(count):
        rng = np.random.default_rng([seed, number, *survey.id.encode()])
        drawn = draw_dialogue(rng, evidence, survey.split)
        turns: list[Turn] = []
        for exchange in drawn.exchanges:
            message = user_message(exchange.query, "" if turns else drawn.evidence_text)
            turns.append(Turn(role="user", content=message))
            turns.append(Turn(role="assistant", content=exchange.answer))
        yield survey.model_copy(
            update={
                "id": f"{survey.id}_q{number:03d}",
                "kind": "dialogue",
                "turns": turns,
                "spans": list(drawn.spans),
                "prior": drawn.evidence_text,
                "provenance": {
                    "turns": f"template {drawn.template}",
                    "language": drawn.language,
                    "wording": "held out" if drawn.held_out else "seen",
                    "prior": PRIOR,
                },
            }
        )
