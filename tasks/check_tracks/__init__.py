"""mask tracks -> measured checks, what is kept, and the ten frames to look at (MATRIX A.2, step 3).

    ball: present 47/49 frames, longest gap 2, median area 0.4% of the frame, 97% of its outline on edges,
          colours 0.98 like the anchor's, walks back to it with IoU 0.95, confirmed on 2 of 2 other frames -> accepted

The paper's annotators accept, fix or drop each track by eye: drift, duplication, gaps. Here each of
these is a number with a threshold. The thresholds are ours (the paper states none), so every number is
stored, and the review frames are chosen as the paper's are.

    config   the thresholds                    masks   what the masks alone say
    pixels   what a picture says of a mask     looks   the pictures, a second walk, the verifier again
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from threading import BoundedSemaphore
from typing import NamedTuple

import numpy as np

from schemas.clip import Clip
from schemas.grounding import still_named
from schemas.instance import Instance
from schemas.mask_track import MaskTrack
from schemas.outcome import RowRejected
from schemas.provenance import MadeBy
from schemas.track_check import Checked, TrackCheck
from tasks import ground_instances, propagate_masks
from tasks.backends.local_models import LocalConfig
from tasks.backends.openai.api import EndpointConfig
from tasks.backends.sam2_video import Sam2Config
from tasks.backends.torch_runtime import TorchConfig
from tasks.check_tracks.config import CheckConfig
from tasks.check_tracks.looks import Album, ask_again, look_at, walk_back
from tasks.check_tracks.masks import find_duplicates, find_swallowed, leap_share, longest_gap, measure
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work
from tasks.ground_instances import GroundConfig, Verifier
from tasks.media.footage import Footage, FootageOf
from tasks.propagate_masks import PropagateConfig, Propagator

__all__ = [
    "CheckConfig",
    "Tracked",
    "check_tracks",
    "leap_share",
    "load_backends",
    "longest_gap",
    "measure",
    "review_frames",
    "stage",
]

N_REVIEW_FRAMES = 10  # MATRIX A.2: first verified, last valid, eight evenly between

Look = Callable[[list[MaskTrack]], list[TrackCheck]]


def check_tracks(
    tracks: list[MaskTrack],
    instances: list[Instance],
    pairs: list[tuple[str, str]],
    config: CheckConfig,
    looks: Sequence[Look] = (),
) -> Checked:
    """Measure every track, drop the bad ones and the interactions that name them.

    pairs: (subject, object) of each kept interaction
    looks: at the pictures, one after the other; each is given the tracks that are still good and named

    Raises RowRejected("no_track_left") with every measure as evidence.
    """
    checks = [check for track in tracks for check in measure(track, config)]
    failed = {c.instance_id for c in checks if not c.passed}
    duplicates = find_duplicates([t for t in tracks if t.instance_id not in failed], instances, config)
    checks += duplicates
    failed |= {c.instance_id for c in duplicates if not c.passed}
    failed |= {i.instance_id for i in instances} - {t.instance_id for t in tracks}
    for look in (lambda left: find_swallowed(left, instances, config), *looks):
        left = [t for t in tracks if t.instance_id in still_named(pairs, failed)]
        found = look(left) if left else []
        checks += found
        failed |= {c.instance_id for c in found if not c.passed}
    named = still_named(pairs, failed)
    kept = [t for t in tracks if t.instance_id in named]
    checked = Checked(checks=checks, kept_ids=[t.instance_id for t in kept], review_frames=review_frames(kept))
    if not kept:
        why = "; ".join(
            f"{c.instance_id} {c.measure} {c.value:.3g} against {c.threshold:g}" for c in checks if not c.passed
        )
        raise RowRejected("no_track_left", why, evidence=checked)
    return checked


def review_frames(tracks: list[MaskTrack]) -> list[int]:
    """First verified frame, last frame with a mask, and eight evenly between (MATRIX A.2); fewer in short clips."""
    if not tracks:
        return []
    first = min(t.anchor_frame for t in tracks)
    last = max(int(np.flatnonzero(t.present)[-1]) for t in tracks)
    frames = np.linspace(first, last, N_REVIEW_FRAMES).round().astype(int)
    return sorted({int(f) for f in frames})


class Tracked(NamedTuple):
    """What is read of a clip."""

    footage: Footage
    tracks: list[MaskTrack]


class Lookers(NamedTuple):
    """The backends that look: those that made the anchors and the tracks, on other frames."""

    propagator: Propagator
    walking: AbstractContextManager[object]
    verifier: Verifier | None  # None: nobody is asked
    sure_from: float

    def looks(self, seen: Tracked, config: CheckConfig) -> list[Look]:
        """In order of what they cost. The clip is decoded once a track is left."""
        albums: list[Album] = []

        def album() -> Album:
            if not albums:
                albums.append(Album(seen.footage, seen.tracks, config.n_looks))
            return albums[0]

        def walk(left: list[MaskTrack]) -> list[TrackCheck]:
            with self.walking:
                return walk_back(left, album(), self.propagator, config)

        looks: list[Look] = [lambda left: look_at(left, album(), config), walk]
        if verifier := self.verifier:
            wanted = seen.footage.wanted
            looks.append(lambda left: ask_again(left, album(), wanted, verifier, self.sure_from, config))
        return looks

    @property
    def made_by(self) -> list[MadeBy]:
        name = Checked.stage_name
        walker = MadeBy.of(f"{name}.propagator", self.propagator.identity)
        return [walker, *([MadeBy.of(f"{name}.verifier", self.verifier.identity)] if self.verifier else [])]

    @property
    def concurrency(self) -> int:
        return self.verifier.concurrency if self.verifier else self.propagator.concurrency


def load_backends(
    work: Work,
    config: CheckConfig,
    ground: GroundConfig,
    endpoint: EndpointConfig,
    propagate: PropagateConfig,
    sam2: Sam2Config,
    torch: TorchConfig,
    local: LocalConfig,
) -> Lookers | None:
    """None if nobody looks at pictures."""
    if not config.n_looks:
        return None
    propagator = propagate_masks.load_backend(propagate, sam2, torch)
    asks = config.n_questions and ground.vlm != "none"  # which would say yes to any box
    verifier = ground_instances.load_verifier(ground, endpoint, work.root / "llm", torch, local) if asks else None
    return Lookers(propagator, BoundedSemaphore(propagator.concurrency), verifier, ground.min_verdict_confidence)


def stage(
    work: Work,
    footage: FootageOf,
    config: CheckConfig,
    ground: GroundConfig,
    endpoint: EndpointConfig,
    propagate: PropagateConfig,
    sam2: Sam2Config,
    torch: TorchConfig,
    local: LocalConfig,
) -> Stage[Clip, Tracked, Checked]:
    lookers = load_backends(work, config, ground, endpoint, propagate, sam2, torch, local)

    def read(row: Row[Clip]) -> Tracked:
        return Tracked(footage(row), propagate_masks.result_of(work, row).tracks)

    def compute(seen: Tracked) -> Checked:
        wanted, looks = seen.footage.wanted, lookers.looks(seen, config) if lookers else []
        return check_tracks(seen.tracks, wanted.instances, wanted.pairs, config, looks)

    return Stage(
        version=2,
        result=Checked,
        config=config,
        made_by=lookers.made_by if lookers else [],
        read=read,
        key_of=lambda seen: [seen.footage.span, *seen.footage.wanted, seen.tracks],
        compute=compute,
        concurrency=lookers.concurrency if lookers else 1,
    )
