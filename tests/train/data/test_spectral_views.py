"""Views of pre-training show the same ground; nothing hidden or padded counts or leaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from spex.raster.scene import Pixels
from spex.sensors import Band, get_sensor
from train.data.spectral_views import MOST_BANDS, draw_views, random_sensor, resample_to_bands
from train.data.unlabelled import CELL, MaskedCrop, PixelStream

CUBE = tuple(Band(f"b{i}", 400.0 + 10 * i, 10.0) for i in range(200))
FEW = tuple(
    Band(n, w, f)
    for n, w, f in [
        ("B", 490, 65),
        ("G", 560, 35),
        ("R", 665, 30),
        ("N", 842, 115),
        ("S", 1610, 90),
    ]
)


def tilted(bands: tuple[Band, ...], size: int = 8) -> Pixels:
    """Pixels whose reflectance is linear in wavelength: 0.1 + slope * micrometres."""
    slope = np.random.default_rng(1).uniform(0.05, 0.3, (size, size))
    values = 0.1 + slope * np.array([b.wavelength_nm for b in bands])[:, None, None] / 1000
    return Pixels(values.astype(np.float32), np.ones((size, size), bool), bands, "surface", 10.0)


def slope(pixels: Pixels) -> np.ndarray:
    """The slope that each band of a view says each pixel has, (C, h, w)."""
    return (
        (pixels.values - 0.1)
        / np.array([b.wavelength_nm for b in pixels.bands])[:, None, None]
        * 1000
    )


@pytest.mark.parametrize("bands", [CUBE, FEW], ids=["hyperspectral", "multispectral"])
def test_whatever_is_given_and_asked_for_is_the_same_ground(bands: tuple[Band, ...]) -> None:
    """Mixed bands and other sensors' bands: their values fit the wavelengths they claim."""
    pixels, rng = tilted(bands), np.random.default_rng(2)
    truth, pairs = slope(pixels)[:1], 0
    for _ in range(60):
        given, wanted, new = draw_views(rng, pixels)
        for view in (given, wanted):
            np.testing.assert_allclose(
                slope(view), np.broadcast_to(truth, view.values.shape), rtol=2e-4
            )
            assert len(view.values) == len(view.bands)
        assert len(given.bands) <= MOST_BANDS and len(new) == len(wanted.bands)
        seen = {b.wavelength_nm for b in given.bands}
        among = [b.wavelength_nm in seen for b in wanted.bands]
        assert not (~new & ~np.array(among)).any()
        assert (new != among).all() or bands is CUBE  # two sensors may share a band by chance
        pairs += not any(among)
    assert pairs > 20 or bands is FEW  # two sensors, which share no band


def test_random_subsets_and_overlapping_windows_of_a_cube() -> None:
    pixels, rng = tilted(CUBE), np.random.default_rng(3)
    asked = lengths = 0
    for _ in range(80):
        given, wanted, new = draw_views(rng, pixels)
        if new.all():
            continue  # two sensors
        first, second = ([b.wavelength_nm for b in view.bands] for view in (given, wanted))
        assert set(first) <= {b.wavelength_nm for b in CUBE} and first == sorted(first)
        assert new.tolist() == [w not in first for w in second]
        assert max(min(first), min(second)) < min(max(first), max(second))
        asked += 1
        lengths += max(first) - min(first) < 0.71 * 2000
    assert asked > 15 and 0 < lengths < asked


def test_a_cube_through_sentinel_2_is_what_its_bands_would_measure() -> None:
    """A red edge, by 10 nm bands and integrated finely."""

    def spectrum(wavelength: np.ndarray) -> np.ndarray:
        return 0.05 + 0.4 / (1 + np.exp(-(wavelength - 715) / 12))

    asked = [b for b in get_sensor("sentinel-2a").bands if 420 < (b.wavelength_nm or 0) < 2300]
    values = spectrum(np.array([b.wavelength_nm for b in CUBE]))[:, None, None].astype(np.float32)
    seen = resample_to_bands(Pixels(values, np.ones((1, 1), bool), CUBE, "surface", 10.0), asked)
    fine = np.arange(300, 2600, 0.5)
    for band, mine, value in zip(asked, seen.bands, seen.values[:, 0, 0], strict=True):
        assert abs(mine.wavelength_nm - band.wavelength_nm) < 1
        assert mine.fwhm_nm == pytest.approx(np.hypot(band.fwhm_nm, 10), rel=0.05)
        response = np.exp(-4 * np.log(2) * ((fine - band.wavelength_nm) / mine.fwhm_nm) ** 2)
        assert value == pytest.approx((response * spectrum(fine)).sum() / response.sum(), rel=0.02)


def test_no_sensor_asks_for_what_a_cube_does_not_hold() -> None:
    visible, rng = tuple(b for b in CUBE if b.wavelength_nm < 1000), np.random.default_rng(4)
    for _ in range(50):
        assert all(380 < b.wavelength_nm < 1100 for b in random_sensor(rng, visible))


def test_a_cube_without_wavelengths_is_seen_as_it_is() -> None:
    bare, rng = tuple(Band(f"b{i}", None, None) for i in range(40)), np.random.default_rng(5)
    pixels = replace(tilted(CUBE[:40]), bands=bare)
    for _ in range(20):
        given, wanted, _ = draw_views(rng, pixels)
        assert np.isfinite(given.values).all() and np.isfinite(wanted.values).all()


def test_padding_invalid_pixels_and_what_was_visible_do_not_count() -> None:
    wide, small = tilted(CUBE, 64), tilted(FEW, 40)  # the second is smaller than a crop
    wide.valid[:5] = False
    images = [replace(one, values=one.values.astype(np.float16)) for one in (wide, small)]
    stream, rng = PixelStream(images, np.full(2, 0.5), 64, 2, 0.5, 0), np.random.default_rng(6)
    drawn = [stream.crop(rng, image) for image in images]
    batch = stream.collate(drawn)
    assert batch.bands.present.sum(1).tolist() == [len(v) for v in batch.values]
    for i, one in enumerate(drawn):
        shown = np.kron(one.visible, np.ones((CELL, CELL), bool))
        count, counted = len(one.is_new), batch.loss_mask[i].numpy()
        assert not counted[count:].any() and not counted[:, ~one.targets.valid].any()
        assert not counted[:count][~one.is_new][:, shown].any()
        assert counted[:count, ~shown & one.targets.valid].all()
    assert (~drawn[0].targets.valid).sum() == 5 * 64 and drawn[1].targets.valid.sum() == 40 * 40


def test_hidden_pixels_do_not_show_in_the_content_code() -> None:
    stream = PixelStream([tilted(FEW, 64)], np.ones(1), 64, 1, 0.5, 0)
    drawn = stream.crop(np.random.default_rng(7), stream.images[0])
    hidden = ~np.kron(drawn.visible, np.ones((CELL, CELL), bool))

    def changed(pixels: Pixels, where: np.ndarray) -> Pixels:
        return replace(pixels, values=np.where(where, np.float32(9.0), pixels.values))

    def content(where: np.ndarray) -> list[torch.Tensor]:
        other = MaskedCrop(
            changed(drawn.inputs, where), changed(drawn.targets, where), drawn.is_new, drawn.visible
        )
        batch = stream.collate([other])
        return [batch.bands.content, batch.target_bands.content]

    before, after, shown = (content(where) for where in (np.zeros_like(hidden), hidden, ~hidden))
    for a, b, c in zip(before, after, shown, strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)
