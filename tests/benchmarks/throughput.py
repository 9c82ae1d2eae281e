"""Throughput of each part of the model, and its share of the machine's GEMM rate.

    python tests/benchmarks/throughput.py                                    # size base on the
    CPU python tests/benchmarks/throughput.py --device cuda --size qwen   # with a language model
    of 1.7 B parameters

The share is floating-point operations (counted by torch; three times the forward ones with
backward) over seconds, over the rate of a matrix product measured in the same process and
precision; on a GPU that is the MFU. Weights and inputs are made at random.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoTokenizer

from spex.model.config import make_config
from spex.model.loading import SHIPPED
from spex.model.spectral import band_batch
from spex.model.spex import SceneContext, SpexModel
from spex.raster.scene import Pixels
from spex.sensors import Band
from train.run.losses import mask_losses

BATCH, CROP, TOKENS, SPANS, STEPS = 8, 128, 256, 16, 32
# The language model of Qwen3-1.7B, whose weights are not needed to measure it.
QWEN = {
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151_936,
}
VIT = {
    "hidden_sizes": (96, 192, 768, 1024),
    "depths": (3, 3, 12, 3),
    "hyper_dim": 256,
    "fusion_dim": 256,
}


@dataclass(frozen=True)
class Work:
    """Something to measure: ``run`` does ``count`` units of work."""

    name: str
    run: Callable[[], Tensor]
    count: int
    unit: str
    trains: bool


class Bench:
    """A model with inputs on a device, and what it can be asked to do."""

    def __init__(self, size: str, device: str, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(SHIPPED, local_files_only=True)
        changes = {"text_config": QWEN, "vision_config": VIT} if size == "qwen" else {}
        self.model = SpexModel(make_config("base", tokenizer, **changes)).to(device)
        self.device, self.dtype = torch.device(device), dtype
        bands = tuple(
            Band(n, w, 60.0) for n, w in (("B", 490.0), ("G", 560.0), ("R", 665.0), ("N", 842.0))
        )
        rng = np.random.default_rng(0)
        crops = [
            Pixels(
                rng.uniform(0, 0.5, (4, CROP, CROP)).astype(np.float32),
                np.ones((CROP, CROP), bool),
                bands,
                "surface",
                10.0,
            )
            for _ in range(BATCH)
        ]
        self.bands = band_batch(crops).to(device)
        self.values = [torch.from_numpy(crop.values).to(device) for crop in crops]
        self.valid = [torch.from_numpy(crop.valid).to(device) for crop in crops]
        self.evidence = torch.rand(
            BATCH, self.model.config.evidence_channels, CROP, CROP, device=device
        )
        self.labels = torch.randint(0, 2, (SPANS, CROP, CROP), device=device)
        self.ids = torch.randint(50, 2000, (BATCH, TOKENS), device=device)
        self.mask = torch.ones_like(self.ids)
        self.start = torch.zeros(BATCH, dtype=torch.long)
        per_row = SPANS // BATCH
        self.spans = [
            (row, 40 + 20 * i, 50 + 20 * i) for row in range(BATCH) for i in range(per_row)
        ]
        self.owner = torch.tensor([row for row, _, _ in self.spans], device=device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-6, fused=True)

    def language(self) -> Tensor:
        """Logits of a batch of conversations."""
        return self.model.language(
            input_ids=self.ids, attention_mask=self.mask, use_cache=False
        ).logits

    def see(self) -> tuple[SceneContext, Tensor]:
        """Encoder with its aggregation."""
        return self.model.context(self.values, self.valid, self.bands)

    def decode_text(self) -> Tensor:
        """Some tokens of one answer after a prompt, with a cache."""
        return self.model.language.generate(
            input_ids=self.ids[:1],
            attention_mask=self.mask[:1],
            min_new_tokens=STEPS,
            max_new_tokens=STEPS,
            do_sample=False,
            pad_token_id=0,
        )

    def step(self) -> Tensor:
        """One step of training on conversations with masks: forward, backward, optimiser."""
        model = self.model
        context, fused = self.see()
        embeds = model.embed(self.ids, context.visual)
        hidden = model.language.get_decoder()(
            inputs_embeds=embeds, attention_mask=self.mask, use_cache=False
        ).last_hidden_state
        text = model.language.get_output_embeddings()(hidden).float().logsumexp(-1).mean()
        weights = model.refiner(model.prompts(hidden, self.spans), context.coarse[self.owner])
        features = model.features(fused, self.evidence)
        found = torch.cat(
            [
                model.masks(features[row], weights[i : i + 1])
                for i, (row, _, _) in enumerate(self.spans)
            ]
        )
        bce, dice = mask_losses(found, self.labels)
        return text + 2 * bce + dice

    def works(self) -> Iterator[Work]:
        """Everything that is measured."""
        model = self.model
        with torch.no_grad(), self.autocast():
            context, fused = self.see()
            hidden = torch.randn(BATCH, TOKENS, context.visual.shape[-1], device=self.device)
        parts: list[tuple[str, nn.Module | None, Callable[[], Tensor], int, str]] = [
            ("encoder, aggregation", model.encoder, lambda: self.see()[1], BATCH, "images"),
            (
                "pixel decoder",
                model.decoder,
                lambda: model.features(fused, self.evidence),
                BATCH,
                "images",
            ),
            (
                "condensation, refiner",
                None,
                lambda: model.refiner(
                    model.prompts(hidden, self.spans), context.coarse[self.owner]
                ),
                SPANS,
                "spans",
            ),
            ("language model", model.language, self.language, BATCH * TOKENS, "tokens"),
        ]
        for name, _, run, count, unit in parts:
            yield Work(name, run, count, unit, trains=False)
        yield Work("answer, token by token", self.decode_text, STEPS, "tokens", trains=False)
        for name, _, run, count, unit in parts:
            yield Work(f"{name}: and backward", run, count, unit, trains=True)
        yield Work("training step, all", self.step, BATCH, "records", trains=True)

    def autocast(self) -> torch.autocast:
        """The precision that is measured."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def do(self, work: Work) -> None:
        """Run once, to the end."""
        self.model.requires_grad_(work.trains)
        with torch.set_grad_enabled(work.trains), self.autocast():
            loss = work.run()
        if work.trains:
            loss.float().mean().backward()
            if work.name.startswith("training step"):
                self.optimizer.step()
            self.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def measure(self, work: Work) -> tuple[float, float]:
        """Seconds of the shortest of some runs, and floating-point operations of one.

        Those of the way back are taken as twice those of the way there: torch counts grouped
        convolutions wrongly.
        """
        self.model.requires_grad_(False)
        with FlopCounterMode(display=False) as counter:
            work.run()
        flops = counter.get_total_flops() * (3 if work.trains else 1)
        self.do(work)
        return shortest(lambda: self.do(work)), float(flops)


