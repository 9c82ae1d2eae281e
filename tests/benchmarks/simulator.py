"""The simulator: its speed, its pictures beside real scenes, and how its spectra differ.

    python tests/benchmarks/simulator.py [--library SPECTRA.npz] [--chips 80]
    python tests/benchmarks/simulator.py --library SPECTRA.npz --data DATA --gallery OUT.png
    python tests/benchmarks/simulator.py --library SPECTRA.npz --data DATA --overlap

Speed: chips a second of one core, the share of each step, beside one copy of the same planes of
materials in the same run (the bound by memory). Gallery: pairs of true and false colour, real
scenes in the lower half. Overlap: per class, pixels of real training places against simulated
ones of the same kind of sensor. AUC: how well a classifier that sees the bands tells them apart
on chips it was not fitted on (0.5: not at all); covered: the share of real pixels within the
central 98 % of the simulated ones; energy: distance of the two samples in standard deviations of
the real one.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from instruction_data.layouts import LAYOUTS
from instruction_data.simulate.items import simulated_items
from instruction_data.sources.chips import Chip, complete_truth
from spex.evidence.indices import compute_index, role_planes
from spex.raster.scene import Pixels
from spex.sensors import ROLES, Band

_STEPS = {
    "landscape": "draw_landscape",
    "truth": "scene_truth",
    "materials": "draw_materials",
    "cover": "pixel_cover",
    "reflectance": "measured_reflectance",
    "detector": "add_detector_effects",
    "product": "_store",
    "texture": "draw_texture",
}
_FEATURES = ("B", "G", "R", "N", "S1", "S2", "NDVI", "MNDWI", "NBR")
_FIRES = ("B", "G", "R", "N", "S2", "NDVI", "NBR")
_AERIAL = ("B", "G", "R", "N", "NDVI")
_SIDE = 128


def pixels(chip: Chip) -> Pixels:
    """The chip as the evidence reads it."""
    values = chip.values * np.float32(chip.scale) + np.float32(chip.offset)
    nodata = np.nan if chip.nodata is None else chip.nodata
    valid = np.isfinite(values).all(axis=0) & (chip.values != nodata).all(axis=0)
    bands = tuple(Band(b.name, b.wavelength_nm, b.fwhm_nm) for b in chip.bands)
    return Pixels(
        np.where(valid, values, 0).astype(np.float32), valid, bands, chip.level, chip.gsd_m
    )


def simulated(library: Path | None, count: int, seed: int = 0) -> Iterator[Chip]:
    """Chips of simulated landscapes."""
    for item in simulated_items(library, count, seed):
        yield from item.read("train")


def real(data: Path, names: Sequence[str]) -> Iterator[Chip]:
    """Chips of the training places of some of the data folders."""
    for name in names:
        for item in LAYOUTS[name].items(data / name):
            if item.split != "val":
                yield from item.read("train")


def speed(library: Path | None, count: int) -> None:
    """Print seconds a chip and the share of every step."""
    next(simulated(library, 1))
    started, kept = time.process_time(), 0
    for chip in simulated(library, count):
        kept += chip.values.nbytes
    seconds = (time.process_time() - started) / count
    profile = cProfile.Profile()
    profile.runcall(lambda: list(simulated(library, count)))
    functions = pstats.Stats(profile).get_stats_profile().func_profiles
    whole = functions["simulate"].cumtime
    planes = np.ones((20, 512, 512), np.float32)
    started = time.process_time()
    for _ in range(5):
        planes.copy()
    copied = (time.process_time() - started) / 5 / 4
    print(
        f"{seconds:.3f} s a chip, {1 / seconds:.1f} chips a second and core, "
        f"{kept / count / 1e6:.2f} MB a chip"
    )
    print(
        f"a copy of a quarter of 20 planes of 512 x 512: {copied:.4f} s; "
        f"ratio {seconds / copied:.0f}"
    )
    for step, function in _STEPS.items():
        print(f"{step:14}{functions[function].cumtime / whole:7.1%}")


def _picture(chip: Chip) -> NDArray[np.uint8]:
    seen = pixels(chip)
    planes = role_planes(seen)
    swir = ("S1", "N", "R") if "S1" in planes else ("N", "R", "G")
    halves = []
    for roles in (("R", "G", "B"), swir):
        image = np.stack(
            [planes.get(role, planes.get("G", next(iter(planes.values())))) for role in roles]
        )
        if chip.level != "uncalibrated":
            known = image[:, seen.valid]
            low, high = np.nanquantile(known, (0.01, 0.99)) if known.size else (0, 1)
            image = (image - low) / max(high - low, 0.12)
        halves.append(
            np.clip(np.nan_to_num(np.where(seen.valid, image, 0)), 0, 1)[:, :_SIDE, :_SIDE]
        )
    out = np.zeros((3, _SIDE + 2, 2 * _SIDE + 6), np.uint8)
    for half, left in zip(halves, (0, _SIDE), strict=True):
        out[:, : half.shape[1], left : left + half.shape[2]] = np.rint(half * 255)
    return out


def gallery(
    library: Path | None, data: Path | None, target: Path, rows: int = 5, columns: int = 5
) -> None:
    """Write pictures of simulated chips, one per landscape, with real ones below them."""
    made = [
        next(item.read("train"))
        for item in islice(simulated_items(library, 10**6, 3, 1), rows * columns)
    ]
    shown = [_picture(chip) for chip in made]
    if data:
        names = ["hls_flood_wc", "naip_ohio_landcover", "naip_chesapeake_wv", "s2_burn_california"]
        rng, found = np.random.default_rng(0), []
        for name in names:
            chips = list(real(data, [name]))
            found += [chips[i] for i in rng.permutation(len(chips))[: rows * columns // len(names)]]
        shown += [_picture(chip) for chip in found]
    shown += [np.zeros_like(shown[0])] * (-len(shown) % columns)
    grid = np.concatenate(
        [np.concatenate(shown[i : i + columns], axis=2) for i in range(0, len(shown), columns)],
        axis=1,
    )
    with rasterio.open(
        target, "w", driver="PNG", count=3, height=grid.shape[1], width=grid.shape[2], dtype="uint8"
    ) as f:
        f.write(grid)
    for chip in made:
        print(chip.id, chip.sensor, chip.gsd_m, chip.level, chip.values.dtype, chip.values.shape)


Samples = dict[str, list[tuple[int, NDArray[np.float32]]]]


def samples(chips: Iterable[Chip], features: Sequence[str], each: int = 40) -> Samples:
    """Class to samples (pixels, features) of every chip, with the chip's number."""
    rng, found = np.random.default_rng(0), defaultdict(list)
    for number, chip in enumerate(chips):
        seen = pixels(chip)
        planes = role_planes(seen)
        if not set(features) & set(ROLES) <= set(planes):
            continue
        table = np.stack(
            [planes[f] if f in planes else compute_index(f, planes) for f in features], axis=-1
        )
        hidden = complete_truth(chip.truth)
        unclear = [
            hidden[name][0] | hidden[name][1]
            for name in ("cloud", "cloud_shadow")
            if name in hidden
        ]
        clear = seen.valid & ~np.logical_or.reduce([np.zeros_like(seen.valid), *unclear])
        for name, (mask, unknown) in hidden.items():
            where = np.flatnonzero(mask & ~unknown & clear)
            if len(where) >= 20:
                rows = table.reshape(-1, len(features))[
                    rng.choice(where, min(each, len(where)), replace=False)
                ]
                found[name].append((number, rows[np.isfinite(rows).all(axis=1)]))
    return found


