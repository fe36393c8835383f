"""Makers of videos with known frames, and of files that are no videos though they are called so.

make_video(tmp_path / "shots.mp4", shots([30, 45]), fps=30)    # two flat shots, a cut at frame 30
truncated(tmp_path / "cut.mp4")                                # a film of which two thirds are there
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from tasks.media.encoding import X264_OPTIONS

FPS = 30

# Far apart for PySceneDetect, which compares hue, saturation and brightness.
_SHOT_COLOURS = ((225, 60, 50), (30, 60, 110), (210, 220, 130), (20, 80, 40))


def shots(lengths: Sequence[int], *, width: int = 160, height: int = 96, seed: int = 0) -> np.ndarray:
    """(sum(lengths), H, W, 3) uint8 RGB: shots of a texture that drifts, each with colours of its own."""
    frames = []
    for number, length in enumerate(lengths):
        rng = np.random.default_rng([seed, number])
        noise = rng.uniform(-60, 60, (height, width + length, 3)).astype(np.float32)
        texture = cv2.GaussianBlur(noise, (9, 9), 0) * 3 + _SHOT_COLOURS[number % len(_SHOT_COLOURS)]
        texture = np.clip(texture, 0, 255).astype(np.uint8)
        frames += [texture[:, i : i + width] for i in range(length)]
    return np.stack(frames)


def numbered(n_frames: int, *, width: int = 160, height: int = 96) -> np.ndarray:
    """(N, H, W, 3) uint8 RGB: eight grey bars that spell the frame's number in binary, lowest bit to the left."""
    bits = (np.arange(n_frames)[:, None] >> np.arange(8)) & 1
    bars = np.repeat(bits, width // 8, axis=1).astype(np.uint8) * 200 + 28
    return np.ascontiguousarray(np.broadcast_to(bars[:, None, :, None], (n_frames, height, width, 3)))


def number_of(frame: np.ndarray) -> int:
    """The number that a frame of `numbered` spells, at any size."""
    width = frame.shape[1]
    centres = (2 * np.arange(8) + 1) * width // 16
    return int(((frame[frame.shape[0] // 2, centres].mean(axis=-1) > 128) << np.arange(8)).sum())


def make_video(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    fps: Fraction | int = FPS,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    gop_size: int = 12,
    rotation: int = 0,
    sample_aspect: Fraction | None = None,
    transfer: int | None = None,
    matrix: Sequence[int] | None = None,
    pix_fmt: str = "yuv420p",
    pts: Callable[[int], int] | None = None,
    time_base: Fraction | None = None,
    with_audio: bool = False,
    sound_s: Fraction | None = None,
) -> Path:
    """Encode (H, W, 3) uint8 RGB frames; the suffix names the container.

    sample_aspect: width / height of a pixel, told and not applied
    transfer: av.video.reformatter.ColorTrc, told and not applied
    matrix: the nine numbers of FFmpeg's display matrix
    pts: each frame's, in time_base
    sound_s: length of the audio
    """
    frames = list(frames)
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if codec.startswith("libx264") and (width % 2 or height % 2):
            stream.pix_fmt = "yuv444p"
        stream.options, stream.gop_size = _options(codec, options or {}), gop_size
        if rotation:
            stream.set_display_rotation(rotation)
        if sample_aspect is not None:
            stream.codec_context.sample_aspect_ratio = sample_aspect
        if transfer is not None:
            stream.codec_context.color_trc = transfer
        if matrix is not None:
            stream.set_display_matrix(matrix)
        if time_base is not None:
            stream.codec_context.time_base = time_base
        audio = container.add_stream("aac", rate=48_000) if with_audio else None
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if pts is not None:
                picture.pts, picture.time_base = pts(number), time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        if audio is not None:
            _add_silence(container, audio, seconds=sound_s or Fraction(len(frames)) / Fraction(fps))
    return path


def _options(codec: str, options: dict[str, str]) -> dict[str, str]:
    """One thread and, as in tasks/media/video.py, none of x264's AVX-512 code: it gives other bytes now and then."""
    if codec != "libx264":
        return {"threads": "1", **options}
    own = options.get("x264-params")
    safe = X264_OPTIONS["x264-params"]
    return {"threads": "1", **options, "x264-params": f"{safe}:{own}" if own else safe}


def _add_silence(container: av.container.OutputContainer, stream: av.AudioStream, seconds: Fraction) -> None:
    for start in range(0, int(48_000 * seconds), 1024):
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        sound.sample_rate, sound.pts = 48_000, start
        container.mux(stream.encode(sound))
    container.mux(stream.encode())


def set_pixel_aspect(path: Path, horizontal: int, vertical: int) -> Path:
    """Let an MP4 say another aspect than its bitstream: any two 32-bit numbers."""
    data = path.read_bytes()
    place = data.index(b"pasp") + 4
    path.write_bytes(data[:place] + struct.pack(">II", horizontal, vertical) + data[place + 8 :])
    return path


# --- Files that are broken -------------------------------------------------------------------


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def not_a_video(path: Path) -> Path:
    path.write_bytes(np.random.default_rng(0).bytes(50_000))
    return path


def header_only(path: Path) -> Path:
    """The first bytes of an MP4: its type, and nothing of its index or pictures."""
    return _cut(make_video(path, shots([30])), 40)


def without_index(path: Path) -> Path:
    """An MP4 whose index stood at the end and is gone."""
    return _cut(make_video(path, shots([60])), 2 / 3)


def truncated(path: Path) -> Path:
    """The index is there and announces 60 frames; some of the pictures' bytes are gone."""
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    return _cut(make_video(path, shots([60]), container_options=options), 2 / 3)


def damaged_middle(path: Path) -> Path:
    """All packets are announced and there; 400 bytes of the pictures are noise."""
    make_video(path, shots([60]))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = np.random.default_rng(1).bytes(400)
    path.write_bytes(data)
    return path


def audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        _add_silence(container, container.add_stream("aac", rate=48_000), Fraction(1))
    return path


def concat_list(path: Path, target: Path) -> Path:
    """A list that makes FFmpeg open another file."""
    path.write_text(f"ffconcat version 1.0\nfile {target.name}\n")
    return path


def hls_playlist(path: Path, target: Path) -> Path:
    """A playlist that makes FFmpeg open another file, or a URL."""
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target.name}\n#EXT-X-ENDLIST\n")
    return path


# Every maker here makes a file that must end as a failed row.
BROKEN: dict[str, Callable[[Path], Path]] = {
    "empty": empty,
    "not_a_video": not_a_video,
    "header_only": header_only,
    "without_index": without_index,
    "truncated": truncated,
    "damaged_middle": damaged_middle,
    "audio_only": audio_only,
}


# --- Files that are odd, and videos ----------------------------------------------------------


def one_frame(path: Path) -> Path:
    return make_video(path, shots([1]))


def slow(path: Path) -> Path:
    """Five frames in 5,000 seconds."""
    return make_video(path, numbered(5), fps=Fraction(1, 1000))


def fast(path: Path) -> Path:
    """Sixty frames in 60 milliseconds."""
    return make_video(path, numbered(60), fps=1000)


def variable_rate(path: Path) -> Path:
    """Frame i at i * i + 10 * i milliseconds."""
    return make_video(path, numbered(60), pts=lambda i: i * i + 10 * i, time_base=Fraction(1, 1000))


def odd_size(path: Path) -> Path:
    return make_video(path, shots([30], width=161, height=97))


def interlaced_from(path: Path, n_progressive: int, n_interlaced: int) -> Path:
    """An MPEG stream of H.264 whose frames are flagged as interlaced from one of them on."""
    frames = shots([n_progressive + n_interlaced])
    parts = []
    for number, part in enumerate((frames[:n_progressive], frames[n_progressive:])):
        options = {"bf": "0", "x264-params": f"repeat-headers=1:sps-id={number}" + (":tff=1" if number else "")}
        parts.append(make_video(path.with_suffix(f".{number}.h264"), part, options=options).read_bytes())
    elementary = path.with_suffix(".h264")
    elementary.write_bytes(b"".join(parts))
    with av.open(str(elementary)) as read, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(read.streams.video[0])
        for number, packet in enumerate(p for p in read.demux(video=0) if p.size):
            packet.pts = packet.dts = number * 90_000 // FPS
            packet.time_base, packet.stream = Fraction(1, 90_000), stream
            container.mux(packet)
    return path


def joined(path: Path, parts: Sequence[Path]) -> Path:
    """Files one after another, byte by byte, as `cat` joins them."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def remuxed(path: Path, source: Path, change: Callable[[int, av.Packet], av.Packet | None]) -> Path:
    """The same packets, each as `change` makes it of its number and itself."""
    with av.open(str(source)) as read, av.open(str(path), "w") as written:
        stream = written.add_stream_from_template(read.streams.video[0])
        for number, packet in enumerate(p for p in read.demux(video=0) if p.size):
            changed = change(number, packet)
            if changed is not None:
                changed.stream = stream
                written.mux(changed)
    return path


def _cut(path: Path, size: float) -> Path:
    """Keep so many bytes, or that part of them."""
    data = path.read_bytes()
    path.write_bytes(data[: size if isinstance(size, int) else int(len(data) * size)])
    return path
