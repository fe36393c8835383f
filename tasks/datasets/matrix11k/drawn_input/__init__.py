"""a seed -> the demo's own input: drawn, captioned videos whose true masks, cuts and triplets are known.

    draw_scenes(Path("demo")) ->
        demo/manifest.jsonl          {"video": "scenes/push-0.mp4", "caption": "A boy in a red ...", "id": "push-0"}
        demo/scenes/push-0.mp4       320x240, 24 frames/s, H.264
        demo/truth/push-0.json       Truth: visible masks of the boy and the box in every frame, (boy, push, box)

Everything is painted twice from the same polygons, back to front: in colour, and as labels. What lies
in front thus takes its pixels from what lies behind, in the picture as in the truth. Both paintings are
`SUPERSAMPLING` times finer than the video; a pixel is an instance's if at least half of it is.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from schemas.mask_track import encode_mask
from schemas.outcome import Status
from schemas.record import Rational
from schemas.storage import write_atomic
from schemas.truth import Expectation, TrueInstance, TrueTriplet, Truth
from tasks.datasets.matrix11k.drawn_input.actions import Cast
from tasks.datasets.matrix11k.drawn_input.scenes import DROPPED, LIVING, SCENES, Scene, Shot
from tasks.engine.progress import counted
from tasks.media.drawing.backdrops import paint_backdrop
from tasks.media.drawing.canvas import COLOURS, FPS, HEIGHT, SHOT_FRAMES, WIDTH, Canvas
from tasks.media.encoding import encode_video

__all__ = ["DROPPED", "SCENES", "draw_scenes"]


CRF = 14  # H.264 quality of the drawn videos: fine enough that the drawing's own edges stay


Row = tuple[Truth, bytes | None]  # what is known of a manifest row, and its video; None leaves the file out


def draw_scenes(folder: Path, seed: int = 0, n_scenes: int = len(SCENES)) -> Path:
    """Draw the first n_scenes of SCENES, and the rows that must be dropped or fail; return the manifest's path.

    The same seed gives the same bytes: another one changes backdrops, hair, skin and grain, not the plot.
    Raises ValueError if n_scenes is not in 1..len(SCENES).
    """
    if not 1 <= n_scenes <= len(SCENES):
        raise ValueError(f"n_scenes is {n_scenes}; there are 1 to {len(SCENES)} scenes to draw")
    scenes = [*list(SCENES.items())[:n_scenes], *DROPPED.items()]
    rows = [_draw_row(line, *named, seed) for line, named in enumerate(counted(scenes, "scenes"), start=1)]
    rows += broken_rows(*rows[0], first_line=len(rows) + 1)
    lines = []
    for truth, video in rows:
        if video is not None:
            write_atomic(folder / truth.video, video)
        write_atomic(folder / "truth" / f"{truth.id}.json", truth.to_json())
        lines.append(json.dumps({"video": truth.video, "caption": truth.caption, "id": truth.id}))
    manifest = folder / "manifest.jsonl"
    write_atomic(manifest, ("\n".join(lines) + "\n").encode())
    return manifest


def broken_rows(good: Truth, video: bytes | None, first_line: int) -> list[Row]:
    """Rows that no curation can accept, made from a good one."""
    data = video or b""
    blank = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    broken: list[tuple[str, bytes | None, Status, str]] = [
        # An MP4 ends with its index, so that half a file cannot be opened at all.
        ("truncated", data[: len(data) // 2], "failed", "split_scenes"),
        ("not-a-video", b"This is no video, whatever its name says.\n", "failed", "split_scenes"),
        ("one-frame", encode_video([blank], FPS, CRF), "rejected", "split_scenes"),
        ("missing", None, "failed", "read_manifest"),
        ("duplicate", data, "rejected", "read_manifest"),
    ]
    rows: list[Row] = []
    for line, (name, bytes_, status, stage) in enumerate(broken, start=first_line):
        changes = {
            "id": name,
            "line": line,
            "video": good.video if name == "duplicate" else f"scenes/{name}.mp4",
            "n_frames": int(name == "one-frame"),
            "expect": [Expectation(shot=0, status=status, stage=stage)],
        }
        rows.append((good.model_copy(update=changes | {"cuts": [], "instances": [], "triplets": []}), bytes_))
    return rows


def draw_shot(
    shot: Shot, cast: Cast, names: Sequence[str], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Each frame (H, W, 3) uint8 RGB with {name: (H, W) bool} of the named things' visible pixels."""
    backdrop = paint_backdrop(shot.backdrop, rng)
    # A camera's grain: too weak to be seen, enough that no two frames are equal.
    grains = rng.normal(0, 1.2, (4, HEIGHT, WIDTH, 1)).astype(np.float32)
    canvas = Canvas(names)
    for number in range(SHOT_FRAMES):
        canvas.begin(backdrop, shot.zoom, shot.centre)
        shot.action(canvas, number / (SHOT_FRAMES - 1), cast)
        frame = np.clip(canvas.picture() + grains[number % len(grains)], 0, 255).astype(np.uint8)
        yield frame, {name: canvas.mask(name) for name in names}


def _draw_row(line: int, name: str, scene: Scene, seed: int) -> Row:
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    cast = Cast(scene.nouns | scene.others, rng)
    frames: list[np.ndarray] = []
    counts: dict[str, list[str]] = {key: [] for key in scene.nouns}
    for shot in scene.shots:
        for frame, masks in draw_shot(shot, cast, list(scene.nouns), rng):
            frames.append(frame)
            for key, mask in masks.items():
                counts[key].append(encode_mask(mask))
    truth = Truth(
        id=name,
        line=line,
        video=f"scenes/{name}.mp4",
        caption=scene.caption,
        width=WIDTH,
        height=HEIGHT,
        fps=Rational.of(FPS),
        n_frames=len(frames),
        cuts=[SHOT_FRAMES * i for i in range(1, len(scene.shots))],
        instances=[_instance(key, noun, counts[key]) for key, noun in scene.nouns.items()],
        triplets=list(_triplets(scene)),
        expect=[Expectation(shot=i, status=s.expect[0], stage=s.expect[1]) for i, s in enumerate(scene.shots)],
    )
    return truth, encode_video(frames, FPS, CRF)


def _instance(name: str, noun: str, counts: list[str]) -> TrueInstance:
    class_name = name.split()[0]  # "boy 2" is a boy
    colours = [word for word in noun.split() if word in COLOURS]
    return TrueInstance(
        name=name, class_name=class_name, noun=noun, colours=colours, living=class_name in LIVING, counts=counts
    )


def _triplets(scene: Scene) -> Iterator[TrueTriplet]:
    for number, shot in enumerate(scene.shots):
        for optional, triplet in ((False, shot.triplet), (True, shot.optional)):
            if triplet is not None:
                subject, verb, thing = triplet
                yield TrueTriplet(subject=subject, verb=verb, object=thing, shot=number, optional=optional)
