"""Learning rates, by hand."""

from __future__ import annotations

import pytest

from tasks.training.optimisation import Optimisation


def rates(**settings: object) -> list[float]:
    optimisation = Optimisation(batch_size=1, learning_rate=8.0, **settings)
    return [optimisation.learning_rate_at(step) for step in range(optimisation.n_steps)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"n_steps": 3, "schedule": "constant"}, [8, 8, 8]),
        ({"n_steps": 5, "schedule": "constant", "n_warmup_steps": 4}, [0, 2, 4, 6, 8]),
        # 4 (1 + cos(pi k / 4))
        ({"n_steps": 4}, [8, 4 + 2 * 2**0.5, 4, 4 - 2 * 2**0.5]),
        ({"n_steps": 6, "n_warmup_steps": 2}, [0, 4, 8, 4 + 2 * 2**0.5, 4, 4 - 2 * 2**0.5]),
        ({"n_steps": 3, "n_schedule_steps": 4}, [8, 4 + 2 * 2**0.5, 4]),  # it stops before the rate is at zero
        ({"n_steps": 6, "schedule": "cosine_with_restarts", "n_restarts": 3}, [8, 4, 8, 4, 8, 4]),
        ({"n_steps": 4, "schedule": "cosine_with_restarts"}, [8, 4 + 2 * 2**0.5, 4, 4 - 2 * 2**0.5]),
        ({"n_steps": 4, "n_restarts": 2}, [8, 4 + 2 * 2**0.5, 4, 4 - 2 * 2**0.5]),  # a plain cosine has none
        ({"n_steps": 2, "n_warmup_steps": 4}, [0, 2]),  # it stops within the warm-up
    ],
)
def test_rates_are_those_computed_by_hand(settings: dict[str, object], expected: list[float]) -> None:
    assert rates(**settings) == pytest.approx(expected)


@pytest.mark.models
@pytest.mark.parametrize("schedule", ["constant", "cosine", "cosine_with_restarts"])
def test_rates_are_those_of_diffusers(schedule: str) -> None:
    import torch
    from diffusers.optimization import get_scheduler

    names = {"constant": "constant_with_warmup"}
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=8.0)
    scheduler = get_scheduler(
        names.get(schedule, schedule), optimiser, num_warmup_steps=3, num_training_steps=20, num_cycles=2
    )
    if schedule == "cosine":  # its num_cycles counts waves: a cosine that falls once is half a one
        scheduler = get_scheduler("cosine", optimiser, num_warmup_steps=3, num_training_steps=20)
    theirs = []
    for _ in range(20):
        theirs.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    assert rates(n_steps=20, n_warmup_steps=3, schedule=schedule, n_restarts=2) == pytest.approx(theirs)
