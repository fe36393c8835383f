"""The common part of both libraries' propagators: settings, identity, and the walk through a clip."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from schemas.candidate import Anchor, check_anchor
from schemas.outcome import ServiceDown
from tasks.backends.extras import MODELS
from tasks.backends.sam2_video import Sam2Config
from tasks.backends.sam2_video.walk import Contest, Tracker, walk_clip
from tasks.backends.torch_runtime import Checkpoint, TorchConfig, device_of, inference, load_once, loading, normalise
from tasks.media.footage import Frames, all_of, size_of

if TYPE_CHECKING:
    import torch

SHORT_SIDE_PX = 1024  # of the published networks' square input: of larger frames they see no more

PUBLISHED = {  # architecture -> the hub's repository, and the file of the authors' own weights in it
    "hiera_t": ("facebook/sam2.1-hiera-tiny", "sam2.1_hiera_tiny.pt"),
    "hiera_s": ("facebook/sam2.1-hiera-small", "sam2.1_hiera_small.pt"),
    "hiera_b+": ("facebook/sam2.1-hiera-base-plus", "sam2.1_hiera_base_plus.pt"),
    "hiera_l": ("facebook/sam2.1-hiera-large", "sam2.1_hiera_large.pt"),
}

CORNER_LABELS = (2, 3)  # the prompt encoder's labels for a box's upper left and lower right corner

# For all propagators in the process: two clips at once would need twice the GPU memory.
_one_clip_at_a_time = threading.Lock()


class Sam2Propagator:
    """A `Propagator` by SAM2; each subclass uses one library."""

    short_side_px: int = SHORT_SIDE_PX
    backend: ClassVar[str]  # its name in the config
    library: ClassVar[str]

    def __init__(self, sam2: Sam2Config, torch: TorchConfig) -> None:
        """Raises ServiceDown if there is no such checkpoint."""
        self._sam2, self._torch = sam2, torch
        self._checkpoint = checkpoint_of(sam2)
        self.concurrency: int = 1 + torch.look_ahead  # one clip in the network; the next are decoded, the last written
        self.identity: dict[str, str] = {
            "backend": self.backend,
            "model": self._checkpoint.identity,
            "precision": sam2.precision,
            "short_side_px": str(SHORT_SIDE_PX),
            **MODELS.pinned(self.library),
        }

    def propagate(
        self, frames: Frames, anchors: list[Anchor], size: tuple[int, int] | None = None
    ) -> dict[str, list[str]]:
        """N frames, uint8 RGB -> {instance_id: N COCO run lengths}, of the clip's size, or else the frames'.

        An instance gets empty masks if its box holds no mask on its own frame; the others are not affected.
        Raises RowFailed("bad_anchor") for a box without area inside its frame, or a frame outside the clip,
        ServiceDown if the network cannot be loaded.
        """
        n_frames, (height, width) = len(frames), size or size_of(frames)
        for anchor in anchors:
            check_anchor(anchor, n_frames, height, width)
        if not anchors:
            return {}
        pictures = all_of(frames)  # read while another clip is in the network
        device = device_of(self._torch)
        network = load_once(self.backend, self._network_identity(), device, lambda: self._load_checked(device))
        # Masks are encoded beside the network, which would wait for it.
        with ThreadPoolExecutor(1, thread_name_prefix="encode_masks") as encoder:
            contest = Contest(anchors, n_frames, height, width, encoder)
            with _one_clip_at_a_time, inference(device, self._sam2.precision):
                clip = DeviceClip(pictures, (height, width), device, offload=self._sam2.offload_video)
                pictures.clear()  # on a GPU they are no longer needed here
                walk_clip(self._trackers(network, clip, by_frame(anchors)), n_frames, contest)
            return contest.counts()

    def _network_identity(self) -> tuple[str, ...]:
        return (self.identity["model"],)

    def _load_checked(self, device: torch.device) -> Any:
        with loading(self._checkpoint), MODELS.imports(self.library):
            return self._load(device)

    def _load(self, device: torch.device) -> Any:
        """The network with its weights, in evaluation mode on the device. Raises whatever the library raises."""
        raise NotImplementedError

    def _trackers(self, network: Any, clip: DeviceClip, groups: list[list[Anchor]]) -> list[Tracker]:
        """One tracker per group of anchors on a frame; they share each frame's image features."""
        raise NotImplementedError


class DeviceClip:
    """A clip's frames and boxes, as the network takes them.

    Frames go to the device as they are, all at first or (offload) one by one, and are resized one by one: at the
    network's 1024x1024 a frame takes 12 MiB.
    """

    def __init__(
        self, frames: Sequence[np.ndarray], size: tuple[int, int], device: torch.device, *, offload: bool
    ) -> None:
        """frames: N times (h, w, 3) uint8 RGB; size: (height, width) of the clip, in whose pixels boxes are"""
        import torch

        self.n_frames, (self.height, self.width) = len(frames), size
        self.device = device
        # from_numpy warns of read-only arrays
        pixels = [torch.from_numpy(np.require(frame, requirements=["C", "W"])) for frame in frames]
        self._frames = pixels if offload else [frame.to(device) for frame in pixels]

    def picture(self, t: int, side: int) -> torch.Tensor:
        """Frame t as (3, side, side) float32: normalised, resized as Pillow does it for the sam2 package."""
        import torch

        pixels = self._frames[t].to(self.device).permute(2, 0, 1)[None].float()
        for size in ((pixels.shape[2], side), (side, side)):  # Pillow rounds to whole grey levels after each axis
            pixels = torch.nn.functional.interpolate(pixels, size, mode="bicubic", antialias=True)
            pixels = pixels.round().clamp(0, 255)
        return normalise(pixels[0] / 255)

    def corners(self, anchors: list[Anchor], side: int) -> torch.Tensor:
        """The boxes as (K, 2, 2) float32: upper left and lower right x, y, in pixels of the resized frame."""
        import torch

        boxes = torch.tensor([anchor.box_xyxy for anchor in anchors], dtype=torch.float32).view(-1, 2, 2)
        size = torch.tensor([self.width, self.height])
        # Clipped to the frame: the network was never trained on boxes that reach beyond it.
        return (boxes.clamp(min=0).minimum(size) / size * side).to(self.device)


def by_frame(anchors: list[Anchor]) -> list[list[Anchor]]:
    """Anchors on the same frame together."""
    groups: dict[int, list[Anchor]] = defaultdict(list)
    for anchor in anchors:
        groups[anchor.frame].append(anchor)
    return list(groups.values())


def checkpoint_of(sam2: Sam2Config) -> Checkpoint:
    """The weights that the config names, or the hub's for its architecture. Raises ServiceDown if there are none."""
    if sam2.checkpoint is not None:
        return Checkpoint.of(sam2.checkpoint)
    if sam2.architecture not in PUBLISHED:
        raise ServiceDown(
            f"no default weights for the architecture {sam2.architecture}: set sam2.checkpoint to its weights, or "
            f"sam2.architecture to one of {', '.join(PUBLISHED)}"
        )
    repository, _ = PUBLISHED[sam2.architecture]
    return Checkpoint.of(repository)
