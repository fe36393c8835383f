"""The base of all settings: strict, described, with titles that people read.

class CheckConfig(StageConfig):
    min_presence: float = Field(0.3, gt=0, le=1, description="Share of the clip's frames that hold a mask")

CheckConfig.model_json_schema()["properties"]["min_presence"]["title"]    "Minimum presence"
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

WORDS = {
    "cpu": "CPU", "crf": "CRF", "dino": "GroundingDINO", "dsr": "DSR", "fps": "FPS", "gpu": "GPU", "iou": "IoU",
    "llm": "LLM", "lora": "LoRA", "nms": "NMS", "sam2": "SAM2", "ssr": "SSR", "torch": "PyTorch", "vae": "VAE",
    "vlm": "VLM", "transnet": "TransNet",
    "len": "length", "max": "maximum", "min": "minimum", "n": "number of", "val": "value",
}  # fmt: skip
UNITS = {"deg": "°", "kgm3": "kg/m³", "m": "m", "mps": "m/s", "px": "px", "s": "s"}


def title_of(name: str, _: Any = None) -> str:
    """A field's name in words, its unit in brackets: backoff_s -> "Backoff (s)", n_frames -> "Number of frames"."""
    *words, last = name.split("_")
    unit = ""
    if words and words[-1] == "per":
        last = "second" if last == "s" else last
    elif words and last in UNITS:
        unit, last = f" ({UNITS[last]})", words.pop()
    text = " ".join(WORDS.get(word, word) for word in (*words, last))
    return text[0].upper() + text[1:] + unit


class Settings(BaseModel):
    """What somebody can set: strict, and never changed once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, field_title_generator=title_of)


class StageConfig(Settings):
    """A stage's settings: strict, described, part of the keys of its results."""
