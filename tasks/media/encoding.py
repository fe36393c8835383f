"""Frames into a video file: the same frames give the same bytes.

write_video(Path("dog.mp4"), frames, fps=24)        # (H, W, 3) uint8 RGB each -> H.264 in MP4
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable
from fractions import Fraction

import av
import numpy as np

from schemas.storage import AnyPath, write_atomic

# x264's AVX-512 code gives other bytes now and then for the same frames (seen with x264 in PyAV 18.1: 2 results
# in 24 runs). Its SSE2 code agrees with its plain C bit for bit and costs nothing at the sizes written here.
X264_OPTIONS = {"threads": "1", "preset": "veryfast", "x264-params": "asm=mmx2,sse2"}


def encode_video(frames: Iterable[np.ndarray], fps: Fraction | int, crf: int = 18) -> bytes:
    """(H, W, 3) uint8 RGB frames -> H.264 in MP4; the same frames give the same bytes.

    An odd width or height is made even by repeating the last column or row, as 4:2:0 asks for.
    Raises ValueError without frames.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError("a video needs at least one frame")
    height, width = first.shape[:2]
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4", options={"fflags": "bitexact"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options=X264_OPTIONS | {"crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        for frame in itertools.chain([first], frames):
            even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode())
    return sink.getvalue()


def write_video(path: AnyPath, frames: Iterable[np.ndarray], fps: Fraction | int) -> None:
    """Encode frames into a file that appears whole or not at all."""
    write_atomic(path, encode_video(frames, fps))
