"""The base model of a training: which one it is, and that nothing of it is made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.outcome import ServiceDown
from tasks.training.models.base import base_identity, load_base
from tasks.training.models.tiny import save_tiny_cogvideox, save_tiny_wan
from tests.support.hub import fetch, served

pytestmark = pytest.mark.models


def test_transformer_and_scheduler_are_loaded_without_the_rest(tmp_path: Path) -> None:
    import torch

    base = load_base(str(save_tiny_cogvideox(tmp_path / "cogvideox")), "bfloat16")
    assert base.transformer.dtype == torch.bfloat16
    assert base.scheduler.config.prediction_type == "v_prediction"
    assert (base.vae, base.text_encoder, base.tokenizer) == (None, None, None)


def test_the_whole_pipeline(tmp_path: Path) -> None:
    import torch

    whole = load_base(str(save_tiny_wan(tmp_path / "wan")), "bfloat16", None)
    assert (whole.transformer.dtype, whole.vae.dtype) == (torch.bfloat16, torch.float32)


def test_a_weight_that_is_missing_is_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_tiny_wan(tmp_path / "wan")
    (file,) = (folder / "transformer").glob("*.safetensors")
    weights = load_file(file)
    del weights["proj_out.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ServiceDown, match=r"wan sha256:.* 1 \(transformer\.proj_out\.weight"):
        load_base(str(folder), "float32")


NAME_AND_LOAD = """
from tasks.training.models.base import base_identity, load_base
print(name := base_identity("owner/name"))
print(load_base(name, "float32").transformer.config.num_layers)
"""


def test_a_branch_is_named_by_its_commit(tmp_path: Path) -> None:
    folder = save_tiny_wan(tmp_path / "wan")
    with served({"owner/name": folder}, commit="d" * 40) as endpoint:
        assert fetch(endpoint, tmp_path / "cache", NAME_AND_LOAD).stdout.split() == ["owner/name@" + "d" * 40, "3"]
    assert base_identity(str(folder)).startswith("wan sha256:")
    with pytest.raises(ServiceDown, match="no checkpoint at"):
        base_identity(str(tmp_path / "gone"))
