"""Views of an image for pre-training: bands hidden, bands mixed, cubes seen by other sensors.

A weighted mean of bands is a band whose response is the mean of theirs. So a hyperspectral image
can be shown as any multispectral sensor would see it, two sensors at once make a pair of the same
ground, and neighbouring bands of a multispectral image make bands that no sensor has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spex.raster.scene import Pixels
from spex.sensors import Band, sensors

MOST_BANDS = 24
"""Bands that a view has at most; an image with more counts as hyperspectral (a cube)."""
_MAX_GAP_NM = 250.0  # neighbours further apart are not mixed: nothing is known of the gap
_UNKNOWN_FWHM_NM = 20.0
_FOUR_LN_2 = 4 * math.log(2)  # of a Gaussian: FWHM ** 2 = 8 ln 2 sigma ** 2


def draw_views(rng: Generator, pixels: Pixels) -> tuple[Pixels, Pixels, NDArray[np.bool_]]:
    """Draw what the encoder is given of an image and what it has to reconstruct.

    Args:
        rng: Source of randomness.
        pixels: The image.

    Returns:
        The input, the target, and per band of the target (bool) whether it is new: not among the
        bands of the input.
    """
    if len(pixels.bands) > MOST_BANDS:
        return _views_of_cube(rng, pixels)
    count = len(pixels.bands)
    visible = np.arange(count)
    if count > 1 and rng.random() < 0.6:
        visible = np.sort(rng.permutation(count)[: rng.integers(max(1, count // 2), count)])
    inputs = select_bands(pixels, visible)
    is_new = ~np.isin(np.arange(count), visible)
    if rng.random() < 0.5:
        unmixed = inputs
        inputs = mix_neighbours(rng, unmixed)
        is_new[visible] = [
            before.wavelength_nm != after.wavelength_nm
            for before, after in zip(unmixed.bands, inputs.bands, strict=True)
        ]
    return inputs, pixels, is_new


def _views_of_cube(rng: Generator, pixels: Pixels) -> tuple[Pixels, Pixels, NDArray[np.bool_]]:
    """A hyperspectral image through two sensors, or two selections of its bands."""
    if rng.random() < 0.6 and all(band.wavelength_nm for band in pixels.bands):
        inputs = resample_to_bands(pixels, random_sensor(rng, pixels.bands))
        targets = resample_to_bands(pixels, random_sensor(rng, pixels.bands))
        return inputs, targets, np.ones(len(targets.bands), bool)
    first, second = _two_selections(rng, len(pixels.bands))
    wanted = np.union1d(rng.permutation(first)[: MOST_BANDS // 2], second)
    return select_bands(pixels, first), select_bands(pixels, wanted), ~np.isin(wanted, first)


def select_bands(pixels: Pixels, chosen: NDArray[np.int_] | Sequence[int]) -> Pixels:
    """The image with only some of its bands.

    Args:
        pixels: The image.
        chosen: Indexes of the bands, in the order wanted.
    """
    indexes = [int(index) for index in chosen]
    bands = tuple(pixels.bands[index] for index in indexes)
    return replace(pixels, values=pixels.values[indexes], bands=bands)


def _two_selections(rng: Generator, count: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Bands of two overlapping windows of the spectrum, or two random subsets of all bands.

    Each has at most ``MOST_BANDS`` bands.
    """
    pools = [np.arange(count)] * 2
    if rng.random() < 0.5:
        length = int(count * rng.uniform(0.5, 0.7)) + 1  # more than half: any two overlap
        starts = rng.integers(0, count - length + 1, 2)
        pools = [np.arange(start, start + length) for start in starts]
    first, second = (
        np.sort(rng.permutation(pool)[: rng.integers(4, MOST_BANDS + 1)]) for pool in pools
    )
    return first, second


