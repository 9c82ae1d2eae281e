"""The properties that the design of the SpecAware embedding promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from spex.model.embedding import Factors, SpecAwareEmbedding
from spex.model.spectral import BandBatch, band_batch
from spex.raster.scene import Pixels
from spex.sensors import Band

RANK = 4


def trained(dim: int = 24) -> SpecAwareEmbedding:
    """An embedding none of whose weights is at zero, where it would hide an influence."""
    torch.manual_seed(0)
    made = SpecAwareEmbedding(dim, hyper_dim=32, rank=RANK, patch=4).eval()
    for weight in (made.gain.weight, made.gain.bias, made.code.unknown):
        torch.nn.init.normal_(weight, std=0.2)
    return made


@pytest.fixture(scope="module")
def embedding() -> SpecAwareEmbedding:
    return trained()


def smooth_scene(wavelengths: np.ndarray, fwhm: float, seed: int = 0, size: int = 16) -> Pixels:
    """Pixels whose spectra are smooth functions of wavelength, sampled where asked."""
    rng = np.random.default_rng(seed)
    level, slope, red_edge = (rng.uniform(0.05, 0.4, (size, size)) for _ in range(3))
    at = (wavelengths[:, None, None] - 400) / 2000
    values = (
        level + slope * at + red_edge / (1 + np.exp(-(wavelengths[:, None, None] - 720) / 60))
    ).astype(np.float32)
    bands = tuple(Band(f"b{i}", float(w), fwhm) for i, w in enumerate(wavelengths))
    return Pixels(values, np.ones((size, size), bool), bands, "surface", 10.0, "sentinel-2")


MULTISPECTRAL = np.array([490.0, 560, 665, 842, 1610, 2190])


@torch.no_grad()
def tokens(embedding: SpecAwareEmbedding, pixels: Pixels, *, content: bool = True) -> Tensor:
    kernels = embedding.generate(band_batch([pixels]), content=content)
    values, valid = torch.from_numpy(pixels.values), torch.from_numpy(pixels.valid)
    return embedding.embed(values, valid, kernels.kernel[0], kernels.bias[0])


def relative_change(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / a.norm())


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 13, 224, 500])
def test_any_number_of_bands_gives_tokens_of_one_size(
    embedding: SpecAwareEmbedding, count: int
) -> None:
    found = tokens(embedding, smooth_scene(np.linspace(420, 2400, count), 10.0))
    assert found.shape == (24, 4, 4) and torch.isfinite(found).all()


def test_embedding_is_the_sum_over_bands_of_projection_times_basis_times_pixels(
    embedding: SpecAwareEmbedding,
) -> None:
    scene = smooth_scene(np.linspace(420, 2400, 20), 30.0)
    bands = band_batch([scene])
    with torch.no_grad():
        kernels = embedding.generate(bands)
        pixels = ((torch.from_numpy(scene.values) - 0.2) / 0.2).clamp(-1.5, 6.5)
        patches = pixels.view(20, 4, 4, 4, 4).permute(1, 3, 0, 2, 4).flatten(3)  # (h, w, C, P * P)
        summed = (
            torch.einsum("hwcp,cep->hwe", patches, kernels.kernel[0].flatten(2)) + kernels.bias[0]
        )
        expected = embedding.norm(summed).permute(2, 0, 1)
    torch.testing.assert_close(tokens(embedding, scene), expected, atol=1e-5, rtol=1e-5)
    assert torch.linalg.matrix_rank(kernels.kernel[0].flatten(2)).max() <= RANK


def test_large_images_are_embedded_in_strips_that_leave_no_trace(
    embedding: SpecAwareEmbedding,
) -> None:
    scene = smooth_scene(MULTISPECTRAL, 60.0, size=480)
    upper = replace(scene, values=scene.values[:, :240], valid=scene.valid[:240])
    kernels = embedding.generate(band_batch([scene]))
    whole, half = (
        embedding.embed(
            torch.from_numpy(s.values),
            torch.from_numpy(s.valid),
            kernels.kernel[0],
            kernels.bias[0],
        )
        for s in (scene, upper)
    )
    assert whole.shape == (24, 120, 120)
    torch.testing.assert_close(whole[:, :60], half, atol=1e-5, rtol=1e-5)


def test_band_order_does_not_matter(embedding: SpecAwareEmbedding) -> None:
    scene = smooth_scene(np.linspace(420, 2400, 13), 30.0)
    order = np.random.default_rng(1).permutation(13)
    shuffled = replace(
        scene, values=scene.values[order], bands=tuple(scene.bands[i] for i in order)
    )
    assert (tokens(embedding, scene) - tokens(embedding, shuffled)).abs().max() <= 1e-5


def test_splitting_a_band_in_two_halves_changes_little(embedding: SpecAwareEmbedding) -> None:
    scene = smooth_scene(MULTISPECTRAL, 60.0)
    halves = [Band("a", 842 - 15, 30.0), Band("b", 842 + 15, 30.0)]
    values = np.concatenate([scene.values[:4], scene.values[3:]])
    split = replace(scene, values=values, bands=(*scene.bands[:3], *halves, *scene.bands[4:]))
    dropped = replace(
        scene, values=np.delete(scene.values, 3, 0), bands=scene.bands[:3] + scene.bands[4:]
    )
    change = relative_change(tokens(embedding, scene), tokens(embedding, split))
    assert change < 0.1
    assert change < relative_change(tokens(embedding, scene), tokens(embedding, dropped)) / 3


def test_twice_as_dense_a_sampling_changes_little(embedding: SpecAwareEmbedding) -> None:
    sparse = smooth_scene(np.linspace(420, 2400, 100), 20.0)
    dense, narrower = (smooth_scene(np.linspace(420, 2400, 200), fwhm) for fwhm in (20.0, 10.0))
    assert relative_change(tokens(embedding, sparse), tokens(embedding, dense)) < 0.01
    assert (
        relative_change(tokens(embedding, sparse), tokens(embedding, narrower)) < 0.2
    )  # all widths tell another code


def test_weights_are_a_quadrature(embedding: SpecAwareEmbedding) -> None:
    batch = band_batch(
        [smooth_scene(np.linspace(420, 2400, 50), 15.0), smooth_scene(MULTISPECTRAL[:3], 60.0)]
    )
    weight = embedding.quadrature(batch)
    torch.testing.assert_close(weight.sum(1), torch.ones(2))
    assert (weight[1, 3:] == 0).all()
    uneven = band_batch([smooth_scene(np.array([500.0, 1200, 1205, 1210]), 40.0)])
    alone, *crowd = embedding.quadrature(uneven)[0].tolist()
    assert alone > 2 * max(crowd)


def test_invalid_pixels_have_no_influence(embedding: SpecAwareEmbedding) -> None:
    scene = smooth_scene(np.linspace(420, 2400, 6), 50.0)
    valid = scene.valid.copy()
    valid[2:9, 3:12] = False
    expected = tokens(embedding, replace(scene, valid=valid))
    for garbage in (7.5, -1.0, np.nan, np.inf):
        values = np.where(valid, scene.values, np.float32(garbage))
        assert torch.equal(tokens(embedding, replace(scene, values=values, valid=valid)), expected)


def test_bands_that_are_not_present_have_no_influence(embedding: SpecAwareEmbedding) -> None:
    bands = band_batch([smooth_scene(MULTISPECTRAL, 60.0)])
    present = bands.present.clone()
    present[0, [1, 4]] = False
    bad = replace(bands, present=present)
    gone = ~present[..., None]
    other = replace(
        bad,
        wavelength=torch.where(gone[..., 0], torch.nan, bands.wavelength),
        fwhm=torch.where(gone[..., 0], 300.0, bands.fwhm),
        content=torch.where(gone, 5.0, bands.content),
    )
    with torch.no_grad():
        first, second = embedding.generate(bad), embedding.generate(other)
    for a, b in ((getattr(first, f.name), getattr(second, f.name)) for f in fields(first)):
        assert torch.equal(a, b)
    assert (first.kernel[0, [1, 4]] == 0).all()


def test_a_scene_is_embedded_alike_alone_and_beside_other_sensors(
    embedding: SpecAwareEmbedding,
) -> None:
    few, many = (
        smooth_scene(MULTISPECTRAL[:4], 60.0),
        smooth_scene(np.linspace(400, 2450, 120), 8.0, seed=1),
    )
    bare = replace(
        many, bands=tuple(Band(b.name, None, None) for b in many.bands), gsd_m=None, family=""
    )
    with torch.no_grad():
        alone, mixed = (
            embedding.generate(band_batch(scenes)) for scenes in ([few], [many, few, bare])
        )
    torch.testing.assert_close(mixed.kernel[1, :4], alone.kernel[0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(mixed.condition[1], alone.condition[0], atol=1e-5, rtol=1e-5)
    assert (mixed.kernel[1, 4:] == 0).all()


def _without(*names: str) -> Callable[[Pixels], Pixels]:
    def strip(scene: Pixels) -> Pixels:
        bands = tuple(
            Band(
                b.name,
                None if "wavelength" in names else b.wavelength_nm,
                None if "fwhm" in names else b.fwhm_nm,
            )
            for b in scene.bands
        )
        level = "unknown" if "level" in names else scene.level
        gsd_m = None if "gsd" in names else scene.gsd_m
        return replace(
            scene,
            bands=bands,
            level=level,
            gsd_m=gsd_m,
            family="" if "family" in names else scene.family,
        )  # type: ignore[arg-type]

    return strip


METADATA = ("wavelength", "fwhm", "gsd", "level", "family")


@pytest.mark.parametrize("missing", [*((name,) for name in METADATA), METADATA])
def test_each_metadatum_may_be_missing_and_matters(
    embedding: SpecAwareEmbedding, missing: tuple[str, ...]
) -> None:
    scene = smooth_scene(MULTISPECTRAL, 60.0)
    found = tokens(embedding, _without(*missing)(scene))
    assert torch.isfinite(found).all()
    assert relative_change(tokens(embedding, scene), found) > 1e-4


def test_a_wavelength_missing_in_one_band_leaves_the_others_theirs(
    embedding: SpecAwareEmbedding,
) -> None:
    scene = smooth_scene(MULTISPECTRAL, 60.0)
    partly = replace(scene, bands=(Band("b0", None, None), *scene.bands[1:]))
    weight = embedding.quadrature(band_batch([partly]))[0]
    torch.testing.assert_close(weight[0], weight[1:].mean())
    assert torch.isfinite(tokens(embedding, partly)).all()


def test_metadata_are_hidden_only_in_training() -> None:
    embedding, batch = trained(), band_batch([smooth_scene(np.linspace(420, 2400, 40), 15.0)])
    embedding.train()
    assert not torch.equal(embedding.generate(batch).kernel, embedding.generate(batch).kernel)
    embedding.eval()
    assert torch.equal(embedding.generate(batch).kernel, embedding.generate(batch).kernel)


def test_a_band_is_a_response_not_a_point(embedding: SpecAwareEmbedding) -> None:
    """A wide band's Fourier features are the mean of narrow ones over its response."""
    code = embedding.code
    centre, fwhm = 842.0, 115.0
    at = torch.linspace(centre - 300, centre + 300, 2001)
    response = torch.exp(-0.5 * ((at - centre) / (fwhm / 2.3548)).square())
    phase = 2 * torch.pi * at[:, None] / code.periods
    mean = (torch.cat([phase.sin(), phase.cos()], 1) * response[:, None]).sum(0) / response.sum()
    seen = []
    hook = code.spectral.register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0][0, 0])
    )
    batch: BandBatch = band_batch([smooth_scene(np.array([centre]), fwhm)])
    code(batch, embedding.quadrature(batch))
    hook.remove()
    torch.testing.assert_close(seen[0], mean, atol=2e-3, rtol=0)


