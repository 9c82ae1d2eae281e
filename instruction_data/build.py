"""Build a folder of SPIE records: chips as GeoTIFF with their band sidecars, one survey per chip, dialogues about it.

Works shard by shard (one per source). A shard that is already there is kept, so an interrupted build goes on where it
stopped.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from instruction_data.dialogues import dialogue
from instruction_data.simulate import simulated_chips
from instruction_data.sources import SOURCES, Chip, complete
from spex.errors import RecordError
from spex.evidence.classes import classes
from spex.evidence.prior import prior_text
from spex.evidence.scene import SceneEvidence, measure
from spex.prompts import user_message
from spex.records import Rle, SceneRef, SpanTarget, SpieRecord, Turn, load_pixels, write_records

logger = logging.getLogger(__name__)
SIMULATED_PER_SHARD = 250


def build(data: Path, out: Path, *, simulated: int = 0, dialogues: int = 30, seed: int = 0) -> dict[str, int]:
    """Build every source under ``data`` and ``simulated`` scenes into ``out``; return the records per shard written.

    Raises:
        RecordError: nothing to build from, or ``out`` holds a build with other settings.
    """
    found = [name for name in SOURCES if (data / name).is_dir()]
    if not found:
        raise RecordError(f"no known data folder under {data}; expected some of {', '.join(SOURCES)}")
    spectra = data / "spectra_named" / "spectra.npz"
    shards = {name: SOURCES[name](data / name) for name in found}
    for first in range(0, simulated, SIMULATED_PER_SHARD):
        numbers = range(first, min(first + SIMULATED_PER_SHARD, simulated))
        shards[f"simulated_{first // SIMULATED_PER_SHARD:03d}"] = simulated_chips(spectra, numbers, seed)
    (out / "chips").mkdir(parents=True, exist_ok=True)
    _same_settings(out / "build.json", {"seed": seed, "dialogues": dialogues, "simulated": simulated})

    written = {}
    for name, chips in shards.items():
        survey, talk = out / f"survey_{name}.parquet", out / f"dialogue_{name}.parquet"
        if survey.exists():
            continue
        surveys: list[SpieRecord] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a chip without a place is what many of them are
            written[talk.name] = write_records(talk, _talk(chips, out, dialogues, seed, surveys))
        written[survey.name] = write_records(survey, surveys)
        logger.info("%s: %d chips, %d dialogues", name, written[survey.name], written[talk.name])
    return written


def _same_settings(path: Path, settings: dict[str, int]) -> None:
    if path.exists() and json.loads(path.read_text()) != settings:
        raise RecordError(f"{path.parent} was built with {path.read_text()}; give another folder for {settings}")
    path.write_text(json.dumps(settings))


def _talk(chips: Iterator[Chip], out: Path, count: int, seed: int, surveys: list[SpieRecord]) -> Iterator[SpieRecord]:
    for chip in chips:
        record = survey_record(chip, write_chip(chip, out / "chips").relative_to(out))
        here = SceneRef(path=str(out / record.scene.path))
        evidence = measure(load_pixels(record.model_copy(update={"scene": here})))
        surveys.append(record.model_copy(update={"prior": prior_text(evidence)}))
        yield from dialogue_records(record, evidence, count, seed)


def write_chip(chip: Chip, folder: Path) -> Path:
    """Write the chip's pixels as GeoTIFF in their own type, and the sidecar of its bands."""
    path = folder / f"{chip.id}.tif"
    count, height, width = chip.values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=chip.values.dtype, nodata=chip.nodata,
        crs=chip.crs, transform=chip.transform, compress="deflate", zlevel=1, interleave="band",
    ) as raster:  # fmt: skip
        raster.write(chip.values)
    path.with_suffix(".bands.json").write_text(json.dumps(survey_record(chip, path, masks=False).band_metadata()))
    return path


def survey_record(chip: Chip, path: Path, *, masks: bool = True) -> SpieRecord:
    """The chip's survey: a span with mask and ignore for every class that its labels can speak of."""
    truth = complete(chip.truth) if masks else {}
    return SpieRecord(
        id=chip.id,
        kind="survey",
        split=chip.split,
        place=chip.place,
        source=chip.source,
        scene=SceneRef(path=str(path)),
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
            for name, (mask, unknown) in sorted(truth.items())
        ],
        provenance={"spans": chip.labels, "prior": "indices and thresholds of the chip's own pixels", **chip.extra},
    )


def dialogue_records(survey: SpieRecord, evidence: SceneEvidence, count: int, seed: int) -> Iterator[SpieRecord]:
    """Conversations about one chip. They see its evidence, never its labels."""
    for number in range(count):
        rng = np.random.default_rng([seed, number, *survey.id.encode()])
        drawn = dialogue(rng, evidence, survey.split)
        yield survey.model_copy(
            update={
                "id": f"{survey.id}_q{number:03d}",
                "kind": "dialogue",
                "turns": [
                    Turn(role="user", content=user_message(drawn.query, drawn.prior)),
                    Turn(role="assistant", content=drawn.answer),
                ],
                "spans": list(drawn.spans),
                "prior": drawn.prior,
                "provenance": {"turns": f"template {drawn.template}", "prior": survey.provenance["prior"]},
            }
        )
