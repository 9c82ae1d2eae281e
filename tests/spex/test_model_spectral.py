"""The properties of the SpecAware embedding that DESIGN.md section 5 asks for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from spex.model.spectral import BandBatch, SpecAwareEmbedding, band_batch
from spex.raster.scene import Pixels
from spex.sensors import Band


@pytest.fixture(scope="module")
def embedding() -> SpecAwareEmbedding:
    torch.manual_seed(0)
    return SpecAwareEmbedding(dim=24, hyper_dim=32, rank=4, patch=4).eval()


def smooth_scene(wavelengths: np.ndarray, fwhm: float, seed: int = 0) -> Pixels:
    """16 x 16 pixels whose spectra are smooth functions of wavelength, sampled where asked."""
    rng = np.random.default_rng(seed)
    level, slope, red_edge = (rng.uniform(0.05, 0.4, (16, 16)) for _ in range(3))
    at = (wavelengths[:, None, None] - 400) / 2000
    values = (level + slope * at + red_edge / (1 + np.exp(-(wavelengths[:, None, None] - 720) / 60))).astype(np.float32)
    bands = tuple(Band(f"b{i}", float(w), fwhm) for i, w in enumerate(wavelengths))
    return Pixels(values, np.ones((16, 16), bool), bands, "surface", 10.0)


def tokens(embedding: SpecAwareEmbedding, pixels: Pixels) -> torch.Tensor:
    with torch.no_grad():
        kernel, bias = embedding.generate(band_batch([pixels]))
        return embedding.embed(torch.from_numpy(pixels.values), torch.from_numpy(pixels.valid), kernel[0], bias[0])


def relative_change(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / a.norm())


@pytest.mark.parametrize("count", [1, 3, 13, 224, 500])
def test_any_number_of_bands(embedding: SpecAwareEmbedding, count: int) -> None:
    found = tokens(embedding, smooth_scene(np.linspace(420, 2400, count), 10.0))
    assert found.shape == (24, 4, 4)
    assert torch.isfinite(found).all()


def test_band_order_does_not_matter(embedding: SpecAwareEmbedding) -> None:
    scene = smooth_scene(np.linspace(420, 2400, 13), 30.0)
    order = np.random.default_rng(1).permutation(13)
    shuffled = replace(scene, values=scene.values[order], bands=tuple(scene.bands[i] for i in order))
    assert (tokens(embedding, scene) - tokens(embedding, shuffled)).abs().max() <= 1e-5


def test_splitting_a_band_changes_little(embedding: SpecAwareEmbedding) -> None:
    scene = smooth_scene(np.array([490.0, 560, 665, 842, 1610, 2190]), 60.0)
    bands = [*scene.bands[:3], Band("a", 842 - 15, 30.0), Band("b", 842 + 15, 30.0), *scene.bands[4:]]
    values = np.concatenate([scene.values[:4], scene.values[3:]])
    split = replace(scene, values=values, bands=tuple(bands))
    dropped = replace(scene, values=np.delete(scene.values, 3, 0), bands=scene.bands[:3] + scene.bands[4:])
    change = relative_change(tokens(embedding, scene), tokens(embedding, split))
    assert change < 0.12
    assert change < relative_change(tokens(embedding, scene), tokens(embedding, dropped))


def test_denser_sampling_changes_little(embedding: SpecAwareEmbedding) -> None:
    sparse = smooth_scene(np.linspace(420, 2400, 100), 20.0)
    dense = smooth_scene(np.linspace(420, 2400, 200), 20.0)
    assert relative_change(tokens(embedding, sparse), tokens(embedding, dense)) < 0.02


def test_weights_are_a_quadrature(embedding: SpecAwareEmbedding) -> None:
    batch = band_batch(
        [smooth_scene(np.linspace(420, 2400, 50), 15.0), smooth_scene(np.array([490.0, 560, 665]), 60.0)]
    )
    weight = embedding.quadrature(batch)
    torch.testing.assert_close(weight.sum(1), torch.ones(2))
    assert (weight[1, 3:] == 0).all()


def test_invalid_pixels_have_no_influence(embedding: SpecAwareEmbedding) -> None:
    scene = smooth_scene(np.linspace(420, 2400, 6), 50.0)
    valid = scene.valid.copy()
    valid[2:9, 3:12] = False
    garbage = np.where(valid, scene.values, 7.5).astype(np.float32)
    a = tokens(embedding, replace(scene, valid=valid))
    b = tokens(embedding, replace(scene, values=garbage, valid=valid))
    assert torch.equal(a, b)


def test_a_scene_is_embedded_alike_alone_and_in_a_mixed_batch(embedding: SpecAwareEmbedding) -> None:
    few, many = smooth_scene(np.array([490.0, 560, 665, 842]), 60.0), smooth_scene(np.linspace(400, 2450, 120), 8.0)
    with torch.no_grad():
        alone, _ = embedding.generate(band_batch([few]))
        mixed, _ = embedding.generate(band_batch([few, many]))
    torch.testing.assert_close(alone[0], mixed[0, :4], atol=1e-5, rtol=1e-4)
    assert (mixed[0, 4:] == 0).all()


def test_metadata_may_be_missing(embedding: SpecAwareEmbedding) -> None:
    scene = smooth_scene(np.array([490.0, 560, 665, 842]), 60.0)
    bare = replace(scene, bands=tuple(Band(b.name, None, None) for b in scene.bands), gsd_m=None)
    found = tokens(embedding, bare)
    assert torch.isfinite(found).all()
    assert not torch.allclose(found, tokens(embedding, scene))


def test_metadata_dropout_only_while_training(embedding: SpecAwareEmbedding) -> None:
    batch = band_batch([smooth_scene(np.linspace(420, 2400, 40), 15.0)])
    embedding.train()
    torch.manual_seed(3)
    a, b = embedding.generate(batch)[0], embedding.generate(batch)[0]
    embedding.eval()
    assert not torch.equal(a, b)
    assert torch.equal(embedding.generate(batch)[0], embedding.generate(batch)[0])


def test_response_code_depends_on_width_not_only_on_the_centre(embedding: SpecAwareEmbedding) -> None:
    narrow, wide = smooth_scene(np.array([560.0, 842]), 5.0), smooth_scene(np.array([560.0, 842]), 180.0)

    def code(scene: Pixels) -> torch.Tensor:
        batch: BandBatch = band_batch([scene])
        return embedding.code(batch, embedding.quadrature(batch))

    assert not torch.allclose(code(narrow), code(wide), atol=1e-3)


def test_memory_does_not_hold_a_token_per_band(embedding: SpecAwareEmbedding) -> None:
    """No intermediate of the embedding is larger than pixels plus kernels: (N, C, E) would be 24 times the pixels /
    16."""
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            largest = max(largest, out.numel() if isinstance(out, torch.Tensor) else 0)
            return out

    scene = smooth_scene(np.linspace(420, 2400, 64), 15.0)
    values = torch.from_numpy(np.tile(scene.values, (1, 8, 8)))
    valid = torch.ones(values.shape[1:], dtype=torch.bool)
    with torch.no_grad():
        kernel, bias = embedding.generate(band_batch([scene]))
        with Watch():
            embedding.embed(values, valid, kernel[0], bias[0])
    assert largest <= values.numel()