def shortest(work: Callable[[], object]) -> float:
    """Seconds of the shortest of several runs; processor time where there is one thread."""
    one_thread = torch.get_num_threads() == 1 and not torch.cuda.is_available()
    clock = time.process_time if one_thread else time.perf_counter
    times: list[float] = []
    while len(times) < 2 or (sum(times) < 0.5 and len(times) < 50):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


def gemm_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product."""
    side = 2048 if device.type == "cpu" else 8192
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))

    def product() -> None:
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()

    product()
    return 2 * side**3 / shortest(product)


def peak_mib(device: torch.device) -> float:
    """Most memory held so far: of the GPU, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=("base", "qwen"), default="base")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    dtype = torch.bfloat16 if given.precision == "bf16" else torch.float32
    bench = Bench(given.size, given.device, dtype)
    rate = gemm_rate(bench.device, dtype)
    parameters = sum(p.numel() for p in bench.model.parameters())
    print(
        f"size {given.size}, {parameters / 1e6:.0f} M parameters, {given.device}, "
        f"{given.precision}, {given.threads} threads, GEMM {rate / 1e12:.2f} TFLOP/s\n"
        f"batch {BATCH}, crops of {CROP} pixels, {TOKENS} tokens a conversation, {SPANS} spans\n\n"
        f"{'':42}{'ms':>9}{'per second':>18}{'GFLOP':>9}{'of GEMM':>9}{'peak MiB':>10}"
    )
    for work in bench.works():
        seconds, flops = bench.measure(work)
        print(
            f"{work.name:42}{1e3 * seconds:9.1f}"
            f"{f'{work.count / seconds:,.0f} {work.unit}':>18}{flops / 1e9:9.1f}"
            f"{flops / seconds / rate:9.0%}{peak_mib(bench.device):10.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
