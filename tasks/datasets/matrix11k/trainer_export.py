"""Clips of matrix11k -> the folder that the authors' trainer reads (MATRIX's public code, for Wan2.1-I2V).

    out/videos/000001.mp4                       81 frames of 832x480 at 16 frames/s
    out/mask_annotation/000001/<id1>/000.png    one a frame, 255 in the instance's pixels; <id2>/, ... to <id5>/
    out/mask_annotation/000001/merged/000.png   the first frame's ID map: each id in its colour, on black
    out/metadata.csv                            video,prompt: 000001.mp4,"A <id1> boy kicks a <id2> red ball."
    out/skipped.csv                             clips that are left out, and why

A clip's number is its place among the snapshot's accepted clips. Ids are contiguous, in the order of the snapshot's,
and name the instances that take part in an interaction; `<idN>` stands in front of each of its nouns. place_roles
writes them into the prompt, fit_clips chooses the frames and cuts the picture: what they reject is left out, and so is
a prompt that may exceed 255 tokens, behind which the trainer finds no id. Layout and limits are those that the public
code reads, which was not run on it; the rules, and the colours of `merged`, are ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from schemas.matrix11k import ClipRow, InstanceRow, InteractionRow, MaskTrackRow
from schemas.outcome import RowRejected
from schemas.record import content_hash
from tasks.engine.clip_tables import ClipTables
from tasks.engine.export import (
    SKIPPED,
    ExportFolder,
    ExportOptions,
    Layout,
    Skipped,
    csv_of,
    open_export,
    plan_clips,
)
from tasks.engine.inputs import Inputs
from tasks.engine.progress import counted
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.fit_clips import ClipFootage, FitConfig, fit_clip
from tasks.place_roles import MAX_INSTANCES, PlaceConfig, place_roles, told_of

NAME = "matrix"
# Wan2.1's 480P models; a clip that is too short at this rate is left out.
FIT = FitConfig(width=832, height=480, fps=16, max_fps=16)
IDS = PlaceConfig(words="id")
MAX_TOKENS = 255
LETTERS_PER_TOKEN = 3  # of a word, where no tokenizer counts: UMT5 has longer pieces for most English words
_PIECES = re.compile(r"<id[1-5]>|[A-Za-z]+|\s+|.", re.DOTALL)

CountTokens = Callable[[str], int]


def write_matrix(snapshot: Snapshot, folder: Path, options: ExportOptions) -> str:
    planned, skipped, tables = plan_clips(snapshot, options), Skipped(), ClipTables(snapshot)
    count, config = load_counter(options.tokenizer), FIT.model_copy(update={"n_frames": options.n_frames})
    rows: list[tuple[str, str]] = []
    with open_export(folder, NAME) as export:
        for plan in counted(planned, "clips"):
            name, key = f"{plan.number:06d}", content_hash(plan.key, config, length=16)
            with skipped.judged(plan.clip_id):
                prompt, ids = tagged_prompt(tables, plan.clip_id)
                require_tokens(prompt, count)
                if export.known(name, key) is None:
                    write_clip(export, name, key, footage_of(snapshot, tables, plan.clip_id, ids), config)
                rows.append((f"{name}.mp4", prompt))
        told = skipped.told(len(rows), f"{folder}/metadata.csv")
        with export.lists(["metadata.csv", SKIPPED]) as aside:
            (aside / "metadata.csv").write_bytes(csv_of(("video", "prompt"), rows))
            (aside / SKIPPED).write_bytes(skipped.csv)
    return told


# --- The prompt ------------------------------------------------------------------------------


def tagged_prompt(tables: ClipTables, clip_id: str) -> tuple[str, list[str]]:
    """A clip's caption with <id1>, <id2>, ... in it, and the instances that these are. Raises as place_roles does."""
    (clip,) = tables.rows(ClipRow, clip_id)
    if re.search(r"<id\d", clip.caption or ""):
        raise RowRejected("ids_in_caption", "the caption itself holds an <idN>")
    told = told_of(clip.caption, tables.rows(InteractionRow, clip_id), tables.rows(InstanceRow, clip_id))
    placed = place_roles(told, IDS)
    return placed.prompt, [role.role_id for role in placed.roles if role.kind != "verb"]


def require_tokens(prompt: str, count: CountTokens) -> None:
    """Raises RowRejected for a prompt that may exceed MAX_TOKENS."""
    if (n_tokens := count(prompt)) > MAX_TOKENS:
        raise RowRejected("prompt_too_long", f"{n_tokens} tokens, the most are {MAX_TOKENS}")


def most_tokens(prompt: str) -> int:
    """How many tokens a prompt has at most, its end included, by a rule that asks no tokenizer.

    Two a `<idN>`, one of them for a space beside it; one for each three letters of a word begun; one for each byte of
    any other character in UTF-8. It is an estimate on the safe side for English, not a bound for any text.
    """
    pieces = (piece for piece in _PIECES.findall(prompt) if not piece.isspace())
    return 1 + sum(
        2
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


def footage_of(snapshot: Snapshot, tables: ClipTables, clip_id: str, ids: list[str]) -> ClipFootage:
    """ids: the instances, in the order of their numbers"""
    assert snapshot.inputs is not None, "asked before"
    (clip,) = tables.rows(ClipRow, clip_id)
    track_of = {track.instance_id: track for track in tables.rows(MaskTrackRow, clip_id)}
    inputs = Inputs(folder=snapshot.inputs, allow_outside=True)
    return ClipFootage(inputs, clip, [track_of[instance_id] for instance_id in ids])


def write_clip(export: ExportFolder, name: str, key: str, footage: ClipFootage, config: FitConfig) -> None:
    """A clip's video and masks. Raises as fit_clip does."""
    video, masks = f"videos/{name}.mp4", f"mask_annotation/{name}"
    with export.unit(name, key, [video, masks]) as aside:
        fitted = fit_clip(footage, config)
        (aside / video).write_bytes(fitted.video)
        for number, track in enumerate(fitted.tracks, start=1):
            (folder := aside / masks / f"<id{number}>").mkdir(parents=True)
            for t, mask in enumerate(track.masks()):
                (folder / f"{t:03d}.png").write_bytes(cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes())
        assert fitted.id_map is not None, "a clip has instances"
        (aside / masks / "merged").mkdir()
        (aside / masks / "merged" / "000.png").write_bytes(fitted.id_map)


MATRIX = Layout(
    "the folder that MATRIX's own trainer reads", write_matrix, frozenset({"limit", "n_frames", "tokenizer"})
)
