"""The encoder as a whole: images, hidden cells, tiles, precision, masked reconstruction."""

from __future__ import annotations

import doctest
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rasterio.windows import Window

import spex.model.encoder
from spex.errors import SceneError
from spex.model.config import SIZES, SpecAwareConfig, SpexConfig
from spex.model.embedding import standardise
from spex.model.encoder import Features, SpecAwareEncoder
from spex.model.reconstruct import MaskedAutoencoder, reconstruction_loss
from spex.model.spectral import band_batch
from spex.model.spex import SpexModel
from spex.raster.scene import Pixels, Scene
from spex.sensors import Band
from tests.scenes import write_synthetic_scene

MICRO = SpecAwareConfig(**SIZES["micro"]["vision_config"])


def scene(wavelengths: list[float], size: int = 64, seed: int = 0) -> Pixels:
    values = (
        np.random.default_rng(seed)
        .uniform(0, 0.5, (len(wavelengths), size, size))
        .astype(np.float32)
    )
    bands = tuple(Band(f"b{i}", w, 30.0) for i, w in enumerate(wavelengths))
    return Pixels(values, np.ones((size, size), bool), bands, "surface", 10.0, "sentinel-2")


@pytest.fixture(scope="module")
def model() -> MaskedAutoencoder:
    torch.manual_seed(0)
    made = MaskedAutoencoder(SpecAwareEncoder(MICRO)).eval()
    for module in (
        *made.encoder.condition,
        made.encoder.embedding.gain,
    ):  # as if trained: zeros would hide a leak
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


def test_the_example_of_the_encoder_runs_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SpecAwareEncoder(SpecAwareConfig()).save_pretrained(tmp_path / "encoder")
    write_synthetic_scene(tmp_path / "scene.tif", height=90, width=70)
    monkeypatch.chdir(tmp_path)
    names = {"SpecAwareEncoder": SpecAwareEncoder, "Scene": Scene, "Window": Window}
    (example,) = doctest.DocTestFinder(recurse=False).find(
        SpecAwareEncoder, "encoder", spex.model.encoder, names
    )
    assert len(example.examples) >= 6
    assert doctest.DocTestRunner().run(example).failed == 0


def same(first: Features, second: Features, atol: float = 0.0) -> None:
    tensors = (*first.maps, first.fused, first.coarse, first.pooled)
    others = (*second.maps, second.fused, second.coarse, second.pooled)
    for a, b in zip(tensors, others, strict=True):
        torch.testing.assert_close(a, b, atol=atol, rtol=0)


def test_a_path_a_scene_and_its_pixels_are_the_same_image(
    model: MaskedAutoencoder, tmp_path: Path
) -> None:
    write_synthetic_scene(tmp_path / "scene.tif", height=70, width=50, nodata=0)
    scene = Scene.open(tmp_path / "scene.tif")
    seen = model.encoder(scene.read())
    same(seen, model.encoder(scene))
    same(seen, model.encoder(tmp_path / "scene.tif"))
    assert [m.shape[1:] for m in seen.maps] == [(18, 13), (9, 7), (5, 4), (3, 2)]
    assert (
        seen.fused.shape == (24, 18, 13)
        and seen.coarse.shape == (24, 5, 4)
        and seen.pooled.shape == (48,)
    )


def test_features_can_be_trained_on(model: MaskedAutoencoder) -> None:
    layer = torch.nn.Linear(48, 2)
    layer(model.encoder(scene([490, 560, 665, 842])).pooled).sum().backward()
    assert layer.weight.grad is not None


def test_pooling_leaves_out_what_is_not_valid(model: MaskedAutoencoder) -> None:
    pixels = scene([490, 560, 665, 842], size=96)
    valid = pixels.valid.copy()
    valid[:, 50:] = False
    seen = model.encoder(replace(pixels, valid=valid))
    inside = seen.fused[:, :, :13]
    torch.testing.assert_close(
        seen.pooled, torch.cat([inside.mean((1, 2)), inside.amax((1, 2))]), atol=1e-6, rtol=1e-5
    )
    with pytest.raises(SceneError, match="the image has no valid pixel"):
        model.encoder(replace(pixels, valid=np.zeros_like(valid)))


def test_values_of_invalid_pixels_enter_no_feature(model: MaskedAutoencoder) -> None:
    pixels = scene([490, 560, 665, 842], size=64)
    valid = np.random.default_rng(2).random((64, 64)) > 0.3
    garbage = np.where(valid, pixels.values, np.float32(np.nan))
    same(
        model.encoder(replace(pixels, valid=valid)),
        model.encoder(replace(pixels, valid=valid, values=garbage)),
    )


