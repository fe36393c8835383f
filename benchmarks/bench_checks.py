"""What each check of check_tracks refuses: right and wrong tracks of things pasted into real footage, masks known.

    python -m benchmarks.bench_checks CLIP.mp4 [CLIP.mp4 ...]

Each clip gets a ball, a cup and a person, moved, standing still, half hidden, held. Right are the true masks, and those
that the embedded propagator makes of a true box, if their mean IoU with the truth is at least 0.5; the other tracks are
wrong: its failures, a track that lags behind, stays, or goes over to another thing, and a patch of the footage.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from schemas.candidate import Anchor
from schemas.mask_track import MaskTrack, mask_iou
from schemas.track_check import TrackCheck
from tasks.backends import use_one_opencv_thread
from tasks.backends.optical_flow import FlowPropagator
from tasks.check_tracks.config import CheckConfig
from tasks.check_tracks.looks import Album, look_at, walk_back
from tasks.check_tracks.masks import measure
from tasks.media.video import iter_frames
from tests.support import composites as made
from tests.support.composites import BLUE, GREEN, ORANGE, RED, Composite, Filmed, Paste

N_FRAMES, MAX_SIDE_PX = 60, 640
RIGHT_IOU = 0.5
ANCHOR = 5
CONFIG = CheckConfig()
MEASURES = ("presence", "gap", "area_min", "swell", "leaps", "outline", "likeness", "return")


def scenes(footage: np.ndarray) -> Iterator[tuple[Composite, list[str]]]:
    """Composites, each with the names of its things."""
    n, height, width = footage.shape[:3]
    across = ((width - 200) / n, 0)
    low, middle = height - 130, height // 2
    ball, cup, person = made.ball(18, RED), made.cup(BLUE), made.person(GREEN)
    post = made.drawn((height, 30), ("box", (0, 0, 30, height), ORANGE))
    rolling, walking = made.moved((60, middle), across, n), made.moved((80, low), across, n)
    yield made.compose(footage, [Paste("ball", ball, rolling)]), ["ball"]
    yield (
        made.compose(footage, [Paste("ball", ball, rolling), Paste("", post, made.still((width // 2, 0), n))]),
        ["ball"],
    )
    cups = [
        Paste("cup", cup, made.still((width // 3, middle), n)),
        Paste("other", made.cup(BLUE), made.moved((width // 3 + 60, middle), (1, 1), n)),
    ]
    yield made.compose(footage, cups), ["cup", "other"]
    held = made.with_(walking, (12, 42))
    yield (
        made.compose(footage, [Paste("person", person, walking), Paste("ball", made.ball(12, RED), held)]),
        ["person", "ball"],
    )
    back = made.moved((width - 120, low), (-across[0], 0), n)
    people = [Paste("person", person, walking), Paste("other", made.person(RED), back)]
    yield made.compose(footage, people), ["person", "other"]


def tracks_of(it: Composite, names: list[str]) -> Iterator[tuple[str, bool, MaskTrack]]:
    """(how it was made, is it right, the track) of a composite's things."""
    truths = {name: it.track(name, f"id{number}", ANCHOR) for number, name in enumerate(names, start=1)}
    anchors = [
        Anchor(instance_id=truth.instance_id, frame=ANCHOR, box_xyxy=box)
        for truth in truths.values()
        if (box := truth.box_xyxy[ANCHOR])
    ]
    found = FlowPropagator().propagate(it.frames, anchors)
    for name, truth in truths.items():
        yield "true masks", True, truth
        again = MaskTrack.of(
            truth.instance_id, found[truth.instance_id], height=truth.height, width=truth.width, anchor_frame=ANCHOR
        )
        right = overlap(again, truth) >= RIGHT_IOU
        yield ("propagated" if right else "propagated, failed"), right, again
        masks = it.masks[name]
        half = len(masks) // 2
        lagging = np.concatenate([masks[:half], masks[half - 12 : -12]])
        staying = np.repeat(masks[ANCHOR : ANCHOR + 1], len(masks), axis=0)
        wrong = {"lags": lagging, "stays": staying}
        if rivals := [other for other in names if other != name]:
            wrong["goes over to another"] = np.concatenate([masks[:half], it.masks[rivals[0]][half:]])
        for how, changed in wrong.items():
            track = made.track_of(changed, truth.instance_id, ANCHOR)
            if overlap(track, truth) < RIGHT_IOU + 0.25:  # a thing that stands still does not lag
                yield how, False, track


def patches(footage: np.ndarray) -> Iterator[tuple[str, bool, MaskTrack]]:
    """Blobs of the footage: as the camera moves, they lie elsewhere, and are no thing either way."""
    rng = np.random.default_rng(0)
    for _ in range(4):
        mask = np.zeros(footage.shape[1:3], bool)
        y, x = (int(rng.integers(0, side - 64)) for side in mask.shape)
        mask[y : y + 64, x : x + 64] = made.blob(rng, 64)
        yield "patch of the footage", False, made.track_of(np.repeat(mask[None], len(footage), axis=0), "id1", ANCHOR)


def overlap(track: MaskTrack, truth: MaskTrack) -> float:
    return float(mask_iou(track.counts, truth.counts, track.height, track.width).mean())


def checks_of(frames: np.ndarray, track: MaskTrack, propagator: FlowPropagator) -> list[TrackCheck]:
    checks = measure(track, CONFIG)
    if any(track.present):
        album = Album(Filmed(frames), [track], CONFIG.n_looks)
        checks += look_at([track], album, CONFIG) + walk_back([track], album, propagator, CONFIG)
    return checks


def main(clips: list[Path]) -> None:
    use_one_opencv_thread()
    propagator = FlowPropagator()
    refused: dict[tuple[str, bool], list[set[str]]] = defaultdict(list)
    cpu_s = 0.0
    for clip in clips:
        footage = np.stack([frame for _, frame in islice(iter_frames(clip, max_side=MAX_SIDE_PX), N_FRAMES)])
        shown = [(it.frames, track) for it, names in scenes(footage) for track in tracks_of(it, names)]
        shown += [(footage, track) for track in patches(footage)]
        for frames, (how, right, track) in shown:
            start = time.process_time()
            checks = checks_of(frames, track, propagator)
            cpu_s += time.process_time() - start
            refused[how, right].append({check.measure for check in checks if not check.passed})
        print(f"{clip.name}: {len(shown)} tracks", flush=True)
    print(f"\n{'':24}{'tracks':>7}{'refused':>8}  " + " ".join(f"{name:>9}" for name in MEASURES))
    for (how, right), found in sorted(refused.items(), key=lambda item: (not item[0][1], item[0][0])):
        by_measure = " ".join(f"{sum(name in failed for failed in found):>9}" for name in MEASURES)
        print(f"{'right' if right else 'wrong'}: {how:17}{len(found):>7}{sum(map(bool, found)):>8}  {by_measure}")
    print(f"\n{cpu_s / sum(map(len, refused.values())):.2f} CPU s a track")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP", help="real footage, one shot each")
    main(parser.parse_args().clips)