def overlap(title: str, truly: Samples, made: Samples, features: Sequence[str]) -> None:
    """Print where the samples of real and simulated pixels agree and where they do not."""
    from scipy.stats import energy_distance
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict

    print(f"\n{title}: median of real pixels / simulated ones; covered; energy distance")
    print(f"{'':13}{'chips':>9}{'AUC':>6}" + "".join(f"{f:>21}" for f in features))
    for name in sorted(set(truly) & set(made)):
        if min(len(truly[name]), len(made[name])) < 5:
            continue
        one, two = (np.concatenate([rows for _, rows in s[name]]) for s in (truly, made))
        groups = np.concatenate(
            [
                np.full(len(rows), 2 * n + k)
                for k, s in enumerate((truly, made))
                for n, rows in s[name]
            ]
        )
        known, label = np.concatenate([one, two]), np.repeat([0, 1], (len(one), len(two)))
        model = HistGradientBoostingClassifier(max_iter=60, class_weight="balanced")
        votes = cross_val_predict(
            model, known, label, groups=groups, cv=GroupKFold(4), method="predict_proba"
        )[:, 1]
        line = (
            f"{name:13}{len(truly[name]):4}/{len(made[name]):<4}{roc_auc_score(label, votes):6.2f}"
        )
        for k in range(len(features)):
            low, high = np.quantile(two[:, k], (0.01, 0.99))
            inside = ((one[:, k] >= low) & (one[:, k] <= high)).mean()
            far = energy_distance(one[:, k], two[:, k]) / max(one[:, k].std(), 1e-3)
            line += (
                f"{np.median(one[:, k]):6.2f}/{np.median(two[:, k]):4.2f} {inside:4.0%}{far:5.1f}"
            )
        print(line)


def main() -> None:
    """Parse the command line and run what it asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--library", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--chips", type=int, default=80)
    parser.add_argument("--gallery", type=Path)
    parser.add_argument("--overlap", action="store_true")
    asked = parser.parse_args()
    if asked.gallery:
        gallery(asked.library, asked.data, asked.gallery)
    if asked.overlap:
        made = list(simulated(asked.library, asked.chips, seed=1))
        satellite = [
            c
            for c in made
            if c.level == "surface" and c.gsd_m and c.gsd_m >= 10 and len(c.bands) < 20
        ]
        aerial = [c for c in made if c.level == "uncalibrated"]
        for title, folders, chips, features in (
            ("satellite, surface reflectance", ["hls_flood_wc"], satellite, _FEATURES),
            ("satellite, fires", ["s2_burn_california"], satellite, _FIRES),
            (
                "aerial, display values",
                ["naip_ohio_landcover", "naip_chesapeake_wv"],
                aerial,
                _AERIAL,
            ),
        ):
            overlap(
                title,
                samples(real(asked.data, folders), features),
                samples(chips, features),
                features,
            )
    if not (asked.gallery or asked.overlap):
        speed(asked.library, asked.chips)


if __name__ == "__main__":
    main()
