"""Other bands than those trained on: three embeddings in front of the same encoder.

Simulated landscapes are seen through several sets of bands, all of the same ground and air. A
model learns on one set and is measured on land it never saw: with the same bands, with shifted
and disjoint ones, with half of them, and with those of another sensor. Beside ours stand a linear
patch embedding, each of whose inputs takes the nearest band there is, and a generator that knows
of a band its centre alone (as in DOFA, Xiong et al., arXiv 2403.15356). All have the same stages,
head, training time and seeds. Relative losses are of the score that the same model has on its own
bands.

    python tests/benchmarks/bandshift.py --data DATA --output bandshift.json
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
import torch.nn.functional as F
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from instruction_data.simulate.land.landscape import draw_landscape
from instruction_data.simulate.materials.library import WAVELENGTHS
from instruction_data.simulate.materials.spectra import Spectra
from instruction_data.simulate.sensor.atmosphere import draw_atmosphere
from instruction_data.simulate.sensor.detector import add_detector_effects
from instruction_data.simulate.sensor.observe import (
    draw_materials,
    draw_texture,
    measured_reflectance,
    pixel_cover,
)
from instruction_data.simulate.truth import scene_truth
from spex.model.config import SpecAwareConfig
from spex.model.embedding import Kernels, SpecAwareEmbedding
from spex.model.encoder import SpecAwareEncoder
from spex.model.spectral import BandBatch, band_batch
from spex.raster.scene import Pixels
from spex.sensors import Band, get_sensor
from train.data.spectral_views import mix_neighbours, select_bands

CLASSES = {
    "water": ("water",),
    "trees": ("tree_cover",),
    "low plants": ("shrubland", "grassland", "cropland", "wetland"),
    "built-up": ("built_up",),
    "bare": ("soil", "sand", "rock"),
    "snow": ("snow_ice",),
    "burned": ("burned",),
    "cloud": ("cloud",),
}
REAL = ("aviris_jasper", "hsi_moffett")
"""Labelled hyperspectral scenes; their labels separate trees from other plants differently."""
_REAL_CLASSES = {"water": 0, "tree": 2, "vegetation": 2, "road": 3, "soil": 4}
SMALL = SpecAwareConfig(
    hidden_sizes=(32, 48, 64, 96), depths=(1, 1, 2, 1), hyper_dim=64, rank=8, fusion_dim=48
)
GSD_M, CHIP, CROP, BATCH, RATE = 20.0, 128, 64, 8, 2e-3


def _made_up(*centres: float) -> tuple[Band, ...]:
    return tuple(Band(f"{centre:g}", centre, 40.0) for centre in centres)


def _known(sensor: str, names: str) -> tuple[Band, ...]:
    """Bands as if all had the same pixels."""
    return tuple(
        replace(b, gsd_m=None) for b in get_sensor(sensor).bands if b.name in names.split()
    )


# All outside the bands of water vapour. Shifted by half the distance to the next; disjoint ones
# share no light with those trained on, and leave other gaps.
SETS = {
    "eight": _made_up(460, 580, 700, 820, 1020, 1220, 1560, 2120),
    "shifted": _made_up(520, 640, 760, 920, 1120, 1290, 1640, 2220),
    "disjoint": _made_up(505, 535, 640, 750, 900, 1110, 1700, 2300),
    "every second": _made_up(460, 700, 1020, 1560),
    "sentinel-2": _known("sentinel-2a", "B02 B03 B04 B05 B06 B07 B08 B8A B11 B12"),
    "landsat-8": _known("landsat-8", "B2 B3 B4 B5 B6 B7"),
}
BANDS = tuple(dict.fromkeys(band for bands in SETS.values() for band in bands))
FAMILY = {"sentinel-2": "sentinel-2", "landsat-8": "landsat-oli"}
SHIFTS = {
    "eight": {"shifted": 0.10, "disjoint": 0.20, "every second": 0.05},
    "sentinel-2": {"landsat-8": 0.10},
}
"""Trained on, tested on, and the budget of the relative loss of mean IoU."""


@dataclass(frozen=True)
class Ground:
    """A square of land: ``BANDS``, float16 (C, h, w), and class, int64 (h, w), -1 unknown."""

    values: NDArray[np.float16]
    label: NDArray[np.int64]

    def seen(self, sensor: str, part: tuple[slice, slice] = (slice(None), slice(None))) -> Pixels:
        """A part of it as a sensor shows it."""
        chosen = [BANDS.index(band) for band in SETS[sensor]]
        values = self.values[(chosen, *part)].astype(np.float32)
        return Pixels(
            values,
            np.ones(values.shape[1:], bool),
            SETS[sensor],
            "surface",
            GSD_M,
            FAMILY.get(sensor, ""),
        )


def simulated(spectra: Spectra, seed: int, count: int) -> list[Ground]:
    """Four grounds of each of ``count`` landscapes, each with its own materials and atmosphere."""
    return [
        ground
        for number in range(count)
        for ground in _landscape(spectra, np.random.default_rng([seed, number]))
    ]


def _landscape(spectra: Spectra, rng: Generator) -> list[Ground]:
    land = draw_landscape(rng, GSD_M / 2, 4 * CHIP)
    texture = draw_texture(rng, 4 * CHIP, GSD_M / 2)
    known = scene_truth(land, 2)
    response = _response(WAVELENGTHS)
    found = []
    for row, col in ((0, 0), (0, CHIP), (CHIP, 0), (CHIP, CHIP)):
        fine = (slice(2 * row, 2 * (row + CHIP)), slice(2 * col, 2 * (col + CHIP)))
        materials = draw_materials(rng, spectra, tuple(land.materials))
        cover = pixel_cover(land, fine, 2, texture)
        atmosphere = draw_atmosphere(rng, land.sun.zenith_deg)
        values = measured_reflectance(
            rng, cover, materials, response, atmosphere, at_sensor=False, gsd_m=GSD_M
        )
        values = add_detector_effects(rng, values, BANDS, GSD_M)
        positive = np.stack(
            [np.any([known[n][0] & ~known[n][1] for n in names], 0) for names in CLASSES.values()]
        )
        label = np.where(positive.sum(0) == 1, positive.argmax(0), -1)[
            row : row + CHIP, col : col + CHIP
        ]
        found.append(Ground(values.astype(np.float16), label))
    return found


def measured(data: Path) -> list[Ground]:
    """The hyperspectral scenes of ``REAL`` through the same bands."""
    found = []
    for name in REAL:
        about = json.loads((data / name / "meta.json").read_text(encoding="utf-8"))
        with rasterio.open(data / name / "image.tif") as image:
            values = image.read().astype(np.float32) * about["scale_to_reflectance"]
        label = np.full(values.shape[1:], -1)
        with rasterio.open(data / name / "label_dominant.tif") as dominant:
            for number, named in about["classes"].items():
                label[dominant.read(1) == int(number)] = _REAL_CLASSES[named]
        response = _response(np.array([band["center_nm"] for band in about["bands"]]))
        found.append(Ground(np.tensordot(response, values, 1).astype(np.float16), label))
    return found


def _response(grid: NDArray[np.float64]) -> NDArray[np.float32]:
    """Gaussian responses of ``BANDS`` on a grid of wavelengths (nm), rows summing to 1."""
    centre, width = (
        np.array([getattr(b, name) for b in BANDS])[:, None]
        for name in ("wavelength_nm", "fwhm_nm")
    )
    response = np.exp(-4 * np.log(2) * ((grid - centre) / width) ** 2)
    return (response / response.sum(1, keepdims=True)).astype(np.float32)


class _Patches(nn.Module):
    """What all compared embeddings share: kernels summed over bands, a bias, a norm."""

    embed = SpecAwareEmbedding.embed

    def __init__(self, config: SpecAwareConfig) -> None:
        super().__init__()
        self.dim, self.patch, self.hyper_dim = (
            config.hidden_sizes[0],
            config.patch_size,
            config.hyper_dim,
        )
        self.norm = nn.LayerNorm(self.dim)

    def _kernels(self, kernel: Tensor, bias: Tensor) -> Kernels:
        """From kernels (B, C, E * P * P) and bias (E,) or (B, E); nothing conditions the stages."""
        b, c, _ = kernel.shape
        kernel = kernel.view(b, c, self.dim, self.patch, self.patch)
        return Kernels(kernel, bias.expand(b, -1), kernel.new_zeros(b, self.hyper_dim))


class LinearPatches(_Patches):
    """A linear layer on the bands of one sensor; for another, each input takes the nearest band."""

    def __init__(self, config: SpecAwareConfig, bands: Sequence[Band]) -> None:
        super().__init__(config)
        self.centre: Tensor
        self.register_buffer("centre", torch.tensor([b.wavelength_nm or 0.0 for b in bands]))
        fan = len(bands) * self.patch**2
        self.weight = nn.Parameter(
            torch.randn(len(bands), self.dim * self.patch**2) / math.sqrt(fan)
        )
        self.bias = nn.Parameter(torch.zeros(self.dim))

    def generate(self, bands: BandBatch) -> Kernels:
        """Kernels of each band: the sum over the inputs that take it."""
        distance = (bands.wavelength[:, :, None] - self.centre).abs()
        distance = distance.masked_fill(~bands.present[:, :, None], math.inf)
        taken = F.one_hot(distance.argmin(1), distance.shape[1]).to(
            self.weight.dtype
        )  # (B, inputs, C)
        return self._kernels(taken.transpose(1, 2) @ self.weight, self.bias)


class CentreGenerator(_Patches):
    """A transformer generates kernels from band centres alone, summed over bands."""

    def __init__(self, config: SpecAwareConfig, bands: Sequence[Band]) -> None:
        super().__init__(config)
        dim = config.hyper_dim
        self.rates: Tensor
        self.register_buffer("rates", 10000.0 ** -(torch.arange(dim // 2) / (dim // 2)))
        self.lift = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.for_bias = nn.Parameter(torch.randn(dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, 0.0, "gelu", batch_first=True)
        self.mixing = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.kernel, self.bias = nn.Linear(dim, self.dim * self.patch**2), nn.Linear(dim, self.dim)

    def generate(self, bands: BandBatch) -> Kernels:
        """Kernels of each band."""
        phase = bands.wavelength.nan_to_num()[..., None] * self.rates
        waves = torch.cat([phase.sin(), phase.cos()], -1)
        waves = waves + self.lift(waves)
        tokens = torch.cat([self.for_bias.expand(len(waves), 1, -1), waves], 1)
        mixed = self.mixing(tokens, src_key_padding_mask=F.pad(~bands.present, (1, 0)))
        kernel = self.kernel(mixed[:, 1:] + waves) * bands.present[..., None] * 0.1
        return self._kernels(kernel, self.bias(mixed[:, 0]) * 0.1)


class Segmenter(nn.Module):
    """An encoder and a head that gives logits per pixel."""

    def __init__(self, encoder: SpecAwareEncoder) -> None:
        super().__init__()
        width, patch = encoder.config.fusion_dim, encoder.config.patch_size
        self.encoder = encoder
        self.head = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, len(CLASSES) * patch**2, 1),
            nn.PixelShuffle(patch),
        )

    def forward(self, images: Sequence[Pixels]) -> Tensor:
        """Logits (B, K, h, w) of images of equal size."""
        height, width = images[0].valid.shape
        pad = (0, -width % self.encoder.stride, 0, -height % self.encoder.stride)
        values = [F.pad(torch.from_numpy(image.values), pad) for image in images]
        valid = [F.pad(torch.from_numpy(image.valid), pad) for image in images]
        found = self.encoder(
            values, valid, self.encoder.embedding.generate(band_batch(list(images)))
        )
        return self.head(found.fused)[..., :height, :width]


def varied(pixels: Pixels, rng: Generator) -> Pixels:
    """The image through other bands, as in pre-training: some left out, some mixed."""
    count = len(pixels.bands)
    kept = np.sort(rng.permutation(count)[: rng.integers(count // 2, count + 1)])
    return mix_neighbours(rng, select_bands(pixels, kept))


def fit(
    model: Segmenter, grounds: list[Ground], sensor: str, minutes: float, seed: int, vary: bool
) -> int:
    """Train for some minutes of processor time; returns the number of steps."""
    rng = np.random.default_rng(seed)
    counts = np.bincount(
        np.concatenate([g.label[g.label >= 0] for g in grounds]), minlength=len(CLASSES)
    )
    weight = torch.from_numpy(np.sqrt(counts.sum() / np.maximum(counts, 1)) * (counts > 0)).float()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    model.train()
    start, steps, passed = time.process_time(), 0, 0.0
    while passed < 1:
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (steps + 1) / 50) * (1 + math.cos(math.pi * passed)) / 2
        images, labels = zip(
            *(_draw(grounds, sensor, rng, vary) for _ in range(BATCH)), strict=True
        )
        loss = F.cross_entropy(
            model(images), torch.from_numpy(np.stack(labels)), weight, ignore_index=-1
        )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        steps += 1
        passed = (time.process_time() - start) / torch.get_num_threads() / (60 * minutes)
    return steps


def _draw(
    grounds: list[Ground], sensor: str, rng: Generator, vary: bool
) -> tuple[Pixels, NDArray[np.int64]]:
    """A random crop with some known pixels, turned, and of another brightness."""
    while True:
        ground = grounds[rng.integers(len(grounds))]
        row, col = rng.integers(0, CHIP - CROP + 1, 2)
        part = (slice(row, row + CROP), slice(col, col + CROP))
        if (ground.label[part] >= 0).any():
            break
    pixels, turns = ground.seen(sensor, part), int(rng.integers(4))
    values = np.rot90(pixels.values, turns, (1, 2)) * np.float32(np.exp(rng.normal(0, 0.1)))
    pixels = replace(pixels, values=np.ascontiguousarray(values))
    return varied(pixels, rng) if vary else pixels, np.rot90(ground.label[part], turns).copy()


@torch.inference_mode()
def score(
    model: Segmenter, grounds: list[Ground], sensor: str, merged: bool = False
) -> dict[str, float]:
    """Mean IoU of the classes present, and pixel accuracy; ``merged``: trees are low plants."""
    model.eval()
    confusion = np.zeros((len(CLASSES),) * 2, np.int64)
    for ground in grounds:
        found = model([ground.seen(sensor)])[0].argmax(0).numpy()
        found = np.where(found == 1, 2, found) if merged else found
        known = ground.label >= 0
        np.add.at(confusion, (ground.label[known], found[known]), 1)
    right, there = confusion.diagonal(), confusion.sum(1)
    iou = right[there > 0] / (there + confusion.sum(0) - right)[there > 0]
    return {"miou": float(iou.mean()), "oa": float(right.sum() / there.sum())}


@dataclass(frozen=True)
class Arm:
    """An embedding (ours if None), and whether it learns from varied bands."""

    embedding: Callable[[SpecAwareConfig, Sequence[Band]], nn.Module] | None
    vary: bool = False


ARMS = {
    "SpecAware": Arm(None),
    "SpecAware, varied": Arm(None, True),
    "linear": Arm(LinearPatches),
    "linear, varied": Arm(LinearPatches, True),
    "centres": Arm(CentreGenerator),
    "centres, varied": Arm(CentreGenerator, True),
}


def make(arm: Arm, bands: Sequence[Band], checkpoint: Path | None) -> Segmenter:
    """An untrained model; with a checkpoint, all have its sizes and ours starts from it."""
    config = SpecAwareConfig.from_pretrained(checkpoint) if checkpoint else SMALL
    if checkpoint and arm.embedding is None:
        return Segmenter(
            SpecAwareEncoder.from_pretrained(checkpoint, local_files_only=True, dtype=torch.float32)
        )
    encoder = SpecAwareEncoder(config)
    if arm.embedding:
        encoder.embedding = arm.embedding(config, bands)
    return Segmenter(encoder)


def measure(
    train: list[Ground],
    tests: dict[str, list[Ground]],
    seeds: int,
    minutes: float,
    checkpoint: Path | None,
) -> list[dict[str, Any]]:
    """Scores of every arm, seed and training band set, per test ground and test band set."""
    rows = []
    for seed in range(seeds):
        for trained, shifts in SHIFTS.items():
            for name, arm in ARMS.items():
                torch.manual_seed(seed)
                model = make(arm, SETS[trained], checkpoint)
                steps = fit(model, train, trained, minutes, seed, arm.vary)
                scores = {
                    where: {
                        tested: score(model, grounds, tested, where == "real")
                        for tested in (trained, *shifts)
                    }
                    for where, grounds in tests.items()
                }
                row = {
                    "arm": name,
                    "seed": seed,
                    "trained": trained,
                    "steps": steps,
                    "scores": scores,
                }
                row["embedding"], row["model"] = (
                    sum(p.numel() for p in part.parameters())
                    for part in (model.encoder.embedding, model)
                )
                rows.append(row)
                listed = "  ".join(
                    f"{tested} {one['miou']:.3f}" for tested, one in scores["simulated"].items()
                )
                print(f"seed {seed}  {name:18} {steps:5d} steps  {listed}", flush=True)
    return rows


def losses(rows: list[dict[str, Any]], where: str, kind: str) -> list[dict[str, Any]]:
    """Relative losses: a row per shift; per arm the score on own bands, on others, and the loss."""
    table = []
    for trained, shifts in SHIFTS.items():
        for tested, budget in shifts.items():
            line: dict[str, Any] = {
                "trained": trained,
                "tested": tested,
                "budget": budget,
                "arms": {},
            }
            for name in ARMS:
                scores = [
                    r["scores"][where] for r in rows if r["arm"] == name and r["trained"] == trained
                ]
                own, other = (np.array([s[key][kind] for s in scores]) for key in (trained, tested))
                lost = 1 - other / own
                line["arms"][name] = {
                    "own": float(own.mean()),
                    "other": float(other.mean()),
                    "loss": float(lost.mean()),
                    "loss_sd": float(lost.std()),
                }
            table.append(line)
    return table


def show(table: list[dict[str, Any]], title: str) -> None:
    """Print the relative losses beside their budgets; within budget is marked."""
    print(f"\n{title}\n{'':28}{'budget':>7}" + "".join(f"{name:>26}" for name in ARMS))
    for line in table:
        cells = ""
        for one in line["arms"].values():
            mark = "*" if one["loss"] <= line["budget"] else " "
            loss = f"{one['loss']:4.0%}±{one['loss_sd']:.0%}{mark}"
            cells += f"{one['own']:.3f} {one['other']:.3f} {loss}".rjust(26)
        print(f"{line['trained'] + ' -> ' + line['tested']:28}{line['budget']:7.0%}{cells}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=0.5, help="of training per model")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--landscapes", type=int, default=40, help="to train on; half as many to test on"
    )
    parser.add_argument("--encoder", type=Path, help="a pre-trained encoder that ours starts from")
    parser.add_argument(
        "--data", type=Path, help="folder of measured spectra and hyperspectral scenes"
    )
    parser.add_argument("--output", type=Path, help="JSON")
    given = parser.parse_args(arguments)
    spectra = Spectra(given.data and given.data / "spectra_named" / "spectra.npz")
    train = simulated(spectra, 0, given.landscapes)
    tests = {"simulated": simulated(spectra, 1, max(1, given.landscapes // 2))}
    if given.data:
        tests["real"] = measured(given.data)
    rows = measure(train, tests, given.seeds, given.minutes, given.encoder)
    tables = {
        where: {kind: losses(rows, where, kind) for kind in ("miou", "oa")} for where in tests
    }
    show(
        tables["simulated"]["miou"],
        "mean IoU on simulated land, own bands and others, relative loss",
    )
    if given.data:
        known = ", which stage pretrain has seen without labels" if given.encoder else ""
        show(tables["real"]["oa"], f"share of pixels right in {' and '.join(REAL)}{known}")
    if given.output:
        settings = {"minutes": given.minutes, "seeds": given.seeds, "landscapes": given.landscapes}
        settings["encoder"] = str(given.encoder or "")
        given.output.write_text(
            json.dumps({"settings": settings, "tables": tables, "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
