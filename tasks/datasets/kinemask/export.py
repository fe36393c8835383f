"""simulated clips -> plain files that curate-matrix11k reads, and the truth that its report compares with.

    clip-3f9c2a71b0de4c58, in which a red cube hits a blue cylinder ->
        out/manifest.jsonl              {"video": "clips/clip-3f9c2a71b0de4c58.mp4", "caption": "On a wooden ...", ...}
        out/clips/clip-3f9c2a71b0de4c58.mp4
        out/truth/clip-3f9c2a71b0de4c58.json
            Truth: visible pixels of every body in every frame, ("red cube", "collide with", "blue cylinder")

The masks are the renderer's own, so that what MATRIX's stages find in the pictures is measured pixel by pixel.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from schemas.kinemask import CollisionRow, ObjectRow, SceneClipRow, VideoRow
from schemas.mask_track import MaskTrack
from schemas.record import Rational, read_table
from schemas.scene import Body, Collision, Scene
from schemas.storage import AnyPath, write_atomic
from schemas.truth import Expectation, TrueInstance, TrueTriplet, Truth
from tasks.engine.snapshots import read_snapshot, table_files

R = TypeVar("R", CollisionRow, ObjectRow, SceneClipRow, VideoRow)

COLLIDE, PUSH = "collide with", "push"
# What a caption may call the same event, by the verb's head.
SAYINGS = {COLLIDE: ["hit", "strike", "bump", "knock", "crash", "run"], PUSH: ["shove", "nudge", "drive", "send"]}


class ExportError(ValueError):
    """There is nothing here that could be exported."""


@dataclass(frozen=True)
class SimulatedClip:
    """What a clip's files are made of."""

    clip_id: str
    caption: str
    scene: Scene
    tracks: Sequence[MaskTrack]  # one a body, in the scene's order: its visible pixels
    collisions: Sequence[Collision]  # in order of time
    video: bytes

    def sees(self, instance_id: str, frame: int) -> bool:
        """Is the body seen in that frame or the one before?"""
        track = next(track for track in self.tracks if track.instance_id == instance_id)
        return any(track.present[max(0, frame - 1) : frame + 1])


def export_clips(clips: Iterable[SimulatedClip], folder: Path) -> Path:
    """Write clips, truths and the manifest; return the manifest's path.

    The folder then holds these clips and no others: what an earlier export left there of other clips is removed.
    """
    lines, names = [], set()
    for line, clip in enumerate(clips, start=1):
        truth = truth_of(clip, line)
        write_atomic(folder / truth.video, clip.video)
        write_atomic(folder / "truth" / f"{clip.clip_id}.json", truth.to_json())
        lines.append(json.dumps({"video": truth.video, "caption": clip.caption, "id": clip.clip_id}) + "\n")
        names.add(clip.clip_id)
    manifest = folder / "manifest.jsonl"
    write_atomic(manifest, "".join(lines).encode())
    for stray in (*folder.glob("clips/clip-*.mp4"), *folder.glob("truth/clip-*.json")):
        if stray.stem not in names:
            stray.unlink()
    return manifest


# --- A published snapshot --------------------------------------------------------------------


def read_clips(snapshot: AnyPath, max_clips: int | None = None) -> Iterator[SimulatedClip]:
    """The accepted clips of a snapshot of curate-kinemask, shard by shard. Raises ExportError for any other."""
    manifest = read_snapshot(snapshot)
    if manifest.flow != "curate-kinemask":
        raise ExportError(f"{snapshot} was made by {manifest.flow}; name a snapshot of curate-kinemask")
    shards = (shard.shard_id for shard in manifest.shards)
    return islice((clip for shard_id in shards for clip in _read_shard(snapshot, shard_id)), max_clips)


def _read_shard(snapshot: AnyPath, shard_id: str) -> Iterator[SimulatedClip]:
    def rows(table: str, record: type[R]) -> list[R]:
        return [row for path in table_files(snapshot, table, [shard_id]) for row in read_table(record, path)]

    video_of = {row.clip_id: row.video for row in rows("videos", VideoRow)}
    objects_of = _by_clip(rows("objects", ObjectRow))
    collisions_of = _by_clip(rows("collisions", CollisionRow))
    for clip in rows("clips", SceneClipRow):
        yield SimulatedClip(
            clip_id=clip.clip_id,
            caption=clip.caption,
            scene=clip.scene,
            tracks=[row.track for row in objects_of[clip.clip_id]],
            collisions=collisions_of.get(clip.clip_id, []),
            video=video_of[clip.clip_id],
        )


def _by_clip(rows: Sequence[R]) -> dict[str, list[R]]:
    grouped: dict[str, list[R]] = {}
    for row in rows:
        grouped.setdefault(row.clip_id, []).append(row)
    return grouped


# --- What is true of a clip ------------------------------------------------------------------


def truth_of(clip: SimulatedClip, line: int) -> Truth:
    """line: of the manifest, from 1."""
    scene = clip.scene
    triplets = _triplets(clip)
    return Truth(
        id=clip.clip_id,
        line=line,
        video=f"clips/{clip.clip_id}.mp4",
        caption=clip.caption,
        width=scene.camera.width,
        height=scene.camera.height,
        fps=Rational.of(scene.fps),
        n_frames=scene.n_frames,
        cuts=[],
        instances=[_instance(body, track) for body, track in zip(scene.bodies, clip.tracks, strict=True)],
        triplets=triplets,
        expect=_expectations(triplets),
    )


def _instance(body: Body, track: MaskTrack) -> TrueInstance:
    return TrueInstance(
        name=body.noun,
        class_name=body.shape,
        noun=f"{'an' if body.noun[0] in 'aeiou' else 'a'} {body.noun}",
        colours=body.colour.split(),
        living=False,
        counts=track.counts,
    )


def _triplets(clip: SimulatedClip) -> list[TrueTriplet]:
    """Who hits whom: what a caption has to tell, and what it may tell.

    It has to tell that two bodies collide where that is seen, the faster one as the subject, once a pair. Who is
    said to hit whom is a matter of words where both move, and so is whether the one pushes the other: it may.
    """
    optional: dict[tuple[str, str, str], bool] = {}
    told: set[frozenset[str]] = set()
    noun = {body.instance_id: body.noun for body in clip.scene.bodies}
    for collision in clip.collisions:
        ids = (collision.first_id, collision.second_id)
        first, second = (noun[id_] for id_ in ids)
        seen = all(clip.sees(id_, collision.frame) for id_ in ids)
        if seen and frozenset(ids) not in told:
            told.add(frozenset(ids))
            optional[first, COLLIDE, second] = False
        for verb in (COLLIDE, PUSH):
            optional.setdefault((first, verb, second), True)
            optional.setdefault((second, verb, first), True)
    return [
        TrueTriplet(subject=subject, verb=verb, object=target, shot=0, optional=may, also=SAYINGS[verb])
        for (subject, verb, target), may in optional.items()
    ]


def _expectations(triplets: Sequence[TrueTriplet]) -> list[Expectation]:
    """None where it is open whether the caption tells of a collision: only such as nobody sees."""
    if not triplets:
        return [Expectation(shot=0, status="rejected", stage="extract_triplets", reason="no_interaction")]
    required = any(not triplet.optional for triplet in triplets)
    return [Expectation(shot=0, status="accepted")] if required else []
