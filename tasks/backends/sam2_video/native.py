"""SAM2 by the sam2 package.

The package's video predictor reads JPEG folders, encodes frames again for every inference state, never drops memories,
and needs all prompts before it starts. So this module drives the network itself, step by step like the predictor: one
instance gets the same masks from both (tests/backends/test_sam2_video.py).

The predictor's usual postprocessing is on, except for filling small holes: that needs a CUDA extension, without which
the package skips it with a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from schemas.candidate import Anchor
from schemas.outcome import ServiceDown
from tasks.backends.sam2_video import Sam2Config
from tasks.backends.sam2_video.propagator import CORNER_LABELS, PUBLISHED, DeviceClip, Sam2Propagator
from tasks.backends.sam2_video.walk import Tracker, forget
from tasks.backends.torch_runtime import Checkpoint, TorchConfig, check_weights

if TYPE_CHECKING:
    import torch

# As build_sam2_video_predictor(apply_postprocessing=True) sets it, without fill_hole_area.
POSTPROCESSING = {
    "binarize_mask_from_pts_for_mem_enc": True,
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
}


class NativeSam2(Sam2Propagator):
    """The `Propagator` by the sam2 package."""

    backend: ClassVar[str] = "sam2"
    library: ClassVar[str] = "sam2"

    def __init__(self, sam2: Sam2Config, torch: TorchConfig) -> None:
        super().__init__(sam2, torch)
        if self._checkpoint.path is None and sam2.architecture not in PUBLISHED:
            raise ServiceDown(
                f"{self._checkpoint.identity}: unknown which file holds the weights of {sam2.architecture}; "
                "download it and set sam2.checkpoint to its path"
            )
        self.identity |= {
            "architecture": _architecture_identity(sam2.architecture),
            "postprocessing": "stability, binarized anchors",
        }

    def _network_identity(self) -> tuple[str, ...]:
        return self.identity["model"], self.identity["architecture"]

    def _load(self, device: torch.device) -> Any:
        import_sam2()
        from hydra.utils import instantiate

        network = instantiate(network_settings(self._sam2.architecture), _recursive_=True)
        told = network.load_state_dict(read_weights(self._weights()), strict=False)
        check_weights(self._checkpoint, missing=told.missing_keys, unexpected=told.unexpected_keys)
        return network.to(device).eval()

    def _weights(self) -> Path:
        if self._checkpoint.path is not None:
            return self._checkpoint.path
        _, name = PUBLISHED[self._sam2.architecture]
        return self._checkpoint.folder([name]) / name

    def _trackers(self, network: Any, clip: DeviceClip, groups: list[list[Anchor]]) -> list[Tracker]:
        encoder = Encoder(network, clip)
        return [NativeTracker(network, encoder, clip, anchors, self._sam2.offload_state) for anchors in groups]


@dataclass
class Features:
    """A frame's image features: each level (height x width, 1, channels), finest first."""

    maps: list[torch.Tensor]
    positions: list[torch.Tensor]
    sizes: list[tuple[int, int]]  # of each level: height, width

    def of(self, n_instances: int) -> dict[str, Any]:
        """The features repeated for each instance, as `track_step` takes them."""
        return {
            "current_vision_feats": [x.expand(-1, n_instances, -1) for x in self.maps],
            "current_vision_pos_embeds": [x.expand(-1, n_instances, -1) for x in self.positions],
            "feat_sizes": self.sizes,
        }


class Encoder:
    """A clip's frames -> image features; the last frame's are kept for the other trackers."""

    def __init__(self, network: Any, clip: DeviceClip) -> None:
        self._network, self._clip = network, clip
        self._last: tuple[int, Features] | None = None

    def features(self, t: int) -> Features:
        if self._last is None or self._last[0] != t:
            picture = self._clip.picture(t, self._network.image_size)
            _, *features = self._network._prepare_backbone_features(self._network.forward_image(picture[None]))
            self._last = t, Features(*features)
        return self._last[1]


