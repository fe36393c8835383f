"""Randomness keyed by where it is needed, so that nothing has to be restored on a resume.

randomness = begin_micro_batch(seed=0, phase=0, step=12, micro_batch=1, rank=0)    also seeds torch's global generators
begin_build(seed=0)                                                                for what the recipe draws
permutation(seed=0, phase=0, epoch=3, n_samples=5)                                 array([2, 0, 4, 1, 3])
"""

from __future__ import annotations

import random

import numpy as np

from tasks.training.recipe import Randomness

_BUILD, _ORDER, _MICRO_BATCH = range(3)  # of the first word of a key: no two uses share a stream


def begin_build(seed: int) -> None:
    """Seed the global generators, the same in every process."""
    _seed_globally(_state(seed, _BUILD)[0])


def begin_micro_batch(seed: int, phase: int, step: int, micro_batch: int, rank: int) -> Randomness:
    """Seed the global generators (dropout), and give independent ones for the recipe's noise and timesteps.

    step: updates before this one, within the phase
    """
    import torch

    globally, on_cpu, in_numpy = _state(seed, _MICRO_BATCH, phase, step, micro_batch, rank)
    _seed_globally(globally)
    return Randomness(torch.Generator().manual_seed(on_cpu), np.random.default_rng(in_numpy))


def permutation(seed: int, phase: int, epoch: int, n_samples: int) -> np.ndarray:
    """(n_samples,) int64: the order of an epoch."""
    return np.random.default_rng(_state(seed, _ORDER, phase, epoch)[0]).permutation(n_samples)


def _state(seed: int, *key: int) -> list[int]:
    return [int(word) for word in np.random.SeedSequence([seed, *key]).generate_state(3, np.uint64)]


def _seed_globally(seed: int) -> None:
    import torch

    torch.manual_seed(seed)  # of every device
    np.random.seed(seed % 2**32)
    random.seed(seed)
