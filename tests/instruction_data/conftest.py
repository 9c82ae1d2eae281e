"""A small copy of the data folders, a made spectral library, scenes, and a built folder."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

from instruction_data.simulate.materials.spectra import Spectra
from spex.evidence.scene_evidence import SceneEvidence, measure
from spex.evidence.text import evidence_text
from spex.query.answer_markup import parse_answer
from spex.query.prompt import user_message
from spex.records import (
    BandRef,
    Rle,
    SceneRef,
    SpanTarget,
    SpieRecord,
    Turn,
    load_pixels,
    write_records,
)

HLS_BANDS = (
    ("coastal", 443),
    ("blue", 482),
    ("green", 561),
    ("red", 655),
    ("nir", 865),
    ("swir1", 1609),
    ("swir2", 2201),
)
WATER = (900, 800, 700, 500, 200, 100, 50)
FIELD = (500, 600, 900, 700, 4200, 2400, 1400)
WOOD = (200, 250, 450, 300, 3000, 1200, 500)


def write_raster(path: Path, values: np.ndarray, nodata: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=values.dtype,
        nodata=nodata,
    ) as raster:
        raster.write(values)


def hls_labels() -> np.ndarray:
    """From left: water in both labels, flood on fields, fields, wood; a cloud at lower right."""
    flood, cover, quality = np.zeros((3, 32, 32), np.int16)
    flood[:, :16], cover[:, :8], cover[:, 8:24], cover[:, 24:] = 1, 80, 40, 10
    quality[24:, 28:] = 1 << 1
    return np.stack([flood, cover, quality, flood, flood])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two places of ``hls_flood_wc``, one for training and one for validation,
    and one chip of ``naip_ohio_landcover``."""
    rng, root = np.random.default_rng(0), tmp_path / "data"
    spectra = np.array([WATER] * 16 + [FIELD] * 8 + [WOOD] * 8, np.int16).T[:, None, :]
    for number in range(3):
        values = (spectra + rng.normal(0, 20, (7, 32, 32))).astype(np.int16)
        write_raster(root / f"hls_flood_wc/images/{number:03d}.tif", values, -9999)
        write_raster(root / f"hls_flood_wc/labels/{number:03d}.tif", hls_labels())
    bands = [{"name": name, "center_nm": centre, "fwhm_nm": 40} for name, centre in HLS_BANDS]
    (root / "hls_flood_wc/meta.json").write_text(
        json.dumps({"bands": bands, "location_group": [7, 8, 8]})
    )

    label = np.zeros((1, 32, 32), np.uint8)
    label[0, :4], label[0, 4:8], label[0, 8:12], label[0, 12:20] = 1, 2, 3, 4
    write_raster(
        root / "naip_ohio_landcover/images/11.tif",
        rng.integers(0, 255, (4, 32, 32)).astype(np.uint8),
    )
    write_raster(root / "naip_ohio_landcover/labels/11.tif", label)
    bands = [
        {"name": n, "center_nm": c, "fwhm_nm": 60}
        for n, c in (("R", 640), ("G", 550), ("B", 470), ("NIR", 850))
    ]
    chips = [{"id": "11", "location_group": 0}]
    (root / "naip_ohio_landcover/meta.json").write_text(
        json.dumps({"bands": bands, "chips": chips})
    )
    split = {
        "hls_flood_wc": {"train": [0], "val": [1, 2]},
        "naip_ohio_landcover": {"train": ["11"], "val": []},
    }
    (root / "split.json").write_text(json.dumps(split))
    return root


