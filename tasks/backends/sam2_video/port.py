"""SAM2 by transformers' own port, Sam2Video.

Each group of anchors has an inference session; all sessions share the frames and the last frame's image features. The
port's processor is not used, as it would prepare the whole clip at once: propagator.py resizes frames and scales boxes
for both libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from schemas.candidate import Anchor
from tasks.backends.sam2_video.propagator import CORNER_LABELS, DeviceClip, Sam2Propagator
from tasks.backends.sam2_video.walk import Tracker, forget
from tasks.backends.torch_runtime import check_weights, import_torchvision

if TYPE_CHECKING:
    import torch

FILES = ("config.json", "model.safetensors")


class PortedSam2(Sam2Propagator):
    """The `Propagator` by transformers."""

    backend: ClassVar[str] = "transformers"
    library: ClassVar[str] = "transformers"

    def _load(self, device: torch.device) -> Any:
        import_torchvision()  # transformers imports it if it is installed
        import torch
        from transformers import AutoConfig, Sam2VideoConfig, Sam2VideoModel

        folder = self._checkpoint.folder(FILES)
        settings = AutoConfig.from_pretrained(folder)
        if not isinstance(settings, Sam2VideoConfig):
            raise ValueError(f"its config.json is for {settings.model_type}, not for sam2_video")
        network, told = Sam2VideoModel.from_pretrained(
            folder, config=settings, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
        # transformers only warns about missing weights and fills in random numbers.
        check_weights(self._checkpoint, missing=told["missing_keys"], unexpected=told["unexpected_keys"])
        return network.to(device).eval()

    def _trackers(self, network: Any, clip: DeviceClip, groups: list[list[Anchor]]) -> list[Tracker]:
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceCache

        pictures = ResizedFrames(clip, network.image_size)
        features = Sam2VideoInferenceCache(inference_device=clip.device, inference_state_device=clip.device)
        return [PortedTracker(network, clip, pictures, features, group, self._sam2.offload_state) for group in groups]


class ResizedFrames:
    """A clip's frames, resized on access: a session indexes it like its table of frames."""

    def __init__(self, clip: DeviceClip, side: int) -> None:
        self._clip, self._side = clip, side

    def __len__(self) -> int:
        return self._clip.n_frames

    def __getitem__(self, t: int) -> torch.Tensor:
        return self._clip.picture(t, self._side)


class PortedTracker:
    """The `Tracker` of the instances anchored on one frame, objects of one session."""

    def __init__(
        self,
        network: Any,
        clip: DeviceClip,
        pictures: ResizedFrames,
        features: Any,
        anchors: list[Anchor],
        offload_state: bool,
    ) -> None:
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        self.frame = anchors[0].frame
        self.instance_ids = [anchor.instance_id for anchor in anchors]
        self._network = network
        self._reach = max(network.num_maskmem, network.config.max_object_pointers_in_encoder) - 1
        self.session = Sam2VideoInferenceSession(
            inference_device=clip.device, inference_state_device="cpu" if offload_state else clip.device
        )
        self.session.processed_frames = pictures
        self.session.cache = features
        self._prompt(clip.corners(anchors, network.image_size))

    def _prompt(self, corners: torch.Tensor) -> None:
        import torch

        labels = torch.tensor(CORNER_LABELS, dtype=torch.int32).view(1, 1, 2)
        for place, of_one in enumerate(corners):
            place = self.session.obj_id_to_idx(place)  # registers the object
            prompt = {"point_coords": of_one.view(1, 1, 2, 2), "point_labels": labels}
            self.session.add_point_inputs(place, self.frame, prompt)
        self.session.obj_with_new_inputs = list(range(len(corners)))

    def logits(self, t: int, *, reverse: bool) -> torch.Tensor:
        logits = self._network(self.session, frame_idx=t, reverse=reverse).pred_masks[:, 0]
        for of_one in self.session.output_dict_per_obj.values():
            forget(of_one["non_cond_frame_outputs"], t, self.frame, self._reach)
        return logits
