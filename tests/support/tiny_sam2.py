"""Tiny SAM2 networks with random weights, saved as users' checkpoints are.

They run the libraries' real code in milliseconds. What they segment is noise, but noise that depends on the picture,
the box and what they remember: the seeds below were chosen so that masks are neither empty nor full.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.backends.sam2_video import Sam2Config
from tasks.backends.torch_runtime import TorchConfig

if TYPE_CHECKING:
    from tasks.backends.sam2_video.propagator import Sam2Propagator

SIDE = 64  # of the network's input, in px: 4x4 cells at its coarsest level
DIM = 32
PORT_DIM = 128  # the port's memory has 64 channels whatever the settings say, and splits pointers into as many

# As the sam2 package's own files: what is missing here has their values or the code's defaults.
SETTINGS = f"""
model:
  _target_: sam2.modeling.sam2_base.SAM2Base
  image_size: {SIDE}
  num_maskmem: 3
  max_obj_ptrs_in_encoder: 4
  sigmoid_scale_for_mem_enc: 20.0
  sigmoid_bias_for_mem_enc: -10.0
  use_mask_input_as_output_without_sam: true
  directly_add_no_mem_embed: true
  no_obj_embed_spatial: true
  use_high_res_features_in_sam: true
  multimask_output_in_sam: true
  multimask_output_for_tracking: true
  multimask_min_pt_num: 0
  multimask_max_pt_num: 1
  use_multimask_token_for_obj_ptr: true
  iou_prediction_use_sigmoid: true
  use_obj_ptrs_in_encoder: true
  add_tpos_enc_to_obj_ptrs: true
  proj_tpos_enc_in_obj_ptrs: true
  use_signed_tpos_enc_to_obj_ptrs: true
  only_obj_ptrs_in_the_past_for_eval: true
  pred_obj_scores: true
  pred_obj_scores_mlp: true
  fixed_no_obj_ptr: true
  use_mlp_for_obj_ptr_proj: true
  image_encoder:
    _target_: sam2.modeling.backbones.image_encoder.ImageEncoder
    scalp: 1
    trunk:
      _target_: sam2.modeling.backbones.hieradet.Hiera
      embed_dim: 8
      stages: [1, 1, 1, 1]
      global_att_blocks: [0]
      window_pos_embed_bkg_spatial_size: [7, 7]
    neck:
      _target_: sam2.modeling.backbones.image_encoder.FpnNeck
      d_model: {DIM}
      backbone_channel_list: [64, 32, 16, 8]
      fpn_top_down_levels: [2, 3]
      fpn_interp_model: nearest
      position_encoding: &positions
        _target_: sam2.modeling.position_encoding.PositionEmbeddingSine
        num_pos_feats: {DIM}
  memory_attention:
    _target_: sam2.modeling.memory_attention.MemoryAttention
    d_model: {DIM}
    pos_enc_at_input: true
    num_layers: 1
    layer:
      _target_: sam2.modeling.memory_attention.MemoryAttentionLayer
      activation: relu
      dim_feedforward: 64
      dropout: 0.1
      d_model: {DIM}
      pos_enc_at_attn: false
      pos_enc_at_cross_attn_keys: true
      pos_enc_at_cross_attn_queries: false
      self_attention: &attention
        _target_: sam2.modeling.sam.transformer.RoPEAttention
        feat_sizes: [4, 4]
        embedding_dim: {DIM}
        num_heads: 1
      cross_attention:
        <<: *attention
        rope_k_repeat: true
        kv_in_dim: 16
  memory_encoder:
    _target_: sam2.modeling.memory_encoder.MemoryEncoder
    in_dim: {DIM}
    out_dim: 16
    position_encoding:
      <<: *positions
      num_pos_feats: 16
    mask_downsampler:
      _target_: sam2.modeling.memory_encoder.MaskDownSampler
      embed_dim: {DIM}
      kernel_size: 3
      stride: 2
      padding: 1
    fuser:
      _target_: sam2.modeling.memory_encoder.Fuser
      num_layers: 1
      layer:
        _target_: sam2.modeling.memory_encoder.CXBlock
        dim: {DIM}
"""


def tiny_sam2(library: str, folder: Path, look_ahead: int = 2, **settings: Any) -> Sam2Propagator:
    """The library's propagator ("sam2" or "transformers") with the checkpoint in the folder, saved if need be."""
    torch = TorchConfig(device="cpu", look_ahead=look_ahead)
    if library == "sam2":
        from tasks.backends.sam2_video.native import NativeSam2

        if not (folder / "tiny.pt").exists():
            save_native(folder)
        files = {"architecture": str(folder / "tiny.yaml"), "checkpoint": str(folder / "tiny.pt")}
        return NativeSam2(Sam2Config(**files | settings), torch)
    from tasks.backends.sam2_video.port import PortedSam2

    if not (folder / "tiny").exists():
        save_ported(folder / "tiny")
    return PortedSam2(Sam2Config(**{"checkpoint": str(folder / "tiny")} | settings), torch)


def save_native(folder: Path, *, seed: int = 23) -> tuple[Path, Path]:
    """Write tiny.yaml and tiny.pt, as the sam2 package reads them, and return their paths."""
    import torch
    from hydra.utils import instantiate

    from tasks.backends.sam2_video.native import import_sam2, network_settings

    architecture, checkpoint = folder / "tiny.yaml", folder / "tiny.pt"
    architecture.write_text(SETTINGS)
    import_sam2()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = instantiate(network_settings(str(architecture)))
        _make_lively(network, network.sam_mask_decoder.pred_obj_score_head.layers[-1], spread=1.2)
    torch.save({"model": network.state_dict()}, checkpoint)
    return architecture, checkpoint


def save_ported(folder: Path, *, seed: int = 2) -> Path:
    """Write a folder as transformers' save_pretrained does, and return its path."""
    from tasks.backends.torch_runtime import import_torchvision

    import_torchvision()
    import torch
    from transformers import Sam2VideoConfig, Sam2VideoModel

    settings = Sam2VideoConfig(
        image_size=SIDE,
        num_maskmem=3,
        max_object_pointers_in_encoder=4,
        vision_config={
            "backbone_config": {
                "hidden_size": 8,
                "image_size": [SIDE, SIDE],
                "blocks_per_stage": [1, 1, 1, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "global_attention_blocks": [0],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": PORT_DIM,
        },
        prompt_encoder_config={"hidden_size": PORT_DIM, "image_size": SIDE},
        mask_decoder_config={"hidden_size": PORT_DIM, "mlp_dim": 64, "iou_head_hidden_dim": PORT_DIM},
        memory_attention_hidden_size=PORT_DIM,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=PORT_DIM,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=PORT_DIM,
        memory_fuser_num_layers=1,
        memory_fuser_embed_dim=PORT_DIM,
        memory_fuser_intermediate_dim=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Sam2VideoModel(settings)
        _make_lively(network, network.mask_decoder.pred_obj_score_head.proj_out, spread=2.0)
    network.save_pretrained(folder)
    return folder


def _make_lively(network: Any, presence_head: Any, *, spread: float) -> None:
    """Random weights under which signals neither die nor explode, and instances are mostly seen."""
    import torch

    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=spread / parameter[0].numel() ** 0.5)
        presence_head.bias.fill_(3.0)