@pytest.fixture(scope="session")
def spectra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library in the layout of ``spectra_named``.

    Plants have a red edge; water and snow are dark in the SWIR.
    """
    rng = np.random.default_rng(1)
    wavelengths = np.arange(400, 2501, 5)
    edge = 1 / (1 + np.exp(-(wavelengths - 715) / 12))
    swir = np.exp(-np.maximum(wavelengths - 1300, 0) / 500)
    curves = {
        "water": 0.04 * np.exp(-np.maximum(wavelengths - 550, 0) / 80),
        "tree": 0.03 + 0.4 * edge * swir,
        "grass_crop": 0.06 + 0.5 * edge * swir,
        "dry_vegetation": 0.1 + 0.2 * wavelengths / 2500,
        "soil": 0.08 + 0.35 * wavelengths / 2500,
        "sand": 0.2 + 0.3 * wavelengths / 2500,
        "rock": 0.15 + 0.1 * edge,
        "roof": 0.15 + 0.05 * edge,
        "other_manmade": 0.3 + 0 * edge,
        "concrete": 0.28 + 0 * edge,
        "asphalt": 0.1 + 0 * edge,
        "snow_ice": 0.85 * np.exp(-np.maximum(wavelengths - 900, 0) / 200),
        "burned": 0.04 + 0.1 * wavelengths / 2500,
        "shrub": 0.05 + 0.25 * edge * swir,
        "marsh_mixed": 0.04 + 0.2 * edge * swir,
    }
    extra = ("shrub", "marsh_mixed")
    files = {"spectra": set(curves) - set(extra), "spectra_extra_vegetation": set(extra)}
    folder = tmp_path_factory.mktemp("spectra_named")
    for name, members in files.items():
        kinds = [kind for kind in curves if kind in members]
        classes = np.repeat(kinds, 3)
        rows = [np.clip(curves[kind] * rng.uniform(0.9, 1.1), 0, 1) for kind in classes]
        reflectance = np.array(rows, np.float32)
        # In-situ spectra of water end in the NIR.
        reflectance[np.ix_(classes == "water", wavelengths > 900)] = np.nan
        columns = dict.fromkeys(("subclass", "names", "source", "flag", "class"), classes)
        np.savez(
            folder / f"{name}.npz",
            wavelengths_nm=wavelengths.astype(np.float32),
            reflectance=reflectance,
            **columns,
        )
    return folder / "spectra.npz"


@pytest.fixture(scope="session")
def library(spectra: Path) -> Spectra:
    return Spectra(spectra)


Raster = Callable[..., Path]


@pytest.fixture
def raster(tmp_path: Path) -> Raster:
    """Writes a raster in the test's folder, by default on a 10 m grid in UTM 33."""

    def write(
        name: str,
        values: np.ndarray,
        *,
        west: float = 500000,
        north: float = 5000000,
        **options: Any,
    ) -> Path:
        path = tmp_path / name
        stack = values if values.ndim == 3 else values[None]
        path.parent.mkdir(parents=True, exist_ok=True)
        grid = {"crs": "EPSG:32633", "transform": from_origin(west, north, 10, 10)} | options
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            count, height, width = stack.shape
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                count=count,
                height=height,
                width=width,
                dtype=stack.dtype,
                **grid,
            ) as dataset:
                dataset.write(stack)
        return path

    return write