class NativeTracker:
    """The `Tracker` of the instances anchored on one frame, as one batch."""

    def __init__(
        self, network: Any, encoder: Encoder, clip: DeviceClip, anchors: list[Anchor], offload_state: bool
    ) -> None:
        self.frame = anchors[0].frame
        self.instance_ids = [anchor.instance_id for anchor in anchors]
        self._network, self._encoder, self._n_frames = network, encoder, clip.n_frames
        self._corners = clip.corners(anchors, network.image_size)
        self._offload_state = offload_state
        # The network attends to masks of the last frame and every stride-th before it, and to recent object pointers.
        stride = network.memory_temporal_stride_for_eval
        self._reach = max(1 + (network.num_maskmem - 2) * stride, network.max_obj_ptrs_in_encoder - 1)
        # The network's own keys: the frame with the prompt, and the frames tracked from it.
        self.memory: dict[str, dict[int, dict[str, Any]]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

    def logits(self, t: int, *, reverse: bool) -> torch.Tensor:
        at_anchor = t == self.frame
        seen = self._network.track_step(
            frame_idx=t,
            is_init_cond_frame=at_anchor,
            **self._encoder.features(t).of(len(self.instance_ids)),
            point_inputs=self._prompt() if at_anchor else None,
            mask_inputs=None,
            output_dict=self.memory,
            num_frames=self._n_frames,
            track_in_reverse=reverse,
        )
        self.memory["cond_frame_outputs" if at_anchor else "non_cond_frame_outputs"][t] = self._remembered(seen)
        forget(self.memory["non_cond_frame_outputs"], t, self.frame, self._reach)
        return seen["pred_masks"][:, 0]

    def _prompt(self) -> dict[str, torch.Tensor]:
        import torch

        labels = torch.tensor(CORNER_LABELS, dtype=torch.int32, device=self._corners.device)
        return {"point_coords": self._corners, "point_labels": labels.expand(len(self._corners), -1)}

    def _remembered(self, seen: dict[str, Any]) -> dict[str, Any]:
        """The part of a step's output that later steps read; the rest is large."""
        import torch

        # always bfloat16, as in the package's predictor
        features = seen["maskmem_features"].to(torch.bfloat16)
        positions = seen["maskmem_pos_enc"]
        if self._offload_state:
            features, positions = features.cpu(), [x.cpu() for x in positions]
        return {"maskmem_features": features, "maskmem_pos_enc": positions, "obj_ptr": seen["obj_ptr"]}


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights that the authors' checkpoints hold under "model". No code in the file is executed."""
    import torch

    held = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(held, dict) or "model" not in held:
        raise ValueError('it holds no "model", as the authors\' .pt files do; is it the right file?')
    return held["model"]


def network_settings(architecture: str) -> Any:
    """The package's settings of the network, for hydra's `instantiate`.

    The file is read, not composed by hydra, whose process-wide state may be in use.
    Raises ValueError for a file that would build anything outside sam2.modeling.
    """
    from importlib.resources import files

    from omegaconf import OmegaConf

    named = architecture in PUBLISHED
    path = files("sam2") / f"configs/sam2.1/sam2.1_{architecture}.yaml" if named else Path(architecture)
    settings = OmegaConf.merge(OmegaConf.create(path.read_text()).model, POSTPROCESSING)
    OmegaConf.resolve(settings)
    for target in _targets(OmegaConf.to_container(settings)):
        if not target.startswith("sam2.modeling."):
            raise ValueError(f"{architecture} names {target}; only classes of sam2.modeling may be built")
    return settings


def _targets(node: Any) -> list[str]:
    """Every `_target_` below a node."""
    if isinstance(node, dict):
        here = [str(node["_target_"])] if "_target_" in node else []
        return here + [target for child in node.values() for target in _targets(child)]
    if isinstance(node, list):
        return [target for child in node for target in _targets(child)]
    return []


def _architecture_identity(architecture: str) -> str:
    """The architecture's name, or the hash of its settings file."""
    if architecture in PUBLISHED:
        return architecture
    if not Path(architecture).is_file():
        raise ServiceDown(
            f"unknown architecture {architecture}; set sam2.architecture to {', '.join(PUBLISHED)} or a YAML file"
        )
    return Checkpoint.of(architecture).identity


@cache
def import_sam2() -> None:
    """Import sam2 and undo its change to hydra: it sets hydra's process-wide search path."""
    from hydra.core.global_hydra import GlobalHydra

    untouched = not GlobalHydra.instance().is_initialized()
    import sam2  # noqa: F401

    if untouched:
        GlobalHydra.instance().clear()
