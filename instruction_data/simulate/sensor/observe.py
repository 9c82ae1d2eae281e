"""From the shares of materials on fine ground to the reflectance that a sensor's bands would measure at its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from instruction_data.simulate.land.landscape import Landscape, Plane
from instruction_data.simulate.materials.canopy import PLANTS
from instruction_data.simulate.materials.library import WAVELENGTHS
from instruction_data.simulate.materials.spectra import Spectra
from instruction_data.simulate.materials.water_optics import WaterBody, shallow
from instruction_data.simulate.sensor.atmosphere import Air, glow
from instruction_data.simulate.truth import coarsen

_BOTTOM_SEEN = 0.02  # what is left of the bottom's signal where it no longer counts


@dataclass(frozen=True)
class Materials:
    """The spectra of one landscape's materials: pairs (K, 2, n_wavelengths) in the order of ``keys``, water bodies."""

    keys: tuple[str, ...]
    pairs: NDArray[np.float32]
    water: dict[str, WaterBody]


@dataclass(frozen=True)
class View:
    """A window of a landscape at the pixels of a sensor: (K, h, w) shares, and what lights and covers them.

    ``lit`` is share x light of the sun, ``varied`` the part of ``lit`` that shows the second spectrum of its material.
    """

    keys: tuple[str, ...]
    share: Plane
    lit: Plane
    varied: Plane
    depth_m: Plane
    cloud: Plane | None


def draw_materials(rng: Generator, spectra: Spectra, keys: tuple[str, ...]) -> Materials:
    """Spectra for every material; variants of one kind are drawn apart."""
    pairs, water = [], {}
    for key in keys:
        kind, _, variant = key.partition(":")
        if kind == "water":
            water[key] = body = spectra.water(rng, variant)
            pairs.append(np.stack([body.deep, body.deep * rng.uniform(0.95, 1.05)]))
        else:
            pairs.append(spectra.pair(rng, kind))
    return Materials(keys, np.stack(pairs), water)


def variation(rng: Generator, size: int, gsd_m: float) -> Plane:
    """Patches and grain (size, size) in 0-1: where a material shows its second spectrum; fine ground is more even."""
    patches = np.zeros((size, size), np.float32)
    for step, weight in ((32, 0.5), (8, 0.5), (3, 0.9)):
        coarse = rng.standard_normal((size // step + 2,) * 2, np.float32)
        patches += weight * zoom(coarse, step, order=1)[:size, :size]
    patches += 0.5 * rng.standard_normal((size, size), np.float32)
    strength = np.interp(np.log(gsd_m), np.log((0.3, 4)), (0.06, 0.4))
    return np.clip(0.5 + np.float32(strength) * patches, 0, 1)


def view(land: Landscape, window: tuple[slice, slice], factor: int, texture: Plane) -> View:
    """The window of the fine ground, ``factor`` of its pixels to one of the sensor's."""
    sun = land.light[window]
    if land.shadow is not None:
        sun = sun * (1 - 0.9 * land.shadow[window])
    there = {key: part for key, plane in land.materials.items() if (part := plane[window]).any()}
    stack = np.stack(list(there.values()))
    lit = stack * sun
    return View(
        keys=tuple(there),
        share=coarsen(stack, factor),
        lit=coarsen(lit, factor),
        varied=coarsen(lit * texture[window], factor),
        depth_m=coarsen(land.water_depth_m[window], factor),
        cloud=None if land.cloud is None else coarsen(land.cloud[window], factor),
    )


def reflectance(
    rng: Generator,
    seen: View,
    of: Materials,
    response: NDArray[np.float32],
    over: Air,
    *,
    top: bool,
    gsd_m: float,
) -> NDArray[np.float32]:
    """Reflectance (C, h, w) before the sensor's own faults.

    Args:
        rng: source of cloud brightness, residual haze and adjacency.
        seen: shares and light.
        of: the landscape's spectra, ``seen.keys`` among them.
        response: (C, n_wavelengths).
        over: the air.
        top: above the air; otherwise as an imperfect correction leaves it.
        gsd_m: pixel width.
    """
    order = [of.keys.index(key) for key in seen.keys]
    first, second = of.pairs[order, 0], of.pairs[order, 1]
    carried = over.through if top else np.ones_like(over.through)
    beam, sky = (1 - over.sky) * carried, over.sky * carried
    # Leaves pass on what they do not keep: in near infrared the shade inside a stand is filled with light.
    plants = np.array([[key.partition(":")[0] in PLANTS] for key in seen.keys])
    filled = np.where(plants, np.minimum(1.2 * first, 0.6), 0)
    direct = beam * (1 - filled)
    parts = (
        (seen.lit, first * direct), (seen.varied, (second - first) * beam), (seen.share, first * (sky + beam * filled))
    )  # fmt: skip
    ground = sum(np.tensordot(response @ spectra.T, planes, 1) for planes, spectra in parts)
    _add_bottom(ground, seen, of, response * carried)
    strength = response @ (over.sky * np.float32(rng.uniform(0, 0.35)))
    ground = glow(ground, strength, rng.uniform(150, 600) / gsd_m)
    if seen.cloud is not None:
        ground += seen.cloud * (
            _cloud(rng, response)[:, None, None] * (0.6 + 0.4 * seen.cloud) - ground
        )
    if top:
        around = ground.mean(axis=(1, 2), keepdims=True)
        ground /= 1 - (response @ over.albedo)[:, None, None] * around
    left = np.float32(1.0 if top else rng.normal(0.05, 0.12))
    haze = (response @ over.path)[:, None, None] * left
    return ground + haze * _uneven(rng, ground.shape[1:])


def _add_bottom(ground: Plane, seen: View, of: Materials, response: NDArray[np.float32]) -> None:
    for key, body in of.water.items():
        if key not in seen.keys:
            continue
        share = seen.share[seen.keys.index(key)]
        clearest = float(body.path[WAVELENGTHS < 700].min())
        near = (share > 0.02) & (seen.depth_m * clearest < -np.log(_BOTTOM_SEEN))
        ground[:, near] += (
            shallow(body, response, seen.depth_m[near] / np.maximum(share[near], 0.1)) * share[near]
        )


def _cloud(rng: Generator, response: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reflectance of a thick cloud per band; ice dims it beyond 1400 nm."""
    ice = rng.uniform(0, 1)
    knots = np.array([1, 1, 0.97, 1 - 0.45 * ice, 0.9 - 0.55 * ice, 0.8 - 0.5 * ice])
    white = rng.uniform(0.45, 0.95) * np.interp(
        WAVELENGTHS, (400, 900, 1250, 1650, 2200, 2500), knots
    )
    return response @ white.astype(np.float32)


def _uneven(rng: Generator, shape: tuple[int, ...]) -> Plane:
    """Haze varies gently over a scene, and now and then in veils."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
    tilt = 1 + rng.uniform(-0.15, 0.15) * y[:, None] + rng.uniform(-0.15, 0.15) * x
    if rng.random() < 0.06:
        veil = gaussian_filter(rng.standard_normal(shape, np.float32), min(shape) / 8)
        tilt += rng.uniform(0.2, 1.0) * np.clip(veil / (veil.std() + 1e-6), 0, None)
    return tilt.astype(np.float32)
