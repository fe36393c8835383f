"""Pictures of clips: a video and review frames with the masks painted on, candidates with their boxes.

draw_clip(clip, tracks, video, folder) ->
    clips/clip-81b2....mp4                 the clip, at most 300 frames and 480 px
    clips/clip-81b2...-24.jpg              its review frame 24
draw_candidates(clip, candidates, video, folder) ->
    clips/clip-07aa...-candidate0.jpg      the first candidate's frame with its box
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from schemas.clip import Clip
from schemas.mask_track import decode_mask
from schemas.matrix11k import CandidateRow, ClipRow, MaskTrackRow
from schemas.storage import AnyPath
from tasks.media.video import iter_frames, read_frames, write_video
from tasks.pages.palette import colour_of
from tasks.pages.pictures import draw_box, draw_label, write_jpeg

MAX_SIDE_PX = 480  # longer side
MAX_VIDEO_FRAMES = 300  # of a longer clip, every 2nd, 3rd, ... frame is shown
MAX_VIDEO_FPS = 30
MAX_FPS_DENOMINATOR = 60_060  # an encoder holds a rate's parts in 32 bits


@dataclass(frozen=True)
class Pictures:
    """Where a clip's pictures lie, relative to the report."""

    video: str
    poster: str | None
    frames: list[tuple[int, str]]  # review frames: index in the clip, JPEG
    step: int  # every step-th frame of the clip is in the video


def draw_clip(clip: ClipRow, tracks: Sequence[MaskTrackRow], video: Path, folder: AnyPath) -> Pictures:
    """Write the clip's video and its review frames, masks painted on. Raises RowFailed if it cannot be decoded."""
    step = video_step(clip)
    review: dict[int, np.ndarray] = {}

    def painted() -> Iterator[np.ndarray]:
        frames = iter_frames(video, clip.start.fraction, clip.end.fraction, max_side=MAX_SIDE_PX)
        for index, (_, frame) in enumerate(frames):
            if index % step and index not in clip.review_frames:
                continue
            picture = paint_masks(frame, tracks, index)
            if index in clip.review_frames:
                review[index] = picture
            if index % step == 0:
                yield picture

    film = f"clips/{clip.clip_id}.mp4"
    write_video(folder / film, painted(), (clip.fps.fraction / step).limit_denominator(MAX_FPS_DENOMINATOR))
    frames = [(index, f"clips/{clip.clip_id}-{index}.jpg") for index in sorted(review)]
    for index, name in frames:
        write_jpeg(folder / name, review[index])
    poster = frames[len(frames) // 2][1] if frames else None
    return Pictures(video=film, poster=poster, frames=frames, step=step)


def video_step(clip: ClipRow) -> int:
    """Of how many frames one is shown, so that the report's video stays small."""
    return max(1, math.ceil(clip.n_frames / MAX_VIDEO_FRAMES), math.ceil(clip.fps.fraction / MAX_VIDEO_FPS))


def draw_candidates(clip: Clip, candidates: Sequence[CandidateRow], video: Path, folder: AnyPath) -> list[str]:
    """Write one picture a candidate, with its box. Raises RowFailed if the clip cannot be decoded."""
    indices = sorted({candidate.frame for candidate in candidates})
    frames = dict(zip(indices, read_frames(video, clip, indices, MAX_SIDE_PX), strict=True))
    names = []
    for number, candidate in enumerate(candidates):
        picture = frames[candidate.frame].copy()  # another candidate may lie on the same frame
        scale, colour = picture.shape[1] / clip.width, colour_of(candidate.instance_id)
        draw_box(picture, candidate.box_xyxy, scale, candidate.instance_id, colour)
        names.append(f"clips/{clip.clip_id}-candidate{number}.jpg")
        write_jpeg(folder / names[-1], picture)
    return names


def paint_masks(frame: np.ndarray, tracks: Sequence[MaskTrackRow], index: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> a copy with the masks of frame `index`, which are scaled to it."""
    height, width = frame.shape[:2]
    picture = frame.copy()
    labels = []
    for track in tracks:
        box = track.box_xyxy[index]
        if box is None:
            continue
        mask = decode_mask(track.counts[index], track.height, track.width).astype(np.uint8) * 255
        small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) >= 128
        colour = colour_of(track.instance_id)
        picture[small] = (0.6 * picture[small] + 0.4 * np.array(colour)).astype(np.uint8)
        outline, _ = cv2.findContours(small.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outline, -1, colour, 1, cv2.LINE_AA)
        scale = width / track.width
        labels.append((track.instance_id, (round(box[0] * scale), round(box[1] * scale)), colour))
    for text, corner, colour in labels:  # last, so that no mask covers them
        draw_label(picture, text, corner, colour)
    return picture
