"""From shares of materials on fine ground to the reflectance of a sensor's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from instruction_data.simulate.land.landscape import Landscape
from instruction_data.simulate.land.noise import Plane
from instruction_data.simulate.materials.canopy import PLANTS
from instruction_data.simulate.materials.library import WAVELENGTHS
from instruction_data.simulate.materials.spectra import Spectra
from instruction_data.simulate.materials.water_optics import WaterBody, bottom_contribution
from instruction_data.simulate.sensor.atmosphere import Atmosphere, add_adjacency
from instruction_data.simulate.truth import coarsen

_FAINTEST_BOTTOM = 0.02  # share of the bottom's signal under which it is ignored


@dataclass(frozen=True)
class MaterialSpectra:
    """The spectra of one landscape's materials.

    Attributes:
        keys: the K materials, ``kind:number``.
        pairs: (K, 2, n_wavelengths) the two spectra between which each of them varies.
        water: the water body of every material of the kind water.
    """

    keys: tuple[str, ...]
    pairs: NDArray[np.float32]
    water: dict[str, WaterBody]


@dataclass(frozen=True)
class PixelCover:
    """What the pixels of a sensor cover and how it is lit; planes are (K, h, w) or (h, w).

    Attributes:
        keys: the K materials.
        share: share of every material.
        sunlit: share x direct light of the sun.
        sunlit_second: the part of ``sunlit`` that shows the material's second spectrum.
        depth_m: (h, w) water depth, averaged over the pixel.
        cloud: (h, w) opacity of clouds; None: a clear sky.
    """

    keys: tuple[str, ...]
    share: Plane
    sunlit: Plane
    sunlit_second: Plane
    depth_m: Plane
    cloud: Plane | None


def draw_materials(rng: Generator, spectra: Spectra, keys: tuple[str, ...]) -> MaterialSpectra:
    """Draw spectra for every material; variants of one kind are drawn separately."""
    pairs = []
    water = {}
    for key in keys:
        kind, _, variant = key.partition(":")
        if kind == "water":
            body = spectra.draw_water(rng, variant)
            water[key] = body
            pairs.append(np.stack([body.deep, body.deep * rng.uniform(0.95, 1.05)]))
        else:
            pairs.append(spectra.draw_pair(rng, kind))
    return MaterialSpectra(keys, np.stack(pairs), water)


def draw_texture(rng: Generator, size: int, gsd_m: float) -> Plane:
    """Draw how much every pixel shows the second spectrum of its material: (size, size), 0-1.

    Patches and grain; finer ground is more even.
    """
    patches = np.zeros((size, size), np.float32)
    for step, weight in ((32, 0.5), (8, 0.5), (3, 0.9)):
        coarse = rng.standard_normal((size // step + 2,) * 2, np.float32)
        patches += weight * zoom(coarse, step, order=1)[:size, :size]
    patches += 0.5 * rng.standard_normal((size, size), np.float32)
    strength = np.interp(np.log(gsd_m), np.log((0.3, 4)), (0.06, 0.4))
    return np.clip(0.5 + np.float32(strength) * patches, 0, 1)


def pixel_cover(
    land: Landscape, window: tuple[slice, slice], factor: int, texture: Plane
) -> PixelCover:
    """What the pixels of a sensor cover in a window of the land.

    Args:
        land: the landscape.
        window: rows and columns of the land.
        factor: pixels of the land per pixel of the sensor, a side.
        texture: (size, size) how much the land shows the second spectrum of its materials.
    """
    sun = land.irradiance[window]
    if land.shadow is not None:
        sun = sun * (1 - 0.9 * land.shadow[window])
    planes = {key: plane[window] for key, plane in land.materials.items()}
    present = {key: plane for key, plane in planes.items() if plane.any()}
    shares = np.stack(list(present.values()))
    sunlit = shares * sun
    return PixelCover(
        keys=tuple(present),
        share=coarsen(shares, factor),
        sunlit=coarsen(sunlit, factor),
        sunlit_second=coarsen(sunlit * texture[window], factor),
        depth_m=coarsen(land.water_depth_m[window], factor),
        cloud=None if land.cloud is None else coarsen(land.cloud[window], factor),
    )


def measured_reflectance(
    rng: Generator,
    cover: PixelCover,
    spectra: MaterialSpectra,
    response: NDArray[np.float32],
    atmosphere: Atmosphere,
    *,
    at_sensor: bool,
    gsd_m: float,
) -> NDArray[np.float32]:
    """Reflectance (C, h, w) of a scene, before detector effects.

    Args:
        rng: random generator for clouds, residual haze and the adjacency effect.
        cover: what the pixels cover.
        spectra: the landscape's spectra, those of ``cover.keys`` among them.
        response: (C, n_wavelengths) spectral responses of the bands.
        atmosphere: the air over the scene.
        at_sensor: reflectance above the atmosphere; else at the surface, as an imperfect
            atmospheric correction leaves it.
        gsd_m: pixel width in metres.
    """
    transmittance = atmosphere.transmittance
    if not at_sensor:
        transmittance = np.ones_like(transmittance)
    ground = _ground_reflectance(cover, spectra, response, atmosphere.skylight, transmittance)
    _add_bottom(ground, cover, spectra, response * transmittance)
    strength = response @ (atmosphere.skylight * np.float32(rng.uniform(0, 0.35)))
    ground = add_adjacency(ground, strength, rng.uniform(150, 600) / gsd_m)
    if cover.cloud is not None:
        white = _cloud_reflectance(rng, response)[:, None, None]
        ground += cover.cloud * (white * (0.6 + 0.4 * cover.cloud) - ground)
    if at_sensor:
        mean = ground.mean(axis=(1, 2), keepdims=True)
        ground /= 1 - (response @ atmosphere.spherical_albedo)[:, None, None] * mean
    residual = np.float32(1.0 if at_sensor else rng.normal(0.05, 0.12))
    haze = (response @ atmosphere.path_reflectance)[:, None, None] * residual
    return ground + haze * _haze_pattern(rng, ground.shape[1:])


def _ground_reflectance(
    cover: PixelCover,
    spectra: MaterialSpectra,
    response: NDArray[np.float32],
    skylight: NDArray[np.float32],
    transmittance: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Light of sun and sky that materials reflect: (C, h, w)."""
    order = [spectra.keys.index(key) for key in cover.keys]
    first = spectra.pairs[order, 0]
    second = spectra.pairs[order, 1]
    beam = (1 - skylight) * transmittance
    sky = skylight * transmittance
    # Leaves transmit what they do not absorb: in near infrared the shade in a stand is bright.
    plants = np.array([[key.partition(":")[0] in PLANTS] for key in cover.keys])
    scattered = np.where(plants, np.minimum(1.2 * first, 0.6), 0)
    direct = beam * (1 - scattered)
    ground = _mix_bands(cover.sunlit, first * direct, response)
    ground = ground + _mix_bands(cover.sunlit_second, (second - first) * beam, response)
    return ground + _mix_bands(cover.share, first * (sky + beam * scattered), response)


