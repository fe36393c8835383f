"""schemas.config: titles that people read."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from schemas.config import Settings, title_of


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("root", "Root"),
        ("shard_size", "Shard size"),
        ("backoff_s", "Backoff (s)"),
        ("deadline_s", "Deadline (s)"),
        ("max_retry_after_s", "Maximum retry after (s)"),
        ("requests_per_s", "Requests per second"),
        ("per_prompt", "Per prompt"),
        ("speed_mps", "Speed (m/s)"),
        ("density_kgm3", "Density (kg/m³)"),
        ("sun_angle_deg", "Sun angle (°)"),
        ("short_side_px", "Short side (px)"),
        ("n_frames", "Number of frames"),
        ("min_scene_len_s", "Minimum scene length (s)"),
        ("llm", "LLM"),
        ("max_duplicate_iou", "Maximum duplicate IoU"),
        ("vae_precision", "VAE precision"),
        ("sam2", "SAM2"),
        ("crf", "CRF"),
        ("s", "S"),
    ],
)
def test_a_title_is_words_with_a_unit(name: str, title: str) -> None:
    assert title_of(name) == title


def test_a_title_of_its_own_stays_and_settings_are_strict() -> None:
    class Mine(Settings):
        n_train: int = Field(3, title="Training clips")
        poll_s: float = 1

    shown = Mine.model_json_schema()["properties"]
    assert (shown["n_train"]["title"], shown["poll_s"]["title"]) == ("Training clips", "Poll (s)")
    with pytest.raises(ValidationError, match="Extra inputs"):
        Mine.model_validate({"n_trian": 4})