def random_sensor(rng: Generator, bands: tuple[Band, ...]) -> list[Band]:
    """Draw a known or an invented multispectral sensor.

    Args:
        rng: Source of randomness.
        bands: Bands of a cube; bands of the sensor that the cube does not cover are left out.
    """
    cube_centres = np.array([band.wavelength_nm or np.nan for band in bands])
    candidates = [sensor for sensor in sensors() if 3 <= len(sensor.bands) <= MOST_BANDS]
    if rng.random() < 0.5:
        sensor = candidates[int(rng.integers(len(candidates)))]
        drawn = [band for band in sensor.bands if band.wavelength_nm]
    else:
        drawn = _invented_bands(rng)
    covered = [band for band in drawn if _covers(cube_centres, band)]
    return covered or [bands[int(index)] for index in np.sort(rng.permutation(len(bands))[:6])]


def _invented_bands(rng: Generator) -> list[Band]:
    centres = np.exp(rng.uniform(np.log(400), np.log(2450), rng.integers(3, 14)))
    widths = np.exp(rng.uniform(np.log(10), np.log(180), len(centres)))
    pairs = sorted(zip(centres, widths, strict=True))
    return [Band("made", float(centre), float(width)) for centre, width in pairs]


def _covers(cube_centres: NDArray[np.float64], band: Band) -> bool:
    """Whether a band of the cube lies within the width of another band."""
    distance = np.nanmin(np.abs(cube_centres - (band.wavelength_nm or 0.0)))
    return bool(distance <= max(band.fwhm_nm or _UNKNOWN_FWHM_NM, 15.0) / 2)


def resample_to_bands(pixels: Pixels, bands: list[Band]) -> Pixels:
    """Resample a cube to other, wider bands.

    The result states the true centre and width of its bands, which may differ from those asked for.

    Args:
        pixels: A hyperspectral image.
        bands: Bands with Gaussian responses, which weight the bands of the cube.
    """
    centres, widths = _centres_and_widths(pixels.bands)
    band_centres, band_widths = _centres_and_widths(bands)
    distance = centres - band_centres[:, None]
    weights = np.exp(-_FOUR_LN_2 * (distance / np.maximum(band_widths[:, None], 10.0)) ** 2)
    # A band narrower than those of the cube takes the nearest one.
    weights[np.arange(len(bands)), np.abs(distance).argmin(1)] += 1e-6
    return _weighted_bands(pixels, weights / weights.sum(1, keepdims=True), centres, widths)


def mix_neighbours(rng: Generator, pixels: Pixels) -> Pixels:
    """Replace some bands by weighted means with their next neighbour along the spectrum."""
    if any(band.wavelength_nm is None for band in pixels.bands):
        return pixels
    centres, widths = _centres_and_widths(pixels.bands)
    order = np.argsort(centres)
    weights = np.eye(len(centres))
    for band, neighbour in zip(order, order[1:], strict=False):
        if centres[neighbour] - centres[band] < _MAX_GAP_NM and rng.random() < 0.6:
            share = rng.random()
            weights[band, band] = 1 - share
            weights[band, neighbour] = share
    return _weighted_bands(pixels, weights, centres, widths)


def _centres_and_widths(
    bands: Sequence[Band],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre and width (FWHM) of each band in nm; an unknown centre is NaN."""
    centres = np.array([band.wavelength_nm or np.nan for band in bands])
    widths = np.array([band.fwhm_nm or _UNKNOWN_FWHM_NM for band in bands])
    return centres, widths


def _weighted_bands(
    pixels: Pixels,
    weights: NDArray[np.float64],
    centres: NDArray[np.float64],
    widths: NDArray[np.float64],
) -> Pixels:
    """Means of bands; the width of a mean is that of the mixture of their responses.

    Args:
        pixels: An image of C bands.
        weights: float64 (bands of the result, C); rows sum to 1.
        centres: float64 (C,), in nm.
        widths: float64 (C,), in nm.
    """
    mean_centres = weights @ centres
    variances = weights @ (widths**2 / (2 * _FOUR_LN_2) + centres**2) - mean_centres**2
    mean_widths = np.sqrt(2 * _FOUR_LN_2 * np.maximum(variances, 1.0))
    bands = []
    for row, centre, width in zip(weights, mean_centres, mean_widths, strict=True):
        parts = [pixels.bands[int(index)].name for index in np.flatnonzero(row > 0.2)]
        bands.append(Band("+".join(parts), float(centre), float(width)))
    values = np.tensordot(weights.astype(np.float32), pixels.values, 1)
    return replace(pixels, values=values, bands=tuple(bands), family="")