def _mix_bands(
    planes: Plane, spectra: NDArray[np.float32], response: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Bands (C, h, w) from weights (K, h, w) of spectra (K, n_wavelengths)."""
    return np.tensordot(response @ spectra.T, planes, 1)


def _add_bottom(
    ground: Plane, cover: PixelCover, spectra: MaterialSpectra, response: NDArray[np.float32]
) -> None:
    """Add the bottom of shallow water to the (C, h, w) reflectance in place."""
    for key, body in spectra.water.items():
        if key not in cover.keys:
            continue
        share = cover.share[cover.keys.index(key)]
        clearest = float(body.bottom_attenuation[WAVELENGTHS < 700].min())
        shallow = (share > 0.02) & (cover.depth_m * clearest < -np.log(_FAINTEST_BOTTOM))
        depth_m = cover.depth_m[shallow] / np.maximum(share[shallow], 0.1)
        ground[:, shallow] += bottom_contribution(body, response, depth_m) * share[shallow]


def _cloud_reflectance(rng: Generator, response: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reflectance (C,) of a thick cloud; ice makes it darker above 1400 nm."""
    ice = rng.uniform(0, 1)
    knots_nm = (400, 900, 1250, 1650, 2200, 2500)
    knots = np.array([1, 1, 0.97, 1 - 0.45 * ice, 0.9 - 0.55 * ice, 0.8 - 0.5 * ice])
    white = rng.uniform(0.45, 0.95) * np.interp(WAVELENGTHS, knots_nm, knots)
    return response @ white.astype(np.float32)


def _haze_pattern(rng: Generator, shape: tuple[int, ...]) -> Plane:
    """Factor (h, w) on the haze: it varies gently over a scene, sometimes in veils."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
    pattern = 1 + rng.uniform(-0.15, 0.15) * y[:, None] + rng.uniform(-0.15, 0.15) * x
    if rng.random() < 0.06:
        veil = gaussian_filter(rng.standard_normal(shape, np.float32), min(shape) / 8)
        strength = rng.uniform(0.2, 1.0)
        pattern += strength * np.clip(veil / (veil.std() + 1e-6), 0, None)
    return pattern.astype(np.float32)
