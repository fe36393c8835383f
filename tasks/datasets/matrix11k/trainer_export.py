"""Clips of matrix11k -> the folder that the authors' trainer reads (MATRIX's public code, for Wan2.1-I2V).

    out/videos/000001.mp4                       81 frames of 832x480 at 16 frames/s
    out/mask_annotation/000001/<id1>/000.png    one a frame, 255 in the instance's pixels; <id2>/, ... to <id5>/
    out/mask_annotation/000001/merged/000.png   the first frame's ID map: each id in its colour, on black
    out/metadata.csv                            video,prompt: 000001.mp4,"A <id1> boy kicks a <id2> red ball."
    out/skipped.csv                             clips that are left out, and why

A clip's number is its place among the snapshot's accepted clips. Ids are contiguous, in the order of the snapshot's.
`<idN>` stands behind the article of the first words that name the instance. A clip is left out if it has more than
five instances, a noun cannot be found in its caption, it is shorter than the frames that are asked for, an instance is
cut off by the crop, or its prompt may exceed 255 tokens. The colours of `merged` and all of these rules but the layout
are ours; the trainer itself was not run on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from schemas.mask_track import MaskTrack
from schemas.matrix11k import ClipRow, InstanceRow, MaskTrackRow
from schemas.outcome import RowRejected
from schemas.record import content_hash
from tasks.datasets.matrix11k.view import noun_spans
from tasks.engine.export import (
    SKIPPED,
    ExportFolder,
    ExportOptions,
    Layout,
    PlannedClip,
    Skipped,
    by_shard,
    csv_of,
    open_export,
    plan_clips,
)
from tasks.engine.progress import advance
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.exports.clips import chosen_frames_of
from tasks.exports.fitting import Fitting, fit
from tasks.media.encoding import encode_video
from tasks.pages.colours import colour_of
from tasks.pages.marks import ARTICLES

NAME = "matrix"
WIDTH, HEIGHT, FPS = 832, 480, 16  # px, frames/s: of Wan2.1's 480P models
MAX_INSTANCES, MAX_TOKENS = 5, 255
LETTERS_PER_TOKEN = 3  # of a word, where no tokenizer counts: UMT5 has longer pieces for most English words
_PIECES = re.compile(r"<id[1-5]>|[A-Za-z]+|\s+|.", re.DOTALL)

CountTokens = Callable[[str], int]


def write_matrix(snapshot: Snapshot, folder: Path, options: ExportOptions) -> str:
    planned, skipped = plan_clips(snapshot, options), Skipped()
    count = load_counter(options.tokenizer)
    rows: list[tuple[str, str]] = []
    with open_export(folder, NAME) as export:
        for plans in by_shard(planned):
            ids = [plan.clip_id for plan in plans]
            clips, instances = snapshot.rows_by_clip(ClipRow, ids), snapshot.rows_by_clip(InstanceRow, ids)
            tracks = snapshot.rows_by_clip(MaskTrackRow, ids)
            for plan in plans:
                (clip,) = clips[plan.clip_id]
                with skipped.judged(plan.clip_id):
                    prompt, number_of = tagged_prompt(clip.caption or "", instances[plan.clip_id])
                    require_tokens(prompt, count)
                    chosen = {number_of[t.instance_id]: t for t in tracks[plan.clip_id] if t.instance_id in number_of}
                    fitting = fit(clip.n_frames, clip.fps.fraction, clip.width, clip.height, **_wanted(options))
                    write_clip(export, snapshot, plan, clip, chosen, fitting)
                    rows.append((f"{plan.number:06d}.mp4", prompt))
                advance(plan.number, len(planned), "clips")
        told = skipped.told(len(rows), f"{folder}/metadata.csv")
        with export.lists(["metadata.csv", SKIPPED]) as aside:
            (aside / "metadata.csv").write_bytes(csv_of(("video", "prompt"), rows))
            (aside / SKIPPED).write_bytes(skipped.csv)
    return told


def _wanted(options: ExportOptions) -> dict[str, Any]:
    return {"to_frames": options.n_frames, "to_fps": FPS, "to_width": WIDTH, "to_height": HEIGHT}


# --- The prompt ------------------------------------------------------------------------------


def tagged_prompt(caption: str, instances: Sequence[InstanceRow]) -> tuple[str, dict[str, int]]:
    """The caption with `<id1>`, `<id2>`, ... in it, and {instance_id: its number there}.

    Raises RowRejected for too many instances, or one whose noun the caption does not say, or says of another one, too.
    """
    if len(instances) > MAX_INSTANCES:
        raise RowRejected("too_many_instances", f"{len(instances)} instances; the trainer knows {MAX_INSTANCES}")
    if re.search(r"<id\d", caption):
        raise RowRejected("ids_in_caption", "the caption itself holds an <idN>")
    ordered = sorted(instances, key=lambda instance: int(instance.instance_id.removeprefix("id")))
    tags: list[tuple[int, str]] = []
    taken: list[tuple[int, int]] = []
    for number, instance in enumerate(ordered, start=1):
        free = [
            span
            for span in sorted(noun_spans(caption, instance, instances))
            if all(span[1] <= start or end <= span[0] for start, end in taken)
        ]
        if not free:
            raise RowRejected("noun_not_found", f"{instance.instance_id}: the caption does not say {instance.noun!r}")
        start, end = free[0]
        taken.append((start, end))
        article = re.match(ARTICLES, caption[start:end], re.IGNORECASE)
        tags.append((start + (article.end() if article else 0), f"<id{number}> "))
    for at, tag in sorted(tags, reverse=True):
        caption = caption[:at] + tag + caption[at:]
    return caption, {instance.instance_id: number for number, instance in enumerate(ordered, start=1)}


def require_tokens(prompt: str, count: CountTokens) -> None:
    """Raises RowRejected for a prompt that may exceed MAX_TOKENS."""
    if (n_tokens := count(prompt)) > MAX_TOKENS:
        raise RowRejected("prompt_too_long", f"{n_tokens} tokens, the most are {MAX_TOKENS}")


def most_tokens(prompt: str) -> int:
    """How many tokens a prompt has at most, its end included, by a rule that asks no tokenizer.

    One a `<idN>`, one for each three letters of a word begun, one for each other character, by its bytes in UTF-8;
    spaces belong to the words behind them. It is an estimate on the safe side for English, not a bound for any text.
    """
    pieces = (piece for piece in _PIECES.findall(prompt) if not piece.isspace())
    return 1 + sum(
        1
        if piece.startswith("<id")
        else -(-len(piece) // LETTERS_PER_TOKEN)
        if piece.isascii()
        else len(piece.encode())
        for piece in pieces
    )


def load_counter(tokenizer: str | None) -> CountTokens:
    """Counts a prompt's tokens, its end included. tokenizer: a folder; None: `most_tokens`.

    Raises SnapshotError if it cannot be loaded.
    """
    if tokenizer is None:
        return most_tokens
    try:
        from transformers import AutoTokenizer

        loaded = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
    except (ImportError, OSError, ValueError) as error:
        raise SnapshotError(f"--tokenizer {tokenizer}: {error}") from error
    loaded.add_special_tokens(
        {"additional_special_tokens": [f"<id{number}>" for number in range(1, MAX_INSTANCES + 1)]}
    )
    return lambda prompt: len(loaded(prompt).input_ids)


# --- The pictures ----------------------------------------------------------------------------


def write_clip(
    export: ExportFolder,
    snapshot: Snapshot,
    plan: PlannedClip,
    clip: ClipRow,
    tracks: Mapping[int, MaskTrack],
    fitting: Fitting,
) -> None:
    """A clip's video and masks, unless they are there. tracks: by their number in the prompt.

    Raises RowFailed if its source cannot be read, RowRejected if the crop cuts an instance off.
    """
    name, key = f"{plan.number:06d}", content_hash(plan.key, fitting.frames, fitting.size, length=16)
    if export.known(name, key) is not None:
        return
    video, masks = f"videos/{name}.mp4", f"mask_annotation/{name}"
    with export.unit(name, key, [video, masks]) as aside:
        first: dict[int, np.ndarray] = {}
        for number, track in sorted(tracks.items()):
            (folder := aside / masks / f"<id{number}>").mkdir(parents=True)
            n_seen = 0
            for t, frame in enumerate(fitting.frames):
                mask = fitting.mask(track.masks(slice(frame, frame + 1))[0])
                n_seen += mask.any()
                first.setdefault(number, mask)
                write_png(folder / f"{t:03d}.png", mask.astype(np.uint8) * 255)
            if not n_seen:
                raise RowRejected("instance_cut_off", f"{track.instance_id} is not in the part that is shown")
        (aside / masks / "merged").mkdir()
        write_png(aside / masks / "merged" / "000.png", id_map(first))
        frames = chosen_frames_of(snapshot.cut(clip), fitting.frames, clip.n_frames)
        (aside / video).write_bytes(encode_video((fitting.picture(frame) for frame in frames), FPS))


def id_map(masks: Mapping[int, np.ndarray]) -> np.ndarray:
    """{number: (H, W) bool} -> (H, W, 3) uint8 RGB: every instance in its colour on black, the smaller on top."""
    (height, width), *_ = (mask.shape for mask in masks.values())
    picture = np.zeros((height, width, 3), np.uint8)
    for number, mask in sorted(masks.items(), key=lambda item: (-int(item[1].sum()), item[0])):
        picture[mask] = colour_of(f"id{number}")
    return picture


def write_png(path: Path, picture: np.ndarray) -> None:
    """picture: (H, W) or (H, W, 3) RGB, uint8"""
    stored = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    path.write_bytes(cv2.imencode(".png", stored)[1].tobytes())


MATRIX = Layout(
    "the folder that MATRIX's own trainer reads", write_matrix, frozenset({"limit", "n_frames", "tokenizer"})
)
