"""``python -m train.reading``: train the network that links the elements of requests."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn

from instruction_data.requests.corpus import FOLDER
from spex.errors import ConfigError
from train.reading.examples import Example, joined_examples, mail_examples, written_examples
from train.reading.network import (
    Compiled,
    Dropped,
    LinkingNetwork,
    Vocabulary,
    collate,
    compile_example,
    save_weights,
)

BATCH = 32
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.02
_WARM_UP = 100  # steps
_JOINED_SHARE = 0.5


def train(
    examples: Sequence[Example], *, epochs: int, minutes: float, seed: int
) -> tuple[LinkingNetwork, Vocabulary]:
    """Train a network.

    Args:
        examples: written by hand.
        epochs: passes over them, each with half as many joined ones.
        minutes: upper bound on the time.
        seed: of all random draws.
    """
    rng = random.Random(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # the batches are too small to share
    vocabulary = Vocabulary.of(examples)
    written = [compile_example(example, vocabulary) for example in examples]
    combined = joined_examples(examples, len(examples), rng) + mail_examples(
        examples, len(examples), rng
    )
    joined = [compile_example(example, vocabulary) for example in combined]
    network = LinkingNetwork(vocabulary)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    dropped = Dropped(vocabulary, rng)
    per_epoch = len(written) + int(_JOINED_SHARE * len(written))
    steps = max(1, epochs * per_epoch // BATCH)
    step = 0
    started = time.monotonic()
    for epoch in range(epochs):
        drawn = [*written, *rng.sample(joined, per_epoch - len(written))]
        total = 0.0
        batches = _batches(drawn, rng)
        for batch in batches:
            if time.monotonic() - started > 60 * minutes:
                typer.echo(f"stopped at step {step}: {minutes:g} minutes are over")
                return network.eval(), vocabulary
            rate = LEARNING_RATE * min(1, step / _WARM_UP) * max(0.02, 1 - step / steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = network.loss(collate(batch, dropped))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            step += 1
            total += loss.item()
        seconds = time.monotonic() - started
        typer.echo(f"epoch {epoch + 1}: loss {total / len(batches):.3f}, {seconds:.0f} s")
    return network.eval(), vocabulary


def _batches(examples: Sequence[Compiled], rng: random.Random) -> list[list[Compiled]]:
    """Batches of examples of similar length, in random order."""
    shuffled = list(examples)
    rng.shuffle(shuffled)
    ordered: list[Compiled] = []
    for start in range(0, len(shuffled), 20 * BATCH):
        part = shuffled[start : start + 20 * BATCH]
        ordered += sorted(part, key=lambda example: len(example.items))
    batches = [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]
    rng.shuffle(batches)
    return batches


def main(
    out: Annotated[Path, typer.Option(help="File of weights to write.")],
    leave_out: Annotated[
        str, typer.Option(help="Batches that are not trained on, separated by commas.")
    ] = "",
    epochs: Annotated[int, typer.Option(min=1)] = 9,
    minutes: Annotated[float, typer.Option(min=0.1, help="Upper bound on the time.")] = 120,
    seed: int = 0,
) -> None:
    """Train the network that links the elements of requests."""
    left_out = set(leave_out.split(","))
    batches = [batch for batch in sorted(FOLDER.glob("*.tsv")) if batch.stem not in left_out]
    if not batches:
        raise ConfigError("no batch of requests is left to train on; leave fewer out")
    examples = written_examples(batches)
    typer.echo(f"{len(examples)} requests of {len(batches)} batches")
    network, vocabulary = train(examples, epochs=epochs, minutes=minutes, seed=seed)
    save_weights(network, vocabulary, out)
    typer.echo(f"wrote {out}")


if __name__ == "__main__":
    typer.run(main)
