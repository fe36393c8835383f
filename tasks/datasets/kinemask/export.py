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
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import get_args

from schemas.kinemask import CollisionRow, ObjectRow, SceneClipRow, VideoRow
from schemas.mask_track import MaskTrack
from schemas.record import Rational
from schemas.scene import Body, Collision, Scene, Shape
from schemas.storage import write_atomic
from schemas.truth import Expectation, TrueInstance, TrueTriplet, Truth
from tasks.engine.export import ExportOptions, Layout
from tasks.engine.progress import counted
from tasks.engine.snapshots import ClipVideo, Snapshot
from tasks.exports.clips import Tracked, TrackedClip, TrackedInstance

COLLIDE, PUSH = "collide with", "push"
# What a caption may call the same event, by the verb's head.
SAYINGS = {COLLIDE: ["hit", "strike", "bump", "knock", "crash", "run"], PUSH: ["shove", "nudge", "drive", "send"]}


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


def write_manifest(snapshot: Snapshot, folder: Path, options: ExportOptions) -> str:
    """Write the clips and say what was written."""
    total = min(snapshot.manifest.n_accepted, options.limit or snapshot.manifest.n_accepted)
    manifest = export_clips(counted(read_clips(snapshot, options.limit), "clips", total), folder)
    return f"{manifest} lists the clips of {snapshot.id}"


def export_clips(clips: Iterable[SimulatedClip], folder: Path) -> Path:
    """Write clips, truths and the manifest; return the manifest's path.

    The folder then holds these clips and no others: what an earlier export left there of other clips is removed.
    """
    lines, names = [], set()
    for line, clip in enumerate(clips, start=1):
        truth = truth_of(clip, line)
        write_atomic(folder / truth.video, clip.video)
        write_atomic(folder / "truth" / f"{clip.clip_id}.json", truth.to_json())
        line_of = {"video": truth.video, "caption": clip.caption, "id": clip.clip_id, "split": clip.scene.split}
        lines.append(json.dumps(line_of) + "\n")
        names.add(clip.clip_id)
    manifest = folder / "manifest.jsonl"
    write_atomic(manifest, "".join(lines).encode())
    for stray in (*folder.glob("clips/clip-*.mp4"), *folder.glob("truth/clip-*.json")):
        if stray.stem not in names:
            stray.unlink()
    return manifest


# --- A published snapshot --------------------------------------------------------------------


def read_clips(snapshot: Snapshot, max_clips: int | None = None) -> Iterator[SimulatedClip]:
    """The accepted clips of a snapshot of curate-kinemask, shard by shard. Raises SnapshotError for any other."""
    snapshot.require_flow("curate-kinemask")
    return islice(
        (clip for shard in snapshot.manifest.shards for clip in _read_clips(snapshot, shard.clip_ids)), max_clips
    )


def _read_clips(snapshot: Snapshot, clip_ids: Sequence[str]) -> Iterator[SimulatedClip]:
    clips = snapshot.rows(SceneClipRow, clip_ids)
    ids = [clip.clip_id for clip in clips]
    videos, objects = snapshot.rows_by_clip(VideoRow, ids), snapshot.rows_by_clip(ObjectRow, ids)
    collisions = snapshot.rows_by_clip(CollisionRow, ids)
    for clip in clips:
        yield SimulatedClip(
            clip_id=clip.clip_id,
            caption=clip.caption,
            scene=clip.scene,
            tracks=[row.track for row in objects[clip.clip_id]],
            collisions=collisions[clip.clip_id],
            video=videos[clip.clip_id][0].video,
        )


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


# --- For trainers ----------------------------------------------------------------------------


def read_tracked(snapshot: Snapshot, clip_ids: Sequence[str]) -> Iterator[TrackedClip]:
    """Clips with their objects' visible pixels; an interaction is a collision, in order of time."""
    for clip in _read_clips(snapshot, clip_ids):
        yield TrackedClip(
            clip_id=clip.clip_id,
            caption=clip.caption,
            fps=Fraction(clip.scene.fps),
            n_frames=clip.scene.n_frames,
            width=clip.scene.camera.width,
            height=clip.scene.camera.height,
            instances=[
                TrackedInstance(body.shape, body.noun, track)
                for body, track in zip(clip.scene.bodies, clip.tracks, strict=True)
            ],
            interactions=[
                {
                    "subject_id": c.first_id,
                    "verb": COLLIDE,
                    "object_id": c.second_id,
                    "frame": c.frame,
                    "time_s": c.time_s,
                }
                for c in clip.collisions
            ],
            find_video=partial(ClipVideo, clip.video),
            file=clip.video,
        )


TRACKED = Tracked(read_tracked, lambda _: set(get_args(Shape)))
MANIFEST = Layout("videos, a manifest and their truth, for curate-matrix11k", write_manifest)
