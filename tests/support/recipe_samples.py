"""Snapshots of samples as the prepare flows publish them, with random latents; keyword arguments change rows.

kinemask_samples(tmp_path / "kinemask-samples-1", [("clip-a", "interactions", "train", [3])])
matrix_samples(tmp_path / "matrix-samples-1", {"clip-a": "train", "clip-b": "test"})
dsr_samples(tmp_path / "dsr-samples-1", [make_sample(seed=0, dsr_score=0.9), make_sample(seed=1)])
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from schemas.dsr import SampleRow as DsrSampleRow
from schemas.kinemask import ObjectRow
from schemas.mask_track import MaskTrack, encode_mask
from schemas.scene import SceneSet, Split
from schemas.storage import AnyPath
from schemas.training_samples import (
    EncodingRow,
    RoleRow,
    SampleMaskRow,
    SampleObjectRow,
    SampleRow,
    SampleSceneRow,
    SampleScoreRow,
    SampleVideoRow,
    Span,
)
from tasks.engine.snapshots import Snapshot
from tasks.media.encoding import encode_video
from tasks.media.id_map import id_map
from tasks.media.png import encode_png
from tests.support.snapshots import write_snapshot

N_FRAMES, HEIGHT, WIDTH = 9, 64, 96  # of kinemask's
TEXT_DIM = 16  # of the tiny base models

Scene = tuple[str, SceneSet, Split, list[int]]  # clip_id, set, split, frames of its collisions


def stored(name: str, *shape: int, key: str) -> bytes:
    """safetensors with one tensor, drawn from the key."""
    import torch
    from safetensors.torch import save

    generator = torch.Generator().manual_seed(zlib.crc32(f"{name} {key}".encode()))
    return save({name.partition(".")[2] or name: torch.randn(shape, generator=generator)})


def sample_row(clip_id: str, **changes: Any) -> SampleRow:
    values: dict[str, Any] = {
        "split": "train",
        "prompt": f"a red cube of {clip_id}",
        "fps": 8.0,
        "n_frames": N_FRAMES,
        "width": WIDTH,
        "height": HEIGHT,
        "made_by": [],
    } | changes
    n, width, height = (values[name] for name in ("n_frames", "width", "height"))
    where = {"source_frames": list(range(n)), "source_box_xyxy": (0, 0, width, height)}
    return SampleRow(clip_id=clip_id, **where | values)


def object_rows(clip_id: str) -> list[ObjectRow]:
    """A red cube that moves to the right and faster every frame, and a blue one that rests."""

    def row(instance_id: str, left: int, moves: bool) -> ObjectRow:
        masks = np.zeros((N_FRAMES, HEIGHT, WIDTH), bool)
        for frame, mask in enumerate(masks):
            mask[20:40, left + frame * moves : left + 20 + frame * moves] = True
        track = MaskTrack.of(
            instance_id, [encode_mask(mask) for mask in masks], height=HEIGHT, width=WIDTH, anchor_frame=0
        )
        speeds = [0.5 + 0.1 * frame if moves else 0.0 for frame in range(N_FRAMES)]
        return ObjectRow(
            clip_id=clip_id,
            noun="red cube" if moves else "blue cube",
            shape="cube",
            colour="red" if moves else "blue",
            rgb=(1.0, 0.0, 0.0),
            size=(0.5, 0.5, 0.5),
            mass_kg=1.0,
            controlled=moves,
            speed_mps=speeds[0],
            position=[(0.0, 0.0, 0.0)] * N_FRAMES,
            rotation=[(1.0, 0.0, 0.0, 0.0)] * N_FRAMES,
            velocity=[(speed, 0.0, 0.0) for speed in speeds],
            angular_velocity=[(0.0, 0.0, 0.0)] * N_FRAMES,
            **track.model_dump(include={"instance_id", "height", "width", "counts", "box_xyxy", "area"}),
        )

    return [row("id1", 4, True), row("id2", 60, False)]


def kinemask_samples(
    folder: AnyPath,
    scenes: Sequence[Scene],
    latents: tuple[int, ...] = (3, 4, 8, 12),
    n_tokens: int = 226,
    **changes: Any,
) -> Snapshot:
    """latents: (F, C, h, w) of CogVideoX, (C, F, h, w) of Wan; changes: of every SampleRow"""
    video = encode_video(np.full((N_FRAMES, HEIGHT, WIDTH, 3), 90, np.uint8), 8)
    ids = [clip_id for clip_id, *_ in scenes]
    encodings = [
        EncodingRow(
            clip_id=clip_id,
            latents=stored("latents", *latents, key=clip_id),
            text=stored("text", n_tokens, TEXT_DIM, key=clip_id),
            image_latents=stored("image.latents", 1, *latents[1:], key=clip_id),
        )
        for clip_id in ids
    ]
    splits = {clip_id: split for clip_id, _, split, _ in scenes}
    seeds = [
        SampleSceneRow(clip_id=clip_id, set=set_, split=split, seed=number, collision_frames=frames)
        for number, (clip_id, set_, split, frames) in enumerate(scenes)
    ]
    objects = [SampleObjectRow(**row.model_dump()) for clip_id in ids for row in object_rows(clip_id)]
    videos = [SampleVideoRow(clip_id=clip_id, sha256="ab" * 32, video=video) for clip_id in ids]
    samples = [sample_row(clip_id, **{"split": splits[clip_id]} | changes) for clip_id in ids]
    return write_snapshot(
        folder,
        "prepare-kinemask-samples",
        {
            "samples": (SampleRow, samples),
            "encodings": (EncodingRow, encodings),
            "scenes": (SampleSceneRow, seeds),
            "objects": (SampleObjectRow, objects),
            "videos": (SampleVideoRow, videos),
        },
    )


def dsr_samples(
    folder: AnyPath, scored: Sequence[DsrSampleRow], latents: tuple[int, ...] = (4, 2, 4, 4), **changes: Any
) -> Snapshot:
    """Wan's (C, F, h, w) latents; changes: of every SampleRow"""
    size = {"n_frames": 5, "width": 32, "height": 32}
    samples = [sample_row(row.clip_id, **{"split": row.split, "prompt": row.text} | size | changes) for row in scored]
    encodings = [
        EncodingRow(
            clip_id=row.clip_id,
            latents=stored("latents", *latents, key=row.clip_id),
            text=stored("text", 512, TEXT_DIM, key=row.text),
        )
        for row in scored
    ]
    return write_snapshot(
        folder,
        "prepare-dsr-samples",
        {
            "samples": (SampleRow, samples),
            "encodings": (EncodingRow, encodings),
            "scores": (SampleScoreRow, [SampleScoreRow(**row.model_dump()) for row in scored]),
        },
    )


