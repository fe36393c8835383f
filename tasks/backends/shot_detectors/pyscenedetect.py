"""PySceneDetect's own detectors: on the frames, to the last bit, that its command line gives them.

watch = PySceneDetect(ShotDetectorConfig(detector=["content", "fades"])).begin(probe(path))
for frame in decode_span(path):
    watch.see(frame)
watch.transitions()    [Transition(120, 120, 120), Transition(start=233, cut=240, stop=247)]    a cut, and black
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from importlib.metadata import version

import cv2
import numpy as np
from scenedetect.common import FrameTimecode, Timecode
from scenedetect.detector import SceneDetector
from scenedetect.detectors import AdaptiveDetector, ContentDetector, ThresholdDetector
from scenedetect.scene_manager import compute_downscale_factor

from tasks.backends.shot_detectors import ShotDetectorConfig, Transition
from tasks.media.decoding import DecodedFrame, VideoInfo
from tasks.media.pictures import Scaler

_MIN_BLACK_S = 0.1  # the command line's --min-out-length


class PySceneDetect:
    """A ShotDetector (tasks/split_scenes.py)."""

    def __init__(self, config: ShotDetectorConfig) -> None:
        self._config = config
        names = " + ".join(name for name in config.detector if name != "transnet")
        self.identity = {"backend": "scenedetect", "model": f"{names}, PySceneDetect {version('scenedetect-headless')}"}

    def begin(self, info: VideoInfo) -> Watch:
        return Watch(info, _detectors(info.fps, self._config))


class Watch:
    """One pass over the frames of a span, with several detectors."""

    def __init__(self, info: VideoInfo, detectors: Sequence[SceneDetector]) -> None:
        self._info = info
        self._detectors = detectors
        self._small = _SmallFrames(info)
        self._frame_at: dict[int, int] = {}  # ticks of the time base -> frame
        self._found: list[Transition] = []
        self._last: FrameTimecode | None = None

    def see(self, frame: DecodedFrame) -> None:
        ticks = round(frame.time / self._info.time_base)
        number = self._frame_at[ticks] = len(self._frame_at)
        self._last = FrameTimecode(Timecode(ticks, self._info.time_base), self._info.fps)
        picture = self._small.bgr(frame)
        for detector in self._detectors:
            faded_out = detector.last_fade["frame"] if isinstance(detector, ThresholdDetector) else None
            for cut in detector.process_frame(self._last, picture):
                self._found.append(self._transition(cut, faded_out, number))

    def transitions(self) -> list[Transition]:
        if self._last is not None:
            for detector in self._detectors:
                for cut in detector.post_process(self._last):
                    fade = cut if isinstance(detector, ThresholdDetector) else None
                    self._found.append(self._transition(cut, fade, len(self._frame_at)))
        return self._found

    def _transition(self, cut: FrameTimecode, faded_out: FrameTimecode | None, faded_in: int) -> Transition:
        """faded_out: since when it is black, None for a cut; faded_in: the first frame that is not"""
        if faded_out is None:
            return Transition.at(self._frame_at[cut.pts])
        start = self._frame_at[faded_out.pts]
        if faded_in == len(self._frame_at):  # black to the end belongs to no shot
            return Transition(start, start, faded_in)
        # Not from the cut's own time: that is counted in frames of the average rate.
        return Transition(start, start + round((faded_in - start) / 2), faded_in)


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


class _White(ThresholdDetector):
    """PySceneDetect's detector of fades on the darkest part of the picture: by its mean, a page of text is white."""

    def process_frame(self, timecode: FrameTimecode, frame_img: np.ndarray) -> list[FrameTimecode]:
        parts = cv2.resize(frame_img, (32, 18), interpolation=cv2.INTER_AREA)
        return super().process_frame(timecode, parts.min(keepdims=True))


def _detectors(fps: Fraction, config: ShotDetectorConfig) -> list[SceneDetector]:
    min_scene_len = round(config.min_scene_len_s * fps)  # frames: the command line rounds likewise
    made: list[SceneDetector] = []
    for name in config.detector:
        match name:
            case "content":
                made.append(_Content(threshold=config.threshold, min_scene_len=min_scene_len))
            case "adaptive":
                made.append(
                    _Adaptive(
                        adaptive_threshold=config.adaptive_threshold,
                        min_content_val=config.min_content_val,
                        min_scene_len=min_scene_len,
                    )
                )
            case "fades":
                shared = {
                    "min_scene_len": min_scene_len,
                    "min_out_length": round(_MIN_BLACK_S * fps),
                    "add_final_scene": True,
                }
                made.append(ThresholdDetector(config.fade_threshold, **shared))
                made.append(_White(256 - config.fade_threshold, method=ThresholdDetector.Method.CEILING, **shared))
    return made


class _SmallFrames:
    """Frames as small as PySceneDetect's command line makes them, and the same to the last bit.

    Its linear interpolation takes two rows and columns of the full BGR frame for each of the small one. Points
    straight from the decoder's planes cost less, but are noisier: scores of grainy video came out up to 1.3 higher,
    which moved cuts.
    """

    def __init__(self, info: VideoInfo) -> None:
        width, height = (info.height, info.width) if info.orientation.transposed else (info.width, info.height)
        factor = compute_downscale_factor(max(width, height))
        self._orientation = info.orientation
        self._size = (max(1, round(info.width / factor)), max(1, round(info.height / factor)))
        # Bicubic is OpenCV's choice, where chroma planes are smaller and FFmpeg has no converter of its own for them.
        self._full = Scaler(width, height, pixels="bgr24", interpolation="BICUBIC")

    def bgr(self, frame: DecodedFrame) -> np.ndarray:
        """(H, W, 3) uint8."""
        full = np.ascontiguousarray(self._orientation.upright(self._full.array(frame.picture)))
        return full if full.shape[1::-1] == self._size else cv2.resize(full, self._size, interpolation=cv2.INTER_LINEAR)
