"""PySceneDetect's own detectors on small frames.

watch = PySceneDetect(ShotDetectorConfig(detector="content")).begin(probe(path))
for frame in decode_span(path):
    watch.see(frame)
watch.cuts()    [120, 245]: the frames that begin a new shot
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from importlib.metadata import version

import cv2
import numpy as np
from scenedetect.common import FrameTimecode, Timecode
from scenedetect.detector import SceneDetector
from scenedetect.detectors import AdaptiveDetector, ContentDetector
from scenedetect.scene_manager import compute_downscale_factor

from tasks.backends.shot_detectors import ShotDetectorConfig
from tasks.media.video import DecodedFrame, Scaler, VideoInfo


class PySceneDetect:
    """A ShotDetector (tasks/split_scenes.py)."""

    def __init__(self, config: ShotDetectorConfig) -> None:
        self._config = config
        self.identity = {
            "backend": "scenedetect",
            "model": f"{config.detector} detector, PySceneDetect {version('scenedetect-headless')}",
        }

    def begin(self, info: VideoInfo) -> Watch:
        return Watch(info, _detector(info.fps, self._config))


class Watch:
    """One pass over the frames of a span."""

    def __init__(self, info: VideoInfo, detector: SceneDetector) -> None:
        self._info = info
        self._detector = detector
        self._scaler = _scaler(info)
        self._frame_at: dict[int, int] = {}  # ticks of the time base -> frame
        self._cut_ticks: list[int] = []
        self._last: FrameTimecode | None = None

    def see(self, frame: DecodedFrame) -> None:
        ticks = round(frame.time / self._info.time_base)
        self._frame_at[ticks] = len(self._frame_at)
        self._last = FrameTimecode(Timecode(ticks, self._info.time_base), self._info.fps)
        picture = self._scaler.array(frame.picture)
        self._cut_ticks += [cut.pts for cut in self._detector.process_frame(self._last, picture)]

    def cuts(self) -> list[int]:
        """The frames that begin a new shot, counted from 0 in the span; after the last frame, once."""
        if self._last is not None:
            self._cut_ticks += [cut.pts for cut in self._detector.post_process(self._last)]
        return [self._frame_at[ticks] for ticks in self._cut_ticks]


class _Content(ContentDetector):
    """PySceneDetect's content detector with the score computed by OpenCV: the same to the last bit, in a third
    of the time. It overrides a method that is private there: the dependency is pinned, the tests compare scores.
    """

    _planes: Sequence[np.ndarray] | None = None

    def _calculate_frame_score(self, timecode: FrameTimecode, frame_img: np.ndarray) -> float:
        """Mean difference of hue, saturation and brightness to the frame before, 0..255; 0 for the first frame."""
        previous, self._planes = self._planes, cv2.split(cv2.cvtColor(frame_img, cv2.COLOR_BGR2HSV))
        if previous is None:
            return 0.0
        sums = [cv2.norm(a, b, cv2.NORM_L1) for a, b in zip(self._planes, previous, strict=True)]
        return sum(total / previous[0].size for total in sums) / 3.0


class _Adaptive(_Content, AdaptiveDetector):
    """PySceneDetect's adaptive detector on the same scores."""


def _detector(fps: Fraction, config: ShotDetectorConfig) -> SceneDetector:
    min_scene_len = round(config.min_scene_len_s * fps)  # frames: the command line rounds likewise
    if config.detector == "content":
        return _Content(threshold=config.threshold, min_scene_len=min_scene_len)
    return _Adaptive(
        adaptive_threshold=config.adaptive_threshold,
        min_content_val=config.min_content_val,
        min_scene_len=min_scene_len,
    )


def _scaler(info: VideoInfo) -> Scaler:
    """Frames as small as PySceneDetect's command line makes them, as BGR.

    It samples a few points of the full frame without smoothing (cv2's linear interpolation); taking single
    points straight from the decoder's planes comes closest to its scores, within 0.5 of 255, and costs least.
    The detectors' scores are means over pixels, so rotation need not be applied.
    """
    width, height = (info.height, info.width) if info.rotation in (90, 270) else (info.width, info.height)
    factor = compute_downscale_factor(max(width, height))
    return Scaler(max(1, round(width / factor)), max(1, round(height / factor)), pixels="bgr24", interpolation="POINT")
