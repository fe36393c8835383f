"""Small valid rows of dsr for tests; keyword arguments change what a test is about.

make_sample(make_prompt("LR_1"), seed=3, dsr_score=0.81)
"""

from __future__ import annotations

from typing import Any

from schemas.dsr import DsrPrompt, DsrSample, SampleRow

SHA256 = "ab" * 32


def make_prompt(prompt_id: str = "RL_1", **changes: Any) -> DsrPrompt:
    """A fox goes from the right of a stump to the left of it; the prompt's id is in its scene."""
    values: dict[str, Any] = {
        "scene": f"In wood {prompt_id}",
        "animal": "fox",
        "object": "stump",
        "verb": "walks",
        "initial": "right",
        "final": "left",
        "split": "train",
        "form": "structured",
    }
    values |= changes
    text = (
        f"{values['scene']}, a {values['animal']} is on the {values['initial']} of a {values['object']}, then the "
        f"{values['animal']} {values['verb']} to the {values['final']} of the {values['object']}."
    )
    return DsrPrompt(prompt_id=prompt_id, **{"text": text} | values)


def make_sample(prompt: DsrPrompt | None = None, seed: int = 0, **changes: Any) -> SampleRow:
    """A valid sample of 81 frames, in every one of which the fox is where it shall be at first."""
    sample = DsrSample.of(prompt or make_prompt(), seed)
    values: dict[str, Any] = {
        "fps": 16.0,
        "n_frames": 81,
        "width": 832,
        "height": 480,
        "sha256": SHA256,
        "score": "official",
        "dsr_score": 0.5,
        "r_initial": 1.0,
        "r_final": -1.0,
        "g_initial": 0.0,
        "g_final": 0.0,
        "n_found": 81,
        "ssr_initial": [1.0] * 81,
        "ssr_final": [-1.0] * 81,
        "initial_yes": True,
        "final_yes": False,
        "drawn": None,
        "made_by": [],
    }
    return SampleRow(**sample.model_dump(), type=sample.dsr_type, **values | changes)
