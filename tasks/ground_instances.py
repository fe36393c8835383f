"""clips + triplets -> one verified anchor an instance (MATRIX 3.2, A.2).

    ("boy", "kicks", "ball") -> ball at [12, 40, 88, 130] on frame 16, the 2nd of 9 candidates

T uniformly sampled frames, class-only proposals, at most J a frame and class. An instance's candidates
are verified one by one in descending confidence until one is accepted; the accepted box leaves the
pools of the other instances of its class. No candidate verified: the instance goes, with every
interaction that names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from pydantic import Field

from schemas.candidate import Anchor, Box, Candidate, box_iou
from schemas.clip import Clip
from schemas.instance import Instance
from schemas.outcome import RowRejected
from schemas.provenance import MadeBy
from schemas.record import Record, column
from tasks.backends import use_one_opencv_thread
from tasks.backends.openai_api import EndpointConfig
from tasks.extract_triplets import Extraction
from tasks.stage import Row, Stage, StageConfig, Work
from tasks.video import read_frames, sample_indices


class GroundConfig(StageConfig):
    """How instances are found and verified."""

    grounding: Literal["colour"] = Field("colour", description="colour: colour phrases and a people detector, embedded")
    vlm: Literal["rules", "openai"] = Field("rules", description="rules: attribute check; openai: any compatible VLM")
    n_frames: int = Field(8, ge=1, description="T of MATRIX A.2: frames sampled uniformly over the clip")
    max_candidates: int = Field(5, ge=1, description="J of MATRIX A.2: boxes a frame and class")
    exclusion_iou: float = Field(
        0.5, gt=0, le=1, description="A candidate that overlaps a box accepted for its class this much is excluded"
    )
    min_verdict_confidence: float = Field(0.5, ge=0, le=1, description="A yes less certain than this is a no")


class Proposal(Record):
    """A box that a detector proposes for an instance."""

    frame: int = column("Index into the sampled frames it was given", ge=0)
    box_xyxy: Box = column("Left, top, right, bottom, exclusive", unit="px")
    score: float = column("Class-conditioned confidence", unit="0..1", ge=0, le=1)


class Answer(Record):
    """What a verifier says of one candidate."""

    match: bool = column("Is the boxed thing the described instance?")
    confidence: float = column("How sure it is of this answer", unit="0..1", ge=0, le=1)
    rationale: str = column("A short reason")


class Detector(Protocol):
    """Proposes boxes."""

    identity: dict[str, str]
    concurrency: int

    def propose(self, frames: np.ndarray, instances: list[Instance]) -> dict[str, list[Proposal]]:
        """frames (T, H, W, 3) uint8 RGB -> {instance_id: proposals over all frames}, any order.

        High recall, not disambiguation: same-class instances may get the same boxes. A detector that
        knows only classes looks at `class_name`; the embedded one needs the noun's colour words as well.
        """


class Verifier(Protocol):
    """Decides whether a box shows the described instance."""

    identity: dict[str, str]
    concurrency: int

    def verify(self, frame: np.ndarray, box_xyxy: Box, instance: Instance, caption: str) -> Answer:
        """frame (H, W, 3) uint8 RGB. Raises RowFailed or ServiceDown, never makes an answer up."""


class Grounding(Record):
    """What became of a clip's instances."""

    anchors: list[Anchor] = column("One for each instance that was found")
    candidates: list[Candidate] = column("Every proposal with its verdict, in the order they were looked at")
    lost_ids: list[str] = column("Instances that no candidate was verified for")
    made_by: list[MadeBy] = column("Detector and verifier")


def ground_instances(
    frames: np.ndarray,
    indices: list[int],
    caption: str,
    extraction: Extraction,
    detector: Detector,
    verifier: Verifier,
    config: GroundConfig,
) -> Grounding:
    """Anchors of one clip.

    frames:  (T, H, W, 3) uint8 RGB, the sampled frames
    indices: their places in the clip
    Raises RowRejected("no_interaction_left") with every verdict as evidence.
    """
    proposals = detector.propose(frames, extraction.instances)
    height, width = frames.shape[1:3]
    anchors: list[Anchor] = []
    candidates: list[Candidate] = []
    for instance in extraction.instances:
        pool = candidate_pool(proposals.get(instance.instance_id, []), config.max_candidates, width, height)
        same_class = [
            anchor
            for anchor, other in zip(anchors, _instances_of(anchors, extraction.instances), strict=True)
            if other.class_name == instance.class_name
        ]
        judged = verify_in_order(pool, frames, indices, instance, caption, same_class, verifier, config)
        candidates += judged
        anchors += [
            Anchor(instance_id=c.instance_id, frame=c.frame, box_xyxy=c.box_xyxy)
            for c in judged
            if c.verdict == "accepted"
        ]
    lost = {i.instance_id for i in extraction.instances} - {a.instance_id for a in anchors}
    named = still_named(extraction.pairs, lost)
    grounding = Grounding(
        anchors=[a for a in anchors if a.instance_id in named],
        candidates=candidates,
        lost_ids=sorted(lost),
        made_by=makers(detector, verifier),
    )
    if not named:
        raise RowRejected("no_interaction_left", _why_lost(extraction.instances, lost, candidates), evidence=grounding)
    return grounding


