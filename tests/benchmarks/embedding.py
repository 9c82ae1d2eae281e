"""Memory and time of the band embedding beside the published formulation, and of the encoder.

The published one (SpecAware, arXiv 2510.27219) embeds every patch of every band before it sums
over bands, so that a (patches, bands, channels) tensor exists; here the generated pair is merged
to a kernel. Both generate the same matrices and give the same tokens. Shares are of the rate of a
matrix product measured in the same process and precision.

    python tests/benchmarks/embedding.py
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from spex.model.config import SpecAwareConfig
from spex.model.embedding import SpecAwareEmbedding, _scaled, standardise
from spex.model.encoder import SpecAwareEncoder
from spex.model.spectral import BandBatch, band_batch
from spex.raster.scene import Pixels
from spex.sensors import Band

BANDS = (3, 4, 13, 64, 224, 425)
SHAPES = {"base": (64, 8, 4), "vit": (768, 16, 8)}  # channels E, rank R, patch P
SIDE = 224


def published(embedding: SpecAwareEmbedding, batch: BandBatch, values: Tensor) -> Tensor:
    """Tokens (E, h, w): patches (h, w, C, P * P) through V, then U, per band, then summed."""
    made, patch = embedding.factors(batch), embedding.patch
    fused = embedding.fusion(
        made.code + embedding.content(_scaled(batch.content)), made.weight, batch.present
    )
    gain = (1 + embedding.gain(fused)[0]) * made.weight[0, :, None] / math.sqrt(embedding.rank)
    pixels = standardise(values).unfold(1, patch, patch).unfold(2, patch, patch)
    patches = pixels.permute(1, 2, 0, 3, 4).flatten(3)
    low = torch.einsum("yxcp,crp->yxcr", patches, made.basis[0]) * gain
    high = torch.einsum("yxcr,cer->yxce", low, made.project[0])
    bias = (embedding.bias(fused) * made.weight[..., None]).sum(1)
    return embedding.norm(high.sum(2) + bias).permute(2, 0, 1)


def measure(way: str, count: int, shape: str) -> dict[str, float]:
    """Seconds and peak MiB above what the process needs without embedding."""
    channels, rank, patch = SHAPES[shape]
    torch.manual_seed(0)
    embedding = SpecAwareEmbedding(channels, 128, rank, patch).eval()
    bands = tuple(
        Band(f"b{i}", float(w), 10.0) for i, w in enumerate(np.linspace(400, 2450, count))
    )
    values = np.random.default_rng(0).uniform(0, 0.5, (count, SIDE, SIDE)).astype(np.float32)
    scene = Pixels(values, np.ones((SIDE, SIDE), bool), bands, "surface", 10.0)
    batch, image, valid = (
        band_batch([scene]),
        torch.from_numpy(values),
        torch.from_numpy(scene.valid),
    )

    def merged(side: int = SIDE) -> Tensor:
        kernels = embedding.generate(batch)
        return embedding.embed(
            image[:, :side, :side], valid[:side, :side], kernels.kernel[0], kernels.bias[0]
        )

    def materialised(side: int = SIDE) -> Tensor:
        return published(embedding, batch, image[:, :side, :side])

    work: Callable[..., Tensor] = merged if way == "merged" else materialised
    with torch.inference_mode():
        work(patch)  # the libraries' own buffers are not ours
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
        before = _status_mib("VmRSS")
        work()
        peak = _status_mib("VmHWM") - before
        torch.empty(
            7_000_000
        )  # freed: from here on malloc keeps what it has, as after any scene was read
        seconds = _shortest(work)
        torch.testing.assert_close(merged(8 * patch), materialised(8 * patch), atol=1e-3, rtol=1e-3)
    tokens = (SIDE // patch) ** 2
    flops = 2 * tokens * count * patch**2 * channels
    return {
        "seconds": seconds,
        "peak_mib": peak,
        "gemm_share": flops / seconds / _gemm_rate(torch.float32),
    }


def measure_encoder(side: int, dtype: str) -> dict[str, float]:
    """Seconds of the ``base`` encoder on a tile of four bands, and its share of the GEMM rate."""
    torch.manual_seed(0)
    encoder = SpecAwareEncoder(SpecAwareConfig()).eval()
    bands = tuple(
        Band(name, w, 60.0) for name, w in (("B", 490.0), ("G", 560.0), ("R", 665.0), ("N", 842.0))
    )
    values = np.random.default_rng(0).uniform(0, 0.5, (4, side, side)).astype(np.float32)
    pixels = Pixels(values, np.ones((side, side), bool), bands, "surface", 10.0)
    kernels = encoder.kernels(pixels)
    image, valid = [torch.from_numpy(values)], [torch.from_numpy(pixels.valid)]
    precise = dtype == "float32"
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        encoder(image, valid, kernels)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=not precise):
        seconds = _shortest(lambda: encoder(image, valid, kernels))
        rate = _gemm_rate(torch.float32 if precise else torch.bfloat16)
    return {"seconds": seconds, "gemm_share": counter.get_total_flops() / seconds / rate}


def _gemm_rate(dtype: torch.dtype) -> float:
    a, b = (torch.randn(2048, 2048, dtype=dtype) for _ in range(2))
    return 2 * 2048**3 / _shortest(lambda: a @ b)


def _status_mib(name: str) -> float:
    line = next(
        x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(name + ":")
    )
    return int(line.split()[1]) / 1024


def _shortest(work: Callable[[], object]) -> float:
    """Seconds of the shortest of several runs; processor time where there is one thread."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    work()
    times: list[float] = []
    while len(times) < 2 or sum(times) < 0.3:
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


def _apart(
    threads: int, work: Callable[..., dict[str, float]], *arguments: object
) -> dict[str, float]:
    """Measure in a process of its own, forked before anything was computed."""
    with get_context("fork").Pool(1, torch.set_num_threads, (threads,)) as pool:
        return pool.apply(work, arguments)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    threads = parser.parse_args().threads
    for shape, (channels, rank, patch) in SHAPES.items():
        print(
            f"\n{SIDE} x {SIDE} pixels, patch {patch}, {channels} channels, "
            f"rank {rank}, {threads} threads"
        )
        print(
            f"{'bands':>6}{'ms':>9}{'published':>11}{'faster':>8}"
            f"{'MiB':>8}{'published':>11}{'less':>7}{'GEMM':>7}"
        )
        for count in BANDS:
            ours, theirs = (
                _apart(threads, measure, way, count, shape) for way in ("merged", "published")
            )
            print(
                f"{count:6d}{1e3 * ours['seconds']:9.1f}{1e3 * theirs['seconds']:11.1f}"
                f"{theirs['seconds'] / ours['seconds']:8.1f}"
                f"{ours['peak_mib']:8.1f}{theirs['peak_mib']:11.1f}"
                f"{theirs['peak_mib'] / max(ours['peak_mib'], 1):7.1f}{ours['gemm_share']:7.0%}",
                flush=True,
            )
    print(f"\nEncoder of size base, four bands, kernels given, {threads} threads")
    print(f"{'pixels':>12}{'':>10}{'ms':>8}{'GEMM':>7}")
    for side in (512, 1024):
        for dtype in ("float32", "bfloat16"):
            cost = _apart(threads, measure_encoder, side, dtype)
            print(
                f"{f'{side} x {side}':>12}{dtype:>10}"
                f"{1e3 * cost['seconds']:8.0f}{cost['gemm_share']:7.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
