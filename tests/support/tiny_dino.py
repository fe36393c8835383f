"""GroundingDINOs with tiny random networks, saved as real checkpoints are and named by a DinoConfig.

    detector = NativeGroundingDino(save_native(tmp_path), TorchConfig())

Needs the models extra, imported by the functions. Scores are arbitrary, boxes spread over the frame.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

from tasks.backends.grounding_dino import DinoConfig
from tasks.backends.torch_runtime import import_torchvision

SMALL: dict[str, Any] = {"short_side_px": 96, "long_side_px": 160, "box_threshold": 0.5}
NATIVE_SETTINGS = {"enc_layers": 1, "dec_layers": 1, "num_queries": 20, "dim_feedforward": 64}


def save_text_encoder(folder: Path) -> Path:
    """A BERT of one layer whose vocabulary spells every word of a-z and 0-9; control tokens have BERT's own ids."""
    import_torchvision()
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    vocabulary = [f"[unused{i}]" for i in range(1100)]
    for token, place in {
        "[PAD]": 0,
        "[UNK]": 100,
        "[CLS]": 101,
        "[SEP]": 102,
        "[MASK]": 103,
        ".": 1012,
        "?": 1029,
    }.items():
        vocabulary[place] = token
    letters = string.ascii_lowercase + string.digits
    words = ["man", "ball", "wine", "glass", *letters, *(f"##{c}" for c in letters)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary + words), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    _seed()
    BertModel(_text_config(BertConfig, len(vocabulary + words))).save_pretrained(folder)
    return folder


def save_native(folder: Path, **settings: Any) -> DinoConfig:
    """groundingdino-py's network as its authors publish theirs: a .pth file with prefixes and left-over entries."""
    import torch

    from tasks.backends.grounding_dino.native import LEFT_OVER

    text_encoder = save_text_encoder(folder / "bert")
    architecture = folder / "tiny.json"
    architecture.write_text(json.dumps(NATIVE_SETTINGS | settings), encoding="utf-8")
    network = build_native(str(architecture), str(text_encoder))
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    state |= {f"module.{name}": torch.zeros(1) for name in LEFT_OVER}
    torch.save({"model": state}, folder / "tiny.pth")
    return DinoConfig(
        checkpoint=str(folder / "tiny.pth"), architecture=str(architecture), text_encoder=str(text_encoder), **SMALL
    )


def build_native(architecture: str, text_encoder: str) -> Any:
    """A random groundingdino-py network whose box heads do more than repeat the anchors."""
    from types import SimpleNamespace

    from tasks.backends.grounding_dino.native import architecture_settings

    import_torchvision()
    from groundingdino.models import build_model

    _seed()
    settings = architecture_settings(architecture) | {"text_encoder_type": text_encoder}
    network = build_model(SimpleNamespace(**settings))
    _spread_boxes([network.bbox_embed, network.transformer.enc_out_bbox_embed])
    return network


def save_port(folder: Path, **settings: Any) -> DinoConfig:
    """transformers' network as save_pretrained writes it, with its tokenizer."""
    import_torchvision()
    from transformers import (
        AutoTokenizer,
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        SwinConfig,
    )

    tokenizer = AutoTokenizer.from_pretrained(save_text_encoder(folder / "bert"))
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4, out_indices=[2, 3, 4]
        ),
        text_config=_text_config(BertConfig, len(tokenizer)).to_dict(),
        **{
            "num_queries": 20,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "d_model": 64,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
        }
        | settings,
    )
    _seed()
    network = GroundingDinoForObjectDetection(config)
    _spread_boxes([network.bbox_embed, network.model.encoder_output_bbox_embed])
    network.save_pretrained(folder / "tiny")
    tokenizer.save_pretrained(folder / "tiny")
    return DinoConfig(checkpoint=str(folder / "tiny"), **SMALL)


def _text_config(bert_config: Any, vocab_size: int) -> Any:
    return bert_config(
        vocab_size=vocab_size,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=256,
    )


def _seed() -> None:
    import torch

    torch.manual_seed(0)


def _spread_boxes(heads: Any) -> None:
    """Box heads start at zero: every box would be its anchor, whatever the picture shows."""
    import torch

    for head in heads:
        for name, parameter in head.named_parameters():
            if name.endswith("layers.2.weight"):
                torch.nn.init.normal_(parameter, std=0.3)