def test_factors_kept_per_sensor_give_the_same_bits_for_another_scene(
    embedding: SpecAwareEmbedding,
) -> None:
    first, second = (band_batch([smooth_scene(MULTISPECTRAL, 60.0, seed)]) for seed in (0, 1))
    with torch.no_grad():
        kept: Factors = embedding.factors(first)
        cached, fresh = embedding.generate(second, kept), embedding.generate(second)
    for a, b in ((getattr(cached, f.name), getattr(fresh, f.name)) for f in fields(fresh)):
        assert torch.equal(a, b)


def test_content_corrects_kernels_and_can_be_switched_off(embedding: SpecAwareEmbedding) -> None:
    scene = smooth_scene(MULTISPECTRAL, 60.0)
    darker = band_batch([replace(scene, values=scene.values * 0.5)])
    with torch.no_grad():
        on = [embedding.generate(b).kernel for b in (band_batch([scene]), darker)]
        off = [embedding.generate(b, content=False).kernel for b in (band_batch([scene]), darker)]
    assert torch.equal(*off)
    assert 1e-3 < relative_change(*on) < 0.5


def peak_bytes(work: Callable[[], Tensor]) -> int:
    """The most bytes of tensors that were held at a time."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    assert found.profiler is not None
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    return int(np.cumsum([e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]).max())


def test_memory_grows_with_tokens_bands_and_rank_not_with_a_token_per_band() -> None:
    size, peaks = 256, {}
    for dim in (16, 64):
        embedding = trained(dim)
        for count in (32, 128):
            scene = smooth_scene(np.linspace(420, 2400, count), 15.0, size=size)
            peaks[dim, count] = peak_bytes(partial(tokens, embedding, scene))
    n, more = (size // 4) ** 2, 128 - 32
    for dim in (16, 64):
        assert peaks[dim, 128] - peaks[dim, 32] < 4 * n * more * RANK
        assert peaks[dim, 128] < 4 * n * 128 * dim / 6  # the published (N, C, E)