@pytest.fixture
def scene_file(raster: Raster) -> Raster:
    """Writes a scene of four bands with its sidecar: the left half water, the right half wood."""

    def write(name: str = "scene.tif", side: int = 64, **options: Any) -> Path:
        values = np.empty((4, side, side), np.uint16)
        values[:, :, : side // 2] = np.array([600, 500, 300, 100], np.uint16)[:, None, None]
        values[:, :, side // 2 :] = np.array([300, 500, 300, 4000], np.uint16)[:, None, None]
        path = raster(name, values, **options)
        bands = [
            {"name": n, "wavelength_nm": c, "fwhm_nm": 60}
            for n, c in zip("BGRN", (490, 560, 665, 842), strict=True)
        ]
        path.with_suffix(".bands.json").write_text(
            json.dumps({"bands": bands, "scale": 1e-4, "level": "surface"})
        )
        return path

    return write


LAKES = "lakes larger than 0.1 ha"


@dataclass(frozen=True)
class MadeDialogue:
    """A dialogue of the built folder: exchanges of query and answer, and where they come from."""

    exchanges: list[tuple[str, str]]
    template: str
    language: str
    wording: str
    with_evidence: bool


DIALOGUES = {
    "q000": MadeDialogue(
        [
            (
                LAKES,
                "<seg class=water min_area=0.1ha>lakes</seg>: <fact:area>, <fact:share> of the "
                "scene, in <fact:count> regions. NDWI is <fact:index:NDWI> inside and "
                "<fact:outside:NDWI> outside. <fact:left_out>.",
            )
        ],
        "ask: {np}",
        "en",
        "seen",
        with_evidence=True,
    ),
    "q001": MadeDialogue(
        [
            ("Trees, please", "<seg class=tree_cover>Trees</seg>: <fact:share> of the scene."),
            ("now only in the east", "<seg class=tree_cover where=east>Trees</seg>: <fact:area>."),
        ],
        "ask: {np} | place: now only {place}",
        "en",
        "held out",
        with_evidence=False,
    ),
    "q002": MadeDialogue(
        [("¿Cuántos coches hay?", "<refuse>Objects cannot be counted.</refuse>")],
        "refuse: {item}",
        "es",
        "seen",
        with_evidence=True,
    ),
}


@pytest.fixture
def built(tmp_path: Path, scene_file: Raster) -> Path:
    """A built folder as the builder lays it out: a chip of each split, its survey, 3 dialogues.

    The labels: water except three columns that are unknown, tree cover, nothing burned; roads are
    unknown.
    """
    out = tmp_path / "out"
    for number, (split, side) in enumerate((("train", 64), ("val", 48))):
        chip = scene_file(f"out/chips/chip{number}.tif", side, west=500000 + 50000 * number)
        survey = made_survey(chip, number, split, side)
        evidence = measure(load_pixels(survey))
        survey = survey.model_copy(
            update={
                "prior": evidence_text(evidence),
                "scene": SceneRef(path=f"chips/chip{number}.tif"),
            }
        )
        dialogues = [made_dialogue(survey, evidence, name) for name in DIALOGUES]
        write_records(out / f"survey_own_{number:03d}_{split}.parquet", [survey])
        write_records(out / f"dialogue_own_{number:03d}_{split}.parquet", dialogues)
    return out


def made_survey(chip: Path, number: int, split: str, side: int) -> SpieRecord:
    metadata = json.loads(chip.with_suffix(".bands.json").read_text())
    water = np.arange(side) < np.full((side, 1), side // 2)
    unknown = water & (np.arange(side) >= side // 2 - 3)
    masks = {"water": water & ~unknown, "tree_cover": ~water, "burned": np.zeros_like(water)}
    spans = [
        SpanTarget(
            class_name=name,
            phrase=name,
            mask=Rle.encode(mask),
            ignore=Rle.encode(unknown) if name == "water" else None,
        )
        for name, mask in masks.items()
    ]
    return SpieRecord(
        id=f"chip{number}",
        kind="survey",
        split=split,
        place=f"place{number}",
        source="own",
        scene=SceneRef(path=str(chip)),
        sensor="made",
        bands=[BandRef(**band) for band in metadata["bands"]],
        level="surface",
        gsd_m=10,
        scale=1e-4,
        provenance={"spans": "made by hand"},
        spans=spans,
    )


def made_dialogue(survey: SpieRecord, evidence: SceneEvidence, name: str) -> SpieRecord:
    made = DIALOGUES[name]
    prior = evidence_text(evidence, made.exchanges[0][0]) if made.with_evidence else ""
    turns: list[Turn] = []
    for query, answer in made.exchanges:
        turns.append(Turn(role="user", content=user_message(query, "" if turns else prior)))
        turns.append(Turn(role="assistant", content=answer))
    spans = [
        SpanTarget(
            class_name=span.class_name,
            phrase=span.phrase,
            attributes=span.constraints.to_dict(),
        )
        for span in parse_answer(made.exchanges[-1][1]).spans
    ]
    return survey.model_copy(
        update={
            "id": f"{survey.id}_{name}",
            "kind": "dialogue",
            "turns": turns,
            "spans": spans,
            "prior": prior,
            "provenance": {
                "turns": f"template {made.template}",
                "language": made.language,
                "wording": made.wording,
            },
        }
    )
