"""One random generator per step and process, so that a resumed run draws the same batches."""

from __future__ import annotations

import numpy as np


def rng_at(seed: int, step: int, process: int) -> np.random.Generator:
    """The random generator of one step of one process."""
    return np.random.default_rng([seed, step, process])
