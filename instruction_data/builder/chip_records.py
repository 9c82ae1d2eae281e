"""From a chip to its files and records: raster with band sidecar, survey of its labels, dialogues about its pixels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

from instruction_data.dialogues.compose import draw_dialogue
from instruction_data.sources.chips import Chip, Split, complete
from spex.evidence.classes import classes
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.evidence.text import evidence_text
from spex.query.prompt import user_message
from spex.records import Rle, SceneRef, SpanTarget, SpieRecord, Turn, load_pixels

PRIOR = "indices and thresholds of the chip's own pixels"


@dataclass(frozen=True)
class ChipOrigin:
    """What the build knows of a chip: its source, its place and its side of the split."""

    source: str
    place: str
    split: Split


def chip_records(
    chip: Chip, origin: ChipOrigin, out: Path, count: int, seed: int
) -> tuple[SpieRecord, Iterator[SpieRecord]]:
    """Write the chip's files under ``out``; return its survey and ``count`` dialogues, both naming ``out``'s raster."""
    survey = survey_record(chip, origin)
    path = out / survey.scene.path
    write_chip(chip, survey, path)
    # Measured is what a reader of the file will see, not what is in memory.
    evidence = measure(load_pixels(survey.model_copy(update={"scene": SceneRef(path=str(path))})))
    survey = survey.model_copy(update={"prior": evidence_text(evidence)})
    return survey, dialogue_records(survey, evidence, count, seed)


def write_chip(chip: Chip, survey: SpieRecord, path: Path) -> None:
    """Write the chip's pixels as GeoTIFF in their own type, and the sidecar of its bands."""
    count, height, width = chip.values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=chip.values.dtype, nodata=chip.nodata,
        crs=chip.crs, transform=chip.transform, compress="deflate", zlevel=1, interleave="band",
        photometric="minisblack",  # else a fourth band of bytes counts as alpha
    ) as raster:  # fmt: skip
        raster.write(chip.values)
    path.with_suffix(".bands.json").write_text(json.dumps(survey.band_metadata()))


def survey_record(chip: Chip, origin: ChipOrigin) -> SpieRecord:
    """The chip's survey: a span with mask and ignore for every class that its labels can speak of."""
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
        spans=[
            SpanTarget(
                class_name=name,
                phrase=classes()[name].title,
                mask=Rle.encode(mask),
                ignore=Rle.encode(unknown) if unknown.any() else None,
            )
            for name, (mask, unknown) in sorted(complete(chip.truth).items())
        ],
        provenance={**chip.extra, "spans": chip.labels, "prior": PRIOR},
    )


def dialogue_records(
    survey: SpieRecord, evidence: SceneEvidence, count: int, seed: int
) -> Iterator[SpieRecord]:
    """Conversations about one chip. They see its evidence, never its labels."""
    for number in range(count):
        rng = np.random.default_rng([seed, number, *survey.id.encode()])
        drawn = draw_dialogue(rng, evidence, survey.split)
        turns = []
        for first, exchange in enumerate(drawn.exchanges):
            said = user_message(exchange.query, "" if first else drawn.evidence_text)
            turns += [
                Turn(role="user", content=said),
                Turn(role="assistant", content=exchange.answer),
            ]
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
