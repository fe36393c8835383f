"""Opening a video file: what may be opened, and which of its streams is the picture.

    with opened(Path("dog.mp4")) as (container, stream):    # UnreadableVideo if it is none
        ...

A file is opened for what it holds and never for what it names: no playlist, no protocol. Of several video streams
the one that players show is taken; see `main_stream`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Disposition

from schemas.outcome import RowFailed
from tasks.media.file_kinds import why_unreadable

MAX_FRAME_PIXELS = 2**26  # 8192 x 8192: a header is free to claim more than a machine can hold

# Containers that hold pictures and times and nothing else. Above all no playlists (HLS, concat, image
# sequences): FFmpeg tells them by content, whatever the file is called, and opens what they name.
_CONTAINERS = (
    "mov,matroska,webm,avi,flv,asf,mpegts,mpeg,ogg,mxf,nut,ivf,gif,h264,hevc,m4v,mpegvideo,obu,yuv4mpegpipe,dv"
)
_NO_PICTURE = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image | Disposition.dependent
_HIDES_DAMAGE = frozenset({"hevc", "mjpeg"})  # decoders that mark no frame as damaged, and leave some out, unless asked
_SPECIAL = Disposition.comment | Disposition.hearing_impaired | Disposition.visual_impaired


class UnreadableVideo(RowFailed):
    """The file's bytes are no video that can be read exactly.

    reason: "unreadable_video", "truncated_video", or the name of what is refused ("odd_rotation")
    """

    def __init__(self, detail: str, *, reason: str = "unreadable_video") -> None:
        super().__init__(reason, detail, retryable=False)


@contextmanager
def opened(video: Path | bytes) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The container, of a file or in memory, and its video stream; what FFmpeg raises becomes UnreadableVideo."""
    name = name_of(video)
    # The scheme keeps a name like "concat:a|b" from being taken for a protocol.
    source = io.BytesIO(video) if isinstance(video, bytes) else f"file:{video.absolute()}"
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    try:
        with av.open(source, "r", options=options) as container:
            stream = main_stream(container)
            # Not by frames: then it depends on the threads' timing whether damage is told with the right frame or
            # at all.
            stream.thread_type = "SLICE"
            if stream.codec_context.name in _HIDES_DAMAGE:
                stream.codec_context.options = {"err_detect": "explode"}
            yield container, stream
    except (av.error.FileNotFoundError, av.error.PermissionError) as error:
        raise RowFailed("missing_video", f"{name}: {error.strerror}", retryable=True) from error
    except av.FFmpegError as error:
        raise UnreadableVideo(f"{name}: {why_unreadable(video, error.strerror)}") from error


def name_of(video: Path | bytes) -> str:
    return f"a video of {len(video)} bytes" if isinstance(video, bytes) else video.name


def moving_streams(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams that are pictures of their own: no covers, thumbnails, or layers of another stream."""
    return [stream for stream in container.streams.video if not stream.disposition & _NO_PICTURE]


def main_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The stream that players show: the default one; of several or none, the one with most pixels, then the first.

    So FFmpeg chooses (mpv and VLC take the first in place of the largest). A stream that cannot be decoded, or has
    one frame, or is made for a few viewers (a commentary, sign language) is taken only where there is no other.
    Raises UnreadableVideo if there is none that can be decoded.
    """
    moving = moving_streams(container)
    if not moving:
        raise UnreadableVideo(f"it holds no moving picture, only {len(container.streams)} other streams")
    stream = max(moving, key=_preference)
    if _n_pixels(stream) == 0:
        raise UnreadableVideo("its video stream has no size")
    if _n_pixels(stream) > MAX_FRAME_PIXELS:
        codec = stream.codec_context
        raise UnreadableVideo(f"frames of {codec.width}x{codec.height} exceed {MAX_FRAME_PIXELS} pixels")
    return stream


def _preference(stream: av.VideoStream) -> tuple[bool, bool, bool, bool, int, int]:
    pixels = _n_pixels(stream)
    return (
        pixels > 0,
        stream.frames != 1,  # 0: the container does not say
        not stream.disposition & _SPECIAL,
        bool(stream.disposition & Disposition.default),
        pixels,
        -stream.index,
    )


def _n_pixels(stream: av.VideoStream) -> int:
    """Of a frame; 0 where there is no decoder or no size."""
    codec = stream.codec_context
    return 0 if codec is None else codec.width * codec.height


def exact(value: Fraction | None) -> Fraction:
    """A plain Fraction: PyAV's own rationals mix with nothing else. 0 for None."""
    return Fraction(value.numerator, value.denominator) if value else Fraction(0)