def matrix_masks() -> dict[str, np.ndarray]:
    """A boy who goes right and a ball that stands, (9, 64, 96) bool each."""
    boy, ball = np.zeros((2, N_FRAMES, HEIGHT, WIDTH), bool)
    for frame in range(N_FRAMES):
        boy[frame, 16:48, 4 * frame : 4 * frame + 32] = True
    ball[:, 32:64, 64:96] = True
    return {"id1": boy, "id2": ball}


def matrix_samples(
    folder: AnyPath, splits: dict[str, Split], roles: Sequence[dict[str, Any]] | None = None, **changes: Any
) -> Snapshot:
    """The boy kicks the ball in each clip. roles: of every clip instead; changes: of every SampleRow"""
    roles = roles or [
        {"role_id": "id1", "kind": "subject", "instance_ids": ["id1"], "words": "A boy", "tokens": [0, 1]},
        {"role_id": "id2", "kind": "object", "instance_ids": ["id2"], "words": "red ball", "tokens": [4, 5]},
        {"role_id": "id1-kick-id2", "kind": "verb", "instance_ids": ["id1", "id2"], "words": "kicks", "tokens": [2]},
    ]
    masks, latents = matrix_masks(), (4, 8, 12)
    picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    video, colours = encode_video([picture] * N_FRAMES, 8), encode_png(id_map([mask[0] for mask in masks.values()]))
    changes = {"prompt": "A boy kicks a red ball."} | changes
    tracks = [
        MaskTrack.of(name, [encode_mask(one) for one in mask], height=HEIGHT, width=WIDTH, anchor_frame=0)
        for name, mask in masks.items()
    ]
    encodings = [
        EncodingRow(
            clip_id=clip_id,
            latents=stored("latents", N_FRAMES // 4 + 1, *latents, key=clip_id),
            text=stored("text", 226, TEXT_DIM, key=clip_id),
            image_latents=stored("image.latents", 1, *latents, key=clip_id),
            id_latents=stored("id.latents", 1, *latents, key=clip_id),
        )
        for clip_id in splits
    ]
    return write_snapshot(
        folder,
        "prepare-matrix-samples",
        {
            "samples": (SampleRow, [sample_row(i, split=split, **changes) for i, split in splits.items()]),
            "encodings": (EncodingRow, encodings),
            "roles": (
                RoleRow,
                [RoleRow(clip_id=i, **{"spans": [Span(start=0, end=1)]} | r) for i in splits for r in roles],
            ),
            "masks": (
                SampleMaskRow,
                [SampleMaskRow(clip_id=i, **track.model_dump()) for i in splits for track in tracks],
            ),
            "videos": (
                SampleVideoRow,
                [SampleVideoRow(clip_id=i, sha256="ab" * 32, video=video, id_map=colours) for i in splits],
            ),
        },
    )
