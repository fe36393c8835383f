"""GroundingDINO by groundingdino-py, the library of MATRIX A.2.

NativeGroundingDino(DinoConfig(checkpoint="weights/groundingdino_swint_ogc.pth"), TorchConfig())
"""

from __future__ import annotations

import importlib
import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

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

logger = logging.getLogger(__name__)

LIBRARIES = ("groundingdino-py", "transformers")
HUB = "ShilongLiu/GroundingDINO"
PUBLISHED = {  # architecture -> the library's settings, the hub's file
    "swin_t": ("GroundingDINO_SwinT_OGC", "groundingdino_swint_ogc.pth"),
    "swin_b": ("GroundingDINO_SwinB_cfg", "groundingdino_swinb_cogcoor.pth"),
}
TEXT_ENCODER_FILES = ("config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors")
# In the published checkpoints, but not in this library's networks: a training-time embedding, and indices that
# transformers no longer stores.
LEFT_OVER = ("label_enc.weight", "bert.embeddings.position_ids")
# Deprecated calls of the library, which warn at every start.
OLD_CALLS = (
    "Importing from timm.models.layers",
    "torch.meshgrid",
    r"`torch.cuda.amp.autocast\(args...\)` is deprecated",
    "The `device` argument is deprecated",
)
# Gradient checkpointing saves memory in training; in inference it only warns.
INFERENCE = {"use_checkpoint": False, "use_transformer_ckpt": False}


class NativeGroundingDino(GroundingDino):
    """groundingdino-py's network (`Detector`)."""

    def __init__(self, dino: DinoConfig, torch: TorchConfig) -> None:
        self._checkpoint = Checkpoint.of(dino.checkpoint or HUB)
        self._text_encoder = Checkpoint.of(dino.text_encoder)
        if self._checkpoint.path is None and dino.architecture not in PUBLISHED:
            raise ServiceDown(
                f"architecture {dino.architecture}: the hub has weights only for {' and '.join(PUBLISHED)}; "
                "set dino.checkpoint to the path of its weights"
            )
        weights = {
            "backend": "groundingdino",
            "model": self._checkpoint.identity,
            "architecture": _architecture_identity(dino.architecture),
            "text_encoder": self._text_encoder.identity,
            **MODELS.pinned(*LIBRARIES),
        }
        super().__init__(dino, torch, weights)

    def _load(self, device: torch.device) -> Network:
        for message in OLD_CALLS:
            warnings.filterwarnings("ignore", message)
        import_torchvision()
        with MODELS.imports(*LIBRARIES):
            from groundingdino.models import build_model
            from groundingdino.util import get_tokenlizer
        get_tokenlizer.print = logger.debug  # instead of print, with which it shows the text encoder's path
        settings = architecture_settings(self._dino.architecture)
        with loading(self._text_encoder):
            settings["text_encoder_type"] = str(self._text_encoder.folder(TEXT_ENCODER_FILES))
        with loading(self._checkpoint), quiet_transformers():
            file = self._weights_file()
            network = build_model(SimpleNamespace(**settings))
            load_weights(network, file, self._checkpoint)
        network.eval().requires_grad_(False).to(device)

        def forward(pixels: torch.Tensor, caption: str) -> tuple[torch.Tensor, torch.Tensor]:
            said = network(pixels, captions=[caption] * len(pixels))
            return said["pred_logits"], said["pred_boxes"]

        return Network(forward, network.tokenizer, network.num_queries)

    def _weights_file(self) -> Path:
        if self._checkpoint.path is not None:
            return self._checkpoint.path
        _, file = PUBLISHED[self._dino.architecture]
        return self._checkpoint.folder([file]) / file


def architecture_settings(architecture: str) -> dict[str, Any]:
    """The library's settings of a published network, or swin_t's with those of a JSON file on top.

    The library reads user settings from Python files, which it executes; JSON is only data.
    Raises ServiceDown for unknown settings.
    """
    module, _ = PUBLISHED.get(architecture, PUBLISHED["swin_t"])
    packaged = vars(importlib.import_module(f"groundingdino.config.{module}"))
    settings = {name: value for name, value in packaged.items() if not name.startswith("_")} | INFERENCE
    if architecture in PUBLISHED:
        return settings
    own = _read_settings(Path(architecture).expanduser())
    if unknown := sorted(own.keys() - settings.keys()):
        raise ServiceDown(f"{architecture}: unknown settings {', '.join(unknown)}; known are {', '.join(settings)}")
    return settings | own


def load_weights(network: Any, file: Path, checkpoint: Checkpoint) -> None:
    """Load a checkpoint's weights into the network: all of them, and no others.

    Raises ServiceDown if the two do not fit; whatever torch raises if the file is broken.
    """
    import torch

    stored = torch.load(file, map_location="cpu", weights_only=True)
    state = stored.get("model", stored) if isinstance(stored, Mapping) else None
    if not isinstance(state, Mapping):
        raise ServiceDown(
            f"{checkpoint.identity} holds a {type(stored).__name__}, not the weights of a network; is this the file?"
        )
    # Distributed training puts "module." before every name.
    named = {name.removeprefix("module."): value for name, value in state.items()}
    fit = network.load_state_dict({n: v for n, v in named.items() if n not in LEFT_OVER}, strict=False)
    check_weights(checkpoint, missing=fit.missing_keys, unexpected=fit.unexpected_keys)


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ServiceDown(
            f"dino.architecture: {file} is neither {' nor '.join(PUBLISHED)} nor a readable JSON file: {error}"
        ) from error
    if not isinstance(settings, dict):
        raise ServiceDown(f"dino.architecture: {file} must hold a JSON object of settings")
    return settings


def _architecture_identity(architecture: str) -> str:
    if architecture in PUBLISHED:
        return architecture
    _read_settings(Path(architecture).expanduser())
    return Checkpoint.of(architecture).identity
