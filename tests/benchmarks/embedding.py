"""Memory and time of embedding an image by its band count, beside the published formulation, and the GEMM rate.

The published one (SpecAware, arXiv 2510.27219) embeds every patch of every band before it sums over bands, so that a
(patches, bands, channels) tensor exists; here the generated pair is merged to a kernel. Both use the same matrices.

    python tests/benchmarks/embedding.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from resource import RUSAGE_SELF, getrusage

import numpy as np
import torch
from torch import Tensor

from spex.model.embedding import Factors, SpecAwareEmbedding, standardise
from spex.model.spectral import band_batch
from spex.raster.scene import Pixels
from spex.sensors import Band

BANDS = (3, 4, 13, 64, 224, 425)
SHAPES = {"base": (64, 8, 4), "vit": (768, 16, 8)}  # channels E, rank R, patch P
SIDE = 224


def published(factors: Factors, values: Tensor, patch: int) -> Tensor:
    """Tokens (N, E): patches (N, C, P * P) through V, then U, per band, then summed."""
    pixels = standardise(values).unfold(1, patch, patch).unfold(2, patch, patch)
    patches = pixels.permute(1, 2, 0, 3, 4).flatten(3).flatten(0, 1)
    low = torch.einsum("ncp,crp->ncr", patches, factors.basis[0])
    high = torch.einsum("ncr,cer->nce", low, factors.project[0])
    return (high * factors.weight[0][None, :, None]).sum(1)


def measure(way: str, count: int, shape: str, threads: int) -> dict[str, float]:
    """Seconds and peak MiB above what the process needs without embedding."""
    torch.set_num_threads(threads)
    channels, rank, patch = SHAPES[shape]
    torch.manual_seed(0)
    embedding = SpecAwareEmbedding(channels, 128, rank, patch).eval()
    bands = tuple(Band(f"b{i}", float(w), 10.0) for i, w in enumerate(np.linspace(400, 2450, count)))
    values = np.random.default_rng(0).uniform(0, 0.5, (count, SIDE, SIDE)).astype(np.float32)
    scene = Pixels(values, np.ones((SIDE, SIDE), bool), bands, "surface", 10.0)
    batch, image, valid = band_batch([scene]), torch.from_numpy(values), torch.from_numpy(scene.valid)

    def merged() -> Tensor:
        kernels = embedding.generate(batch)
        return embedding.embed(image, valid, kernels.kernel[0], kernels.bias[0])

    def materialised() -> Tensor:
        return published(embedding.factors(batch), image, patch)

    work: Callable[[], Tensor] = merged if way == "merged" else materialised
    with torch.inference_mode():
        small = torch.randn(256, 256)
        small @ small  # the library's own buffers are not ours
        before = getrusage(RUSAGE_SELF).ru_maxrss
        work()
        peak = (getrusage(RUSAGE_SELF).ru_maxrss - before) / 1024
        seconds = min(_timed(work) for _ in range(5))
        a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
        gemm = 2 * 2048**3 / min(_timed(lambda: a @ b) for _ in range(3))
    tokens = (SIDE // patch) ** 2
    flops = 2 * tokens * count * patch**2 * channels
    return {"seconds": seconds, "peak_mib": peak, "gemm_share": flops / seconds / gemm}


def _timed(work: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Print the table; each cell is measured in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    if arguments.one:
        way, count, shape = arguments.one
        print(json.dumps(measure(way, int(count), shape, arguments.threads)))
        return
    for shape, (channels, rank, patch) in SHAPES.items():
        print(f"\n{SIDE} x {SIDE} pixels, patch {patch}, {channels} channels, rank {rank}, {arguments.threads} threads")
        print(f"{'bands':>6}{'ms':>9}{'published':>11}{'faster':>8}{'MiB':>8}{'published':>11}{'less':>7}{'GEMM':>7}")
        for count in BANDS:
            rows = []
            for way in ("merged", "published"):
                command = [sys.executable, __file__, "--one", way, str(count), shape, "--threads", str(arguments.threads)]
                rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            ours, theirs = rows
            print(
                f"{count:6d}{1e3 * ours['seconds']:9.1f}{1e3 * theirs['seconds']:11.1f}"
                f"{theirs['seconds'] / ours['seconds']:8.1f}{ours['peak_mib']:8.0f}{theirs['peak_mib']:11.0f}"
                f"{theirs['peak_mib'] / max(ours['peak_mib'], 1):7.1f}{ours['gemm_share']:7.0%}"
            )


if __name__ == "__main__":
    main()