def candidate_pool(proposals: list[Proposal], per_frame: int, width: int, height: int) -> list[Proposal]:
    """The `per_frame` best boxes of each frame, best first over all frames (MATRIX A.2).

    Boxes are cut to the frame; one without area is no candidate.
    """
    inside = []
    for p in proposals:
        x0, y0, x1, y1 = p.box_xyxy
        box = (max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1))
        if box[2] > box[0] and box[3] > box[1]:
            inside.append(p.model_copy(update={"box_xyxy": box}))
    # Equal scores are ordered by place, so that the order never depends on the detector's.
    inside.sort(key=lambda p: (-p.score, p.frame, p.box_xyxy))
    taken = [0] * (max((p.frame for p in inside), default=0) + 1)
    pool = []
    for p in inside:
        if taken[p.frame] < per_frame:
            taken[p.frame] += 1
            pool.append(p)
    return pool


def verify_in_order(
    pool: list[Proposal],
    frames: np.ndarray,
    indices: list[int],
    instance: Instance,
    caption: str,
    same_class: list[Anchor],
    verifier: Verifier,
    config: GroundConfig,
) -> list[Candidate]:
    """Ask for one candidate after the other until one is accepted; the rest is not asked (MATRIX A.2, step 2)."""
    judged: list[Candidate] = []
    found = False
    for p in pool:
        candidate = Candidate(
            instance_id=instance.instance_id,
            frame=indices[p.frame],
            box_xyxy=p.box_xyxy,
            score=p.score,
            verdict="not_asked",
        )
        taken_by = _taken_by(p.box_xyxy, same_class, config.exclusion_iou)
        if not found and taken_by:
            candidate = candidate.model_copy(
                update={"verdict": "excluded", "rationale": f"overlaps the box accepted for {taken_by}"}
            )
        elif not found:
            answer = verifier.verify(frames[p.frame], p.box_xyxy, instance, caption)
            found = answer.match and answer.confidence >= config.min_verdict_confidence
            candidate = candidate.model_copy(
                update={
                    "verdict": "accepted" if found else "refused",
                    "confidence": answer.confidence,
                    "rationale": answer.rationale,
                }
            )
        judged.append(candidate)
    return judged


def still_named(pairs: list[tuple[str, str]], lost: set[str]) -> set[str]:
    """Ids of the (subject, object) pairs in which neither is lost."""
    return {i for pair in pairs if lost.isdisjoint(pair) for i in pair}


def _taken_by(box: Box, anchors: list[Anchor], threshold: float) -> str | None:
    # On other frames too: the same object, still there a moment later, must not be taken twice.
    return next((a.instance_id for a in anchors if box_iou(box, a.box_xyxy) >= threshold), None)


def _instances_of(anchors: list[Anchor], instances: list[Instance]) -> list[Instance]:
    by_id = {i.instance_id: i for i in instances}
    return [by_id[a.instance_id] for a in anchors]


def _why_lost(instances: list[Instance], lost: set[str], candidates: list[Candidate]) -> str:
    parts = []
    for instance in instances:
        if instance.instance_id not in lost:
            continue
        of_it = [c for c in candidates if c.instance_id == instance.instance_id]
        what = f"none of {len(of_it)} candidates verified" if of_it else "no candidate"
        parts.append(f"{instance.instance_id} {instance.noun!r}: {what}")
    return "; ".join(parts)


def makers(detector: Detector, verifier: Verifier) -> list[MadeBy]:
    return [
        MadeBy.of("ground_instances.detector", detector.identity),
        MadeBy.of("ground_instances.verifier", verifier.identity),
    ]


def load_backends(config: GroundConfig, endpoint: EndpointConfig, cache: Path) -> tuple[Detector, Verifier]:
    use_one_opencv_thread()
    return _load_detector(config), _load_verifier(config, endpoint, cache)


def _load_detector(config: GroundConfig) -> Detector:
    match config.grounding:
        case "colour":
            from tasks.backends.colour import ColourDetector

            return ColourDetector()


def _load_verifier(config: GroundConfig, endpoint: EndpointConfig, cache: Path) -> Verifier:
    match config.vlm:
        case "rules":
            from tasks.backends.colour import AttributeVerifier

            return AttributeVerifier()
        case "openai":
            from tasks.backends.openai_vlm import OpenAIVerifier

            return OpenAIVerifier(endpoint, cache)


def stage(work: Work, config: GroundConfig, endpoint: EndpointConfig) -> Stage[Clip, Grounding]:
    detector, verifier = load_backends(config, endpoint, work.root / "llm")

    def inputs(row: Row[Clip]) -> list[object]:
        extraction = work.result(row, "extract_triplets", Extraction)
        return [row.payload.video_span, row.payload.caption, extraction.instances, extraction.pairs]

    def compute(row: Row[Clip]) -> Grounding:
        clip = row.payload
        extraction = work.result(row, "extract_triplets", Extraction)
        indices = sample_indices(clip.n_frames, config.n_frames)
        frames = read_frames(work.inputs.verified(clip.video, clip.video_sha256), clip, indices)
        return ground_instances(frames, indices, clip.caption or "", extraction, detector, verifier, config)

    return Stage(
        name="ground_instances",
        version=1,
        result=Grounding,
        config=config,
        made_by=makers(detector, verifier),
        inputs=inputs,
        compute=compute,
        concurrency=min(detector.concurrency, verifier.concurrency),
    )
