"""A clip's film and stills: its frames with something painted on them or put beside them.

    paint = partial(paint_masks, tracks)
    draw_film("clip-81b2...", snapshot.video("clip-81b2..."), 240, Fraction(24), paint, folder, stills=[0, 24])
    ->  Film(video="clips/clip-81b2....mp4", stills={0: "clips/clip-81b2...-0.jpg", 24: ...}, width=480, ...)

A painter is a function of a frame and its number in the clip: a dataset paints what it knows of its clips.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fractions import Fraction

import cv2
import numpy as np

from schemas.candidate import Box
from schemas.mask_track import MaskTrack, decode_mask
from schemas.outcome import RowFailed
from schemas.storage import AnyPath, write_atomic
from tasks.engine.progress import counted
from tasks.engine.snapshots import ClipVideo, Snapshot, SnapshotError
from tasks.media.encoding import encode_video
from tasks.media.video import iter_frames
from tasks.pages.colours import Colour, colour_of
from tasks.pages.views import Film

logger = logging.getLogger(__name__)

MAX_SIDE_PX = 480  # longer side of a frame, before a painter puts something beside it
MAX_FILM_FRAMES = 300  # of a longer clip, every 2nd, 3rd, ... frame is in the film
MAX_FILM_FPS = 30
MAX_FPS_DENOMINATOR = 60_060  # an encoder holds a rate's parts in 32 bits
CRF = 20
JPEG_QUALITY = 85

# (H, W, 3) uint8 RGB of at most MAX_SIDE_PX, its number in the clip -> another picture, the frame left as it is
Painter = Callable[[np.ndarray, int], np.ndarray]


# --- Films -----------------------------------------------------------------------------------


def film_of(
    snapshot: Snapshot,
    clip_id: str,
    n_frames: int,
    fps: Fraction,
    paint: Painter,
    folder: AnyPath,
    stills: Collection[int] = (0,),
) -> tuple[Film | None, str | None]:
    """A clip's film as `draw_film` draws it, or why there is none."""
    try:
        return draw_film(clip_id, snapshot.video(clip_id), n_frames, fps, paint, folder, stills), None
    except (RowFailed, SnapshotError) as error:
        logger.warning("%s: no film: %s", clip_id, error)
        return None, str(error)


def draw_film(
    clip_id: str,
    video: ClipVideo,
    n_frames: int,
    fps: Fraction,
    paint: Painter,
    folder: AnyPath,
    stills: Collection[int] = (0,),
) -> Film:
    """Write the clip's film and some of its frames as stills; the middle still is the poster.

    Raises RowFailed if the video cannot be decoded or has other frames than the clip.
    """
    step = film_step(n_frames, fps)
    kept: dict[int, np.ndarray] = {}

    def painted() -> Iterator[np.ndarray]:
        n_seen = 0
        frames = iter_frames(video.source, video.start, video.end, max_side=MAX_SIDE_PX, size=video.size)
        for index, (_, frame) in enumerate(counted(frames, f"frames of the film of {clip_id}", n_frames)):
            n_seen += 1
            if index >= n_frames or (index % step and index not in stills):
                continue
            picture = paint(frame, index)
            if index in stills:
                kept[index] = picture
            if index % step == 0:
                yield picture
        if n_seen != n_frames:
            raise RowFailed("frame_count", f"{n_seen} frames instead of {n_frames}", retryable=False)

    frames = painted()
    first = next(frames)
    film = f"clips/{clip_id}.mp4"
    film_fps = (fps / step).limit_denominator(MAX_FPS_DENOMINATOR)
    write_atomic(folder / film, encode_video(itertools.chain([first], frames), film_fps, CRF))
    names = {index: f"clips/{clip_id}-{index}.jpg" for index in sorted(kept)}
    for index, name in names.items():
        write_jpeg(folder / name, kept[index])
    poster = list(names.values())[len(names) // 2] if names else None
    return Film(video=film, poster=poster, stills=names, width=first.shape[1], height=first.shape[0], step=step)


def film_step(n_frames: int, fps: Fraction) -> int:
    """Of how many frames one is in the film, so that it stays small."""
    return max(1, math.ceil(n_frames / MAX_FILM_FRAMES), math.ceil(fps / MAX_FILM_FPS))


def write_jpeg(path: AnyPath, picture: np.ndarray) -> None:
    """picture: (H, W, 3) uint8 RGB."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    write_atomic(path, data.tobytes())


# --- Painters --------------------------------------------------------------------------------


def paint_masks(tracks: Sequence[MaskTrack], frame: np.ndarray, index: int) -> np.ndarray:
    """The frame with the instances' masks, scaled to it, in their colours and with their ids."""
    height, width = frame.shape[:2]
    picture = frame.copy()
    for track in tracks:
        if track.present[index]:
            mask = decode_mask(track.counts[index], track.height, track.width).astype(np.uint8) * 255
            small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) >= 128
            colour = colour_of(track.instance_id)
            picture[small] = (0.6 * picture[small] + 0.4 * np.array(colour)).astype(np.uint8)
            draw_outline(picture, small, colour)
    for track in tracks:  # last, so that no mask covers a label
        if (box := track.box_xyxy[index]) is not None:
            x, y = (round(edge * width / track.width) for edge in box[:2])
            draw_label(picture, track.instance_id, (x, y), colour_of(track.instance_id))
    return picture


def paint_boxes(tracks: Sequence[MaskTrack], names: Mapping[str, str], frame: np.ndarray, index: int) -> np.ndarray:
    """The frame with a box where an instance is found, and no box where it is lost. names: by instance id"""
    picture = frame.copy()
    for track in tracks:
        if (box := track.box_xyxy[index]) is not None:
            scale = picture.shape[1] / track.width
            draw_box(picture, box, scale, names[track.instance_id], colour_of(track.instance_id))
    return picture


# --- Drawing in place: pictures are (H, W, 3) uint8 RGB --------------------------------------


def draw_outline(picture: np.ndarray, mask: np.ndarray, colour: Colour) -> None:
    """mask: (H, W) bool of the picture's size"""
    edges, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, edges, -1, colour, 1, cv2.LINE_AA)


def draw_box(picture: np.ndarray, box_xyxy: Box, scale: float, text: str, colour: Colour) -> None:
    """A labelled box, given in px of the unscaled picture."""
    left, top, right, bottom = (round(edge * scale) for edge in box_xyxy)
    cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), colour, 2)
    draw_label(picture, text, (left, top), colour)


def draw_label(picture: np.ndarray, text: str, corner: tuple[int, int], colour: Colour) -> None:
    """A few ASCII letters above a corner (x, y), inside the picture."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.38
    (text_width, text_height), _ = cv2.getTextSize(text, font, size, 1)
    x = max(0, min(corner[0], picture.shape[1] - text_width - 4))
    y = max(0, corner[1] - text_height - 5)
    cv2.rectangle(picture, (x, y), (x + text_width + 3, y + text_height + 4), colour, cv2.FILLED)
    cv2.putText(picture, text, (x + 2, y + text_height + 2), font, size, (20, 20, 20), 1, cv2.LINE_AA)
