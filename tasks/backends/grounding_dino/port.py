"""GroundingDINO by transformers.

PortedGroundingDino(DinoConfig(checkpoint="IDEA-Research/grounding-dino-tiny"), TorchConfig())
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.outcome import ServiceDown
from tasks.backends.extras import MODELS
from tasks.backends.grounding_dino import DinoConfig
from tasks.backends.grounding_dino.detector import GroundingDino, Network
from tasks.backends.torch_runtime import (
    Checkpoint,
    TorchConfig,
    check_weights,
    import_torchvision,
    loading,
    quiet_transformers,
)

if TYPE_CHECKING:
    import torch

HUB = "IDEA-Research/grounding-dino-base"
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


class PortedGroundingDino(GroundingDino):
    """transformers' network (`Detector`)."""

    def __init__(self, dino: DinoConfig, torch: TorchConfig) -> None:
        self._checkpoint = Checkpoint.of(dino.checkpoint or HUB)
        weights = {"backend": "transformers", "model": self._checkpoint.identity, **MODELS.pinned("transformers")}
        super().__init__(dino, torch, weights)

    def _load(self, device: torch.device) -> Network:
        import_torchvision()  # transformers imports it if it is installed
        with MODELS.imports("transformers"):
            from transformers import AutoTokenizer, GroundingDinoForObjectDetection
        with loading(self._checkpoint), quiet_transformers():
            folder = self._checkpoint.folder(FILES)
            _check_kind(folder, self._checkpoint)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            network, fit = GroundingDinoForObjectDetection.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
            check_weights(self._checkpoint, missing=fit["missing_keys"], unexpected=fit["unexpected_keys"])
        network.eval().requires_grad_(False).to(device)

        def forward(pixels: torch.Tensor, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
            text = tokenizer([caption] * len(pixels), return_tensors="pt").to(device)
            said = network(pixel_values=pixels, **text)
            return said.logits, said.pred_boxes

        return Network(forward, tokenizer, network.config.num_queries)


def _check_kind(folder: Path, checkpoint: Checkpoint) -> None:
    # From another model's folder, transformers would build a GroundingDINO with random weights.
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind != "grounding-dino":
        raise ServiceDown(f"{checkpoint.identity} is a {kind} model, not grounding-dino; set dino.checkpoint to one")
