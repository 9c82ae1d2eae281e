"""What an answer should extract on its chip: the engine's own routine, run on labels.

Constraints, overlaps and facts are the engine's; only the probabilities come from the survey's
masks. Where a label does not cover a pixel, the class is not there; a class without any label is
mapped from its evidence.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from spex.evidence.indices import role_planes
from spex.evidence.maps import class_score
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.postprocess.answer_text import Absence
from spex.postprocess.constraint_masks import Frame
from spex.postprocess.constraint_masks import check as check_constraints
from spex.postprocess.execution import execute
from spex.postprocess.facts import MaskFacts
from spex.query.answer_markup import Answer, other_classes
from spex.query.constraints import ANY
from spex.raster.scene import Pixels, Scene
from spex.raster.working_rasters import (
    NODATA,
    PROBABILITY_SCALE,
    bounded_gdal_cache,
    working_profile,
)
from spex.records import SpieRecord, load_pixels


@dataclass(frozen=True)
class ExpectedAnswer:
    """One answer carried out on labels.

    Attributes:
        values: the mask raster ``(h, w)``: 0 background, 1..n the spans, 255 no data.
        facts: of each mask, in order, empty ones included.
        absences: why a mask is empty, by the number of its span.
    """

    values: NDArray[np.uint8]
    facts: tuple[MaskFacts, ...]
    absences: dict[int, Absence]


class LabelledChip:
    """The chip of a survey, in memory, ready to carry out answers on its labels.

    Raises:
        SceneError: the raster cannot be read.
        RecordError: the raster has another size than the masks.
    """

    def __init__(self, survey: SpieRecord) -> None:
        self.pixels: Pixels = load_pixels(survey)
        self.evidence: SceneEvidence = measure(self.pixels)
        with bounded_gdal_cache(), rasterio.open(survey.scene.path) as raster:
            crs = raster.crs
            transform = raster.transform
            if survey.scene.window:
                transform = raster.window_transform(Window(*survey.scene.window))
        self.scene = Scene.from_array(
            self.pixels.values,
            self.pixels.bands,
            valid=self.pixels.valid,
            crs=crs,
            transform=None if crs is None else transform,
            gsd_m=self.pixels.gsd_m,
            level=self.pixels.level,
            name=survey.scene.path,
        )
        self.planes = role_planes(self.pixels)
        self._labels = {span.class_name: span.mask for span in survey.spans if span.mask}
        self._masks: dict[str, NDArray[np.bool_]] = {}
        self._work = tempfile.TemporaryDirectory(prefix="spex-")  # gone with this object

    def known(self, name: str) -> bool:
        """Whether the labels speak of a class."""
        return name in self._labels

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Where a class is, ``(h, w)``: by the labels, else by its evidence; all of ``any``."""
        if name not in self._masks:
            label = self._labels.get(name)
            if name == ANY:
                mask = self.pixels.valid
            elif label:
                mask = label.decode()
            else:
                mask = class_score(self.pixels, self.evidence, name) > 0.5
            self._masks[name] = mask & self.pixels.valid
        return self._masks[name]

    def carry_out(self, answer: Answer) -> ExpectedAnswer:
        """Execute an answer's constraints on the labels and measure its facts on the mask raster.

        Raises:
            QueryError: a constraint that this scene cannot answer.
        """
        check_constraints(answer, self.scene, self.evidence)
        names = [*(span.class_name for span in answer.spans), *other_classes(answer)]
        masks = np.stack([self.mask(name) for name in names])
        levels = np.where(self.pixels.valid, masks * np.uint8(PROBABILITY_SCALE), NODATA).astype(
            np.uint8
        )
        probability = Path(self._work.name, "probability.tif")
        mask = Path(self._work.name, "mask.tif")
        with bounded_gdal_cache():
            with rasterio.open(
                probability, "w", **working_profile(self.scene, len(names))
            ) as raster:
                raster.write(levels)
            executed = execute(
                Frame.of(self.scene, self.pixels),
                answer,
                self.evidence,
                probability=probability,
                mask=mask,
                likely=[bool(mask_of_class.any()) for mask_of_class in masks],
            )
            with rasterio.open(mask) as raster:
                values = raster.read(1)
        return ExpectedAnswer(values, executed.facts, executed.absences)
