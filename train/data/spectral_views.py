"""What pre-training sees of an image and what it asks for: bands hidden, bands mixed, cubes seen by other sensors.

A weighted mean of bands is a band whose response is the mean of theirs. So a hyperspectral image can be shown as any
multispectral sensor would see it, two sensors at once make a pair of the same ground, and neighbours of a
multispectral image make bands that no sensor has.
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
_APART_NM = 250.0  # neighbours further apart are not mixed: nobody knows what lies between them
_LOG_HALF = 4 * math.log(2)  # of a Gaussian's width: FWHM ** 2 = 8 ln 2 sigma ** 2


def views(rng: Generator, pixels: Pixels) -> tuple[Pixels, Pixels, NDArray[np.bool_]]:
    """The image as it is given, as it is asked for, and which bands asked for are new: not among those given."""
    count = len(pixels.bands)
    if count > MOST_BANDS:
        if rng.random() < 0.6 and all(band.wavelength_nm for band in pixels.bands):
            given, wanted = (
                through(pixels, sensor(rng, pixels.bands)),
                through(pixels, sensor(rng, pixels.bands)),
            )
            return given, wanted, np.ones(len(wanted.bands), bool)
        first, second = _windows(rng, count)
        wanted_bands = np.union1d(rng.permutation(first)[: MOST_BANDS // 2], second)
        return (
            bands_of(pixels, first),
            bands_of(pixels, wanted_bands),
            ~np.isin(wanted_bands, first),
        )
    kept = np.arange(count)
    if count > 1 and rng.random() < 0.6:
        kept = np.sort(rng.permutation(count)[: rng.integers(max(1, count // 2), count)])
    given, new = bands_of(pixels, kept), ~np.isin(np.arange(count), kept)
    if rng.random() < 0.5:
        plain, given = given, mixed(rng, given)
        new[kept] = [
            a.wavelength_nm != b.wavelength_nm
            for a, b in zip(plain.bands, given.bands, strict=True)
        ]
    return given, pixels, new


def bands_of(pixels: Pixels, chosen: NDArray[np.int_]) -> Pixels:
    """The image with some of its bands."""
    return replace(
        pixels, values=pixels.values[chosen], bands=tuple(pixels.bands[int(i)] for i in chosen)
    )


def _windows(rng: Generator, count: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Bands of two overlapping windows of the spectrum, or two random subsets of it, at most ``MOST_BANDS`` each."""
    pools = [np.arange(count)] * 2
    if rng.random() < 0.5:
        length = int(count * rng.uniform(0.5, 0.7)) + 1  # more than half: any two overlap
        pools = [
            np.arange(start, start + length) for start in rng.integers(0, count - length + 1, 2)
        ]
    first, second = (
        np.sort(rng.permutation(pool)[: rng.integers(4, MOST_BANDS + 1)]) for pool in pools
    )
    return first, second


def sensor(rng: Generator, bands: tuple[Band, ...]) -> list[Band]:
    """Bands of a known or made-up multispectral sensor that lie within reach of a cube's bands."""
    centre = np.array([b.wavelength_nm or np.nan for b in bands])
    known = [one for one in sensors() if 3 <= len(one.bands) <= MOST_BANDS]
    if rng.random() < 0.5:
        made = [b for b in known[int(rng.integers(len(known)))].bands if b.wavelength_nm]
    else:
        middles = np.exp(rng.uniform(np.log(400), np.log(2450), rng.integers(3, 14)))
        widths = np.exp(rng.uniform(np.log(10), np.log(180), len(middles)))
        made = [
            Band("made", float(m), float(w)) for m, w in sorted(zip(middles, widths, strict=True))
        ]
    near = [
        b
        for b in made
        if np.nanmin(np.abs(centre - (b.wavelength_nm or 0.0))) <= max(b.fwhm_nm or 20.0, 15.0) / 2
    ]
    return near or [bands[int(i)] for i in np.sort(rng.permutation(len(bands))[:6])]


def through(pixels: Pixels, asked: list[Band]) -> Pixels:
    """A cube through other, wider bands: means weighted by their Gaussian responses, with the true centre and width."""
    centre, width = _axis(pixels.bands)
    to, wide = (axis[:, None] for axis in _axis(asked))
    weight = np.exp(-_LOG_HALF * ((centre - to) / np.maximum(wide, 10.0)) ** 2)
    weight[np.arange(len(asked)), np.abs(centre - to).argmin(1)] += (
        1e-6  # narrower than the cube's own bands
    )
    return _weighted(pixels, weight / weight.sum(1, keepdims=True), centre, width)


def mixed(rng: Generator, pixels: Pixels) -> Pixels:
    """Some bands replaced by weighted means with their next neighbour along the spectrum."""
    if any(b.wavelength_nm is None for b in pixels.bands):
        return pixels
    centre, width = _axis(pixels.bands)
    order = np.argsort(centre)
    weight = np.eye(len(centre))
    for one, other in zip(order, order[1:], strict=False):
        if centre[other] - centre[one] < _APART_NM and rng.random() < 0.6:
            share = rng.random()
            weight[one, one], weight[one, other] = 1 - share, share
    return _weighted(pixels, weight, centre, width)


def _axis(bands: Sequence[Band]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres and widths in nm; a width that nobody knows is 20 nm."""
    return np.array([b.wavelength_nm or np.nan for b in bands]), np.array(
        [b.fwhm_nm or 20.0 for b in bands]
    )


def _weighted(
    pixels: Pixels,
    weight: NDArray[np.float64],
    centre: NDArray[np.float64],
    width: NDArray[np.float64],
) -> Pixels:
    """Means of bands with weights (asked, C) whose rows sum to 1; a width is that of the mixture of responses."""
    middle = weight @ centre
    square = weight @ (width**2 / (2 * _LOG_HALF) + centre**2) - middle**2
    fwhm = np.sqrt(2 * _LOG_HALF * np.maximum(square, 1.0))
    names = [
        "+".join(pixels.bands[int(i)].name for i in np.flatnonzero(row > 0.2)) for row in weight
    ]
    bands = tuple(Band(n, float(m), float(f)) for n, m, f in zip(names, middle, fwhm, strict=True))
    return replace(
        pixels,
        values=np.tensordot(weight.astype(np.float32), pixels.values, 1),
        bands=bands,
        family="",
    )