def test_a_scene_encodes_alike_alone_and_beside_other_sensors(model: MaskedAutoencoder) -> None:
    few, many = scene([490, 560, 665, 842]), scene(list(np.linspace(400, 2450, 60)), seed=1)
    bare = replace(
        scene([500, 600], seed=2), bands=(Band("a", None, None), Band("b", None, None)), gsd_m=None
    )
    images = [many, few, bare]
    values, valid = (
        [torch.from_numpy(getattr(one, name)) for one in images] for name in ("values", "valid")
    )
    with torch.no_grad():
        together = model.encoder(
            values, valid, model.encoder.embedding.generate(band_batch(images))
        )
    for i, image in enumerate(images):
        alone = model.encoder(image)
        for a, b in zip((*alone.maps, alone.fused), (*together.maps, together.fused), strict=True):
            torch.testing.assert_close(a, b[i], atol=1e-5, rtol=1e-4)


def test_a_window_with_the_scenes_kernels_has_the_features_of_the_whole(
    model: MaskedAutoencoder,
) -> None:
    values = np.random.default_rng(3).uniform(0, 0.5, (4, 32, 1024)).astype(np.float32)
    whole = Scene.from_array(values, scene([490, 560, 665, 842]).bands, gsd_m=10.0)
    kernels = model.encoder.kernels(whole)
    left, right = 256, 768
    part = model.encoder(whole.read(Window(left, 0, right - left, 32)), kernels)
    reach = 224  # pixels: half a 7 x 7 kernel at every stride, and the interpolation between them
    inner = slice((left + reach) // 4, (right - reach) // 4)
    there = slice(reach // 4, (right - left - reach) // 4)
    torch.testing.assert_close(
        part.fused[:, :, there], model.encoder(whole).fused[:, :, inner], atol=1e-5, rtol=1e-4
    )


def test_gsd_reaches_every_stride(model: MaskedAutoencoder) -> None:
    pixels = scene([490, 560, 665, 842])
    near, far = (model.encoder(replace(pixels, gsd_m=gsd_m)).maps for gsd_m in (0.5, 30.0))
    for a, b in zip(near, far, strict=True):
        assert float((a - b).norm() / a.norm()) > 1e-3


def test_bfloat16_agrees_with_float32(model: MaskedAutoencoder) -> None:
    pixels = scene([490, 560, 665, 842, 1610])
    exact = model.encoder(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model.encoder(pixels)
    for a, b in zip(
        (*exact.maps, exact.fused, exact.pooled),
        (*rough.maps, rough.fused, rough.pooled),
        strict=True,
    ):
        assert float((a - b.float()).norm() / a.norm()) < 0.02


def test_the_encoder_is_saved_and_loaded_on_its_own(
    model: MaskedAutoencoder, tmp_path: Path
) -> None:
    model.encoder.save_pretrained(tmp_path)
    pixels = scene([490, 560, 665, 842])
    same(model.encoder(pixels), SpecAwareEncoder.from_pretrained(tmp_path)(pixels))


def test_the_encoder_is_loaded_from_a_whole_model(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sizes = SIZES["micro"]
    text = {"model_type": "qwen3", "vocab_size": 64, **sizes["text_config"]}
    whole = SpexModel(SpexConfig(**{**sizes, "text_config": text})).eval().to(torch.bfloat16)
    whole.save_pretrained(tmp_path)
    found = SpecAwareEncoder.from_pretrained(tmp_path)
    assert found.dtype == torch.float32 and "UNEXPECTED" not in capfd.readouterr().err
    same(found(scene([490, 560, 665])), whole.encoder.float()(scene([490, 560, 665])))


def test_loss_counts_only_hidden_valid_pixels_and_prefers_the_truth() -> None:
    target = standardise(torch.rand(1, 3, 8, 8))
    counted = torch.zeros(1, 3, 8, 8, dtype=torch.bool)
    counted[:, :, :4] = True
    present = torch.tensor([[True, True, False]])
    wrong = target.clone()
    wrong[:, :, 4:] += 5
    wrong[:, 2] += 5
    assert all(
        float(v) == pytest.approx(0, abs=1e-6)
        for v in reconstruction_loss(wrong, target, counted, present).values()
    )
    wrong[:, 0] += 1
    assert all(
        float(v) > 1e-3 for v in reconstruction_loss(wrong, target, counted, present).values()
    )
