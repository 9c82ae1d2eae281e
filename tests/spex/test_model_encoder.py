"""The encoder as a whole: leak-freedom, tiles, precision, and masked reconstruction of any bands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from spex.model.config import SpecAwareConfig
from spex.model.embedding import standardise
from spex.model.encoder import Features, SpecAwareEncoder
from spex.model.reconstruct import MaskedAutoencoder, reconstruction_loss
from spex.model.spectral import band_batch
from spex.raster.scene import Pixels
from spex.sensors import Band

MICRO = SpecAwareConfig(hidden_sizes=(16, 24, 32, 48), depths=(1, 1, 1, 1), hyper_dim=32, rank=4, fusion_dim=24)


def scene(wavelengths: list[float], size: int = 64, seed: int = 0) -> Pixels:
    values = np.random.default_rng(seed).uniform(0, 0.5, (len(wavelengths), size, size)).astype(np.float32)
    bands = tuple(Band(f"b{i}", w, 30.0) for i, w in enumerate(wavelengths))
    return Pixels(values, np.ones((size, size), bool), bands, "surface", 10.0, "sentinel-2")


@pytest.fixture(scope="module")
def model() -> MaskedAutoencoder:
    torch.manual_seed(0)
    made = MaskedAutoencoder(SpecAwareEncoder(MICRO)).eval()
    for module in (*made.encoder.condition, made.encoder.embedding.gain):  # as if trained: zeros would hide a leak
        torch.nn.init.normal_(module.weight, std=0.2)
    return made


def seen(model: MaskedAutoencoder, pixels: Pixels, visible: np.ndarray) -> Features:
    shown = np.kron(visible, np.ones((32, 32), bool))
    kernels = model.encoder.embedding.generate(band_batch([pixels], [shown]))
    values, valid = torch.from_numpy(pixels.values), torch.from_numpy(pixels.valid)
    return model.encoder([values], [valid], kernels, torch.from_numpy(visible)[None])


def test_hidden_pixels_change_nothing_the_encoder_makes(model: MaskedAutoencoder) -> None:
    pixels, visible = scene([490, 560, 665, 842]), np.array([[True, False], [True, True]])
    changed = pixels.values.copy()
    changed[:, :32, 32:] = np.random.default_rng(5).uniform(0, 3, (4, 32, 32))
    with torch.no_grad():
        first, second = (seen(model, p, visible) for p in (pixels, replace(pixels, values=changed)))
        third = seen(model, replace(pixels, values=pixels.values * 1.1), visible)
    for a, b in zip((*first.maps, first.fused), (*second.maps, second.fused), strict=True):
        assert torch.equal(a, b)
    assert not torch.allclose(first.fused, third.fused)


def test_reconstruction_of_bands_never_given(model: MaskedAutoencoder) -> None:
    given, asked = scene([490, 560, 665, 842]), scene([450.0, 705, 865, 1610, 2190], seed=1)
    with torch.no_grad():
        found = model(
            [torch.from_numpy(given.values)], [torch.from_numpy(given.valid)], band_batch([given]),
            torch.tensor([[[True, False], [False, True]]]), band_batch([asked]),
        )  # fmt: skip
    assert found.shape == (1, 5, 64, 64) and torch.isfinite(found).all()


def test_a_scene_encodes_alike_alone_and_beside_other_sensors(model: MaskedAutoencoder) -> None:
    few, many = scene([490, 560, 665, 842]), scene(list(np.linspace(400, 2450, 60)), seed=1)
    alone, _ = model.encoder.encode([few])
    values, valid = ([torch.from_numpy(a) for a in arrays] for arrays in ([few.values, many.values], [few.valid] * 2))
    with torch.no_grad():
        together = model.encoder(values, valid, model.encoder.embedding.generate(band_batch([few, many])))
    torch.testing.assert_close(alone[0], together.fused[0], atol=1e-5, rtol=1e-4)


def test_bfloat16_agrees_with_float32(model: MaskedAutoencoder) -> None:
    pixels = scene([490, 560, 665, 842, 1610])
    exact, _ = model.encoder.encode([pixels])
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = model.encoder.encode([pixels])
    assert float((exact[0] - rough[0].float()).norm() / exact[0].norm()) < 0.02


def test_any_size_and_a_pooled_embedding(model: MaskedAutoencoder) -> None:
    pixels = scene([490, 560, 665, 842])
    cut = replace(pixels, values=pixels.values[:, :41, :53], valid=pixels.valid[:41, :53])
    dense, pooled = model.encoder.encode([cut, pixels])
    assert dense[0].shape == (24, 11, 14) and dense[1].shape == (24, 16, 16) and pooled.shape == (2, 48)


def test_the_encoder_is_saved_and_loaded_on_its_own(model: MaskedAutoencoder, tmp_path) -> None:
    model.encoder.save_pretrained(tmp_path)
    again = SpecAwareEncoder.from_pretrained(tmp_path)
    pixels = scene([490, 560, 665, 842])
    assert torch.equal(model.encoder.encode([pixels])[0][0], again.encode([pixels])[0][0])


def test_loss_counts_only_hidden_valid_pixels_and_prefers_the_truth() -> None:
    target = standardise(torch.rand(1, 3, 8, 8))
    counted = torch.zeros(1, 3, 8, 8, dtype=torch.bool)
    counted[:, :, :4] = True
    present = torch.tensor([[True, True, False]])
    wrong = target.clone()
    wrong[:, :, 4:] += 5
    wrong[:, 2] += 5
    assert all(float(v) == pytest.approx(0, abs=1e-6) for v in reconstruction_loss(wrong, target, counted, present).values())
    wrong[:, 0] += 1
    assert all(float(v) > 1e-3 for v in reconstruction_loss(wrong, target, counted, present).values())
