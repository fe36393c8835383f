"""clips + triplets -> one verified anchor an instance (MATRIX 3.2, A.2).

    ("boy", "kicks", "ball") -> ball at [12, 40, 88, 130] on frame 16, the 2nd of 9 candidates

T uniformly sampled frames, class-only proposals, at most J a frame and class. An instance's candidates
are verified one by one in descending confidence until one is accepted; the accepted box leaves the
pools of the other instances of its class. No candidate verified: the instance goes, with every
interaction that names it, and nobody asks for an instance that no interaction names any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import Field

from schemas.candidate import Anchor, Box, Candidate, Verdict, box_iou
from schemas.config import StageConfig
from schemas.grounding import Answer, Found, Grounding, NotFound, Proposal, Wanted, still_named
from schemas.instance import Instance
from schemas.outcome import RowRejected
from schemas.provenance import MadeBy
from schemas.storage import AnyPath
from tasks.backends import use_one_opencv_thread
from tasks.backends.grounding_dino import DinoConfig
from tasks.backends.local_models import LocalConfig
from tasks.backends.openai.api import EndpointConfig
from tasks.backends.torch_runtime import TorchConfig
from tasks.engine.progress import advance
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work
from tasks.media.footage import Footage, FootageOf
from tasks.media.video import sample_indices


class GroundConfig(StageConfig):
    """How instances are found and verified."""

    grounding: Literal["packaged", "nanodet", "colour", "groundingdino", "transformers"] = Field(
        "packaged",
        description="packaged: small networks that pip fetches, for real video, embedded; nanodet: COCO's classes by "
        "NanoDet, which npm fetches, embedded; colour: colour phrases and a people detector, embedded, for drawn "
        "scenes; groundingdino: GroundingDINO by groundingdino-py; transformers: GroundingDINO by transformers",
    )
    vlm: Literal["packaged", "rules", "openai", "transformers", "none"] = Field(
        "packaged",
        description="packaged: the same networks on each box's crop, embedded; rules: attribute check, embedded, for "
        "drawn scenes; openai: any compatible VLM; transformers: a VLM in this process; none: the detector's best box "
        "is taken as it is, as SpatialAlign 3.3 does",
    )
    n_frames: int = Field(8, ge=1, description="T of MATRIX A.2: frames sampled uniformly over the clip")
    max_candidates: int = Field(5, ge=1, description="J of MATRIX A.2: boxes a frame and class")
    exclusion_iou: float = Field(
        0.5, gt=0, le=1, description="A candidate that overlaps a box accepted for its class this much is excluded"
    )
    min_verdict_confidence: float = Field(0.5, ge=0, le=1, description="A yes less certain than this is a no")


class Detector(Protocol):
    """Proposes boxes."""

    identity: dict[str, str]
    concurrency: int
    look_ahead: int  # rows that wait for its network; 0 without one

    def propose(self, frames: np.ndarray, instances: list[Instance]) -> Mapping[str, Found]:
        """frames (T, H, W, 3) uint8 RGB -> {instance_id: proposals over all frames}, any order.

        NotFound for an instance that it looked for, or cannot look for, and can say why there is nothing.

        High recall, not disambiguation: same-class instances may get the same boxes. A detector that
        knows only classes looks at `class_name`; the embedded one needs the noun's colour words as well.
        """


class Verifier(Protocol):
    """Decides whether a box shows the described instance."""

    identity: dict[str, str]
    concurrency: int

    def verify(self, frame: np.ndarray, box_xyxy: Box, instance: Instance, caption: str) -> Answer:
        """frame (H, W, 3) uint8 RGB. Raises RowFailed or ServiceDown, never makes an answer up."""


def ground_instances(
    frames: np.ndarray,
    indices: list[int],
    wanted: Wanted,
    proposals: Mapping[str, Found],
    verifier: Verifier,
    config: GroundConfig,
    made_by: list[MadeBy],
) -> Grounding:
    """Anchors of one clip.

    frames:    (T, H, W, 3) uint8 RGB, the sampled frames
    indices:   their places in the clip
    proposals: {instance_id: what the detector found on these frames}
    Raises RowRejected("no_interaction_left") with every verdict as evidence.
    """
    height, width = frames.shape[1:3]
    searches = []
    for instance in wanted.instances:
        found = proposals.get(instance.instance_id, [])
        if isinstance(found, NotFound):
            searches.append(Search(instance, [], why_none=found.reason))
        else:
            searches.append(Search(instance, candidate_pool(found, config.max_candidates, width, height)))
    n_asked = 0
    while asking := next_questions(searches, wanted.pairs, config.exclusion_iou):
        for search, answer in zip(asking, ask_all(verifier, asking, frames, wanted.caption), strict=True):
            search.take(answer, config.min_verdict_confidence)
        n_asked += len(asking)
        advance(n_asked, None, "candidates asked about")
    lost = lost_ids(searches)
    named = still_named(wanted.pairs, {s.instance.instance_id for s in searches if s.found is None})
    grounding = Grounding(
        anchors=[s.anchor(indices) for s in searches if s.found and s.instance.instance_id in named],
        candidates=[c for s in searches for c in s.candidates(indices)],
        lost_ids=sorted(lost),
        made_by=made_by,
    )
    if not named:
        raise RowRejected("no_interaction_left", _why_lost(searches), evidence=grounding)
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


Judged = tuple[Verdict, float | None, str | None]  # verdict, confidence, rationale


@dataclass
class Search:
    """One instance's candidates on their way to an anchor (MATRIX A.2, step 2)."""

    instance: Instance
    pool: list[Proposal]  # best first
    judged: list[Judged] = field(default_factory=list)
    found: Proposal | None = None
    why_none: str | None = None  # the detector's reason, if it proposed nothing

    @property
    def next(self) -> Proposal | None:
        """The candidate to ask for next; None if one was accepted or all were refused."""
        return None if self.found or len(self.judged) == len(self.pool) else self.pool[len(self.judged)]

    @property
    def is_lost(self) -> bool:
        return self.found is None and self.next is None

    def take(self, answer: Answer, min_confidence: float) -> None:
        """Enter the verifier's answer on the next candidate."""
        accepted = answer.match and answer.confidence >= min_confidence
        if accepted:
            self.found = self.next
        self.judged.append(("accepted" if accepted else "refused", answer.confidence, answer.rationale))

    def exclude(self, taken: Sequence[Search], threshold: float) -> None:
        """Pass over the next candidates as long as they overlap a box accepted for one of `taken`."""
        while self.next is not None and (holder := _holder_of(self.next.box_xyxy, taken, threshold)):
            self.judged.append(("excluded", None, f"overlaps the box accepted for {holder}"))

    def candidates(self, indices: list[int]) -> list[Candidate]:
        """The whole pool with its verdicts; what was not asked comes last."""
        not_asked: Judged = ("not_asked", None, None)
        verdicts = self.judged + [not_asked] * (len(self.pool) - len(self.judged))
        return [
            Candidate(
                instance_id=self.instance.instance_id,
                frame=indices[p.frame],
                box_xyxy=p.box_xyxy,
                score=p.score,
                verdict=verdict,
                confidence=confidence,
                rationale=rationale,
            )
            for p, (verdict, confidence, rationale) in zip(self.pool, verdicts, strict=True)
        ]

    def anchor(self, indices: list[int]) -> Anchor:
        assert self.found is not None
        return Anchor(
            instance_id=self.instance.instance_id, frame=indices[self.found.frame], box_xyxy=self.found.box_xyxy
        )


def next_questions(searches: list[Search], pairs: list[tuple[str, str]], exclusion_iou: float) -> list[Search]:
    """The searches whose next candidate is asked for in this round, one each; an empty list: the clip is settled.

    An instance waits for those of its class before it, whose boxes leave its pool, and is not looked for any more
    once each of its interactions has lost an end: nobody asks what an earlier answer has made needless. Rounds, so
    that what is asked does not depend on which answer comes first.
    """
    lost = lost_ids(searches)
    named = still_named(pairs, lost)
    open_ = [s for s in searches if s.next and s.instance.instance_id in named]
    asking: dict[str, Search] = {}
    for search in open_:
        asking.setdefault(search.instance.class_name, search)
    for class_name, search in asking.items():
        search.exclude([s for s in searches if s.instance.class_name == class_name], exclusion_iou)
    if lost_ids(searches) != lost:
        return next_questions(searches, pairs, exclusion_iou)
    return list(asking.values())


def ask_all(verifier: Verifier, searches: list[Search], frames: np.ndarray, caption: str) -> list[Answer]:
    """The verifier's answers on each search's next candidate; asked side by side if the verifier can."""

    def ask(search: Search) -> Answer:
        assert search.next is not None
        return verifier.verify(frames[search.next.frame], search.next.box_xyxy, search.instance, caption)

    if verifier.concurrency == 1 or len(searches) == 1:
        return [ask(search) for search in searches]
    with ThreadPoolExecutor(len(searches), thread_name_prefix="verify") as pool:
        return [future.result() for future in [pool.submit(copy_context().run, ask, s) for s in searches]]


def lost_ids(searches: list[Search]) -> set[str]:
    """Instances none of whose candidates was verified."""
    return {s.instance.instance_id for s in searches if s.is_lost}


def _holder_of(box: Box, searches: Sequence[Search], threshold: float) -> str | None:
    # On other frames too: the same object, still there a moment later, must not be taken twice.
    return next(
        (s.instance.instance_id for s in searches if s.found and box_iou(box, s.found.box_xyxy) >= threshold), None
    )


def _why_lost(searches: list[Search]) -> str:
    def why(search: Search) -> str:
        name = f"{search.instance.instance_id} {search.instance.noun!r}"
        if search.pool:
            return f"{name}: none of {len(search.pool)} candidates verified"
        return f"{name}: {search.why_none or 'no candidate'}"

    return "; ".join(why(s) for s in searches if s.is_lost)


def makers(detector: Detector, verifier: Verifier) -> list[MadeBy]:
    return [
        MadeBy.of(f"{Grounding.stage_name}.detector", detector.identity),
        MadeBy.of(f"{Grounding.stage_name}.verifier", verifier.identity),
    ]


def load_backends(
    config: GroundConfig,
    endpoint: EndpointConfig,
    cache: AnyPath,
    dino: DinoConfig,
    torch: TorchConfig,
    local: LocalConfig,
) -> tuple[Detector, Verifier]:
    use_one_opencv_thread()
    return _load_detector(config, dino, torch), load_verifier(config, endpoint, cache, torch, local)


def _load_detector(config: GroundConfig, dino: DinoConfig, torch: TorchConfig) -> Detector:
    match config.grounding:
        case "packaged":
            from tasks.backends.agreement import AgreementDetector

            return AgreementDetector()
        case "colour":
            from tasks.backends.colour import ColourDetector

            return ColourDetector()
        case "nanodet":
            from tasks.backends.nanodet import NanoDetDetector

            return NanoDetDetector()
        case "groundingdino":
            from tasks.backends.grounding_dino.native import NativeGroundingDino

            return NativeGroundingDino(dino, torch)
        case "transformers":
            from tasks.backends.grounding_dino.port import PortedGroundingDino

            return PortedGroundingDino(dino, torch)


def load_verifier(
    config: GroundConfig, endpoint: EndpointConfig, cache: AnyPath, torch: TorchConfig, local: LocalConfig
) -> Verifier:
    match config.vlm:
        case "packaged":
            from tasks.backends.agreement import AgreementVerifier

            return AgreementVerifier()
        case "rules":
            from tasks.backends.colour import AttributeVerifier

            return AttributeVerifier()
        case "openai":
            from tasks.backends.chat.verifier import ChatVerifier
            from tasks.backends.openai.api import ChatClient
            from tasks.backends.openai.endpoint import Endpoint

            return ChatVerifier(ChatClient(Endpoint.from_env("VLM"), endpoint, cache))
        case "transformers":
            from tasks.backends.chat.verifier import ChatVerifier
            from tasks.backends.local_models.chat import LocalChat

            return ChatVerifier(LocalChat("VLM", local, torch, cache))
        case "none":
            from tasks.backends.unverified import Unverified

            return Unverified()


def stage(
    work: Work,
    footage: FootageOf,
    config: GroundConfig,
    endpoint: EndpointConfig,
    dino: DinoConfig,
    torch: TorchConfig,
    local: LocalConfig,
) -> Stage[Any, Footage, Grounding]:
    detector, verifier = load_backends(config, endpoint, work.root / "llm", dino, torch, local)
    # As many rows as the verifier can take, which mostly waits for its server, and those at the detector's network.
    detecting = BoundedSemaphore(detector.concurrency)

    def compute(seen: Footage) -> Grounding:
        indices = sample_indices(seen.n_frames, config.n_frames)
        frames = seen.frames(indices)
        with detecting:
            proposals = detector.propose(frames, seen.wanted.instances)
        return ground_instances(frames, indices, seen.wanted, proposals, verifier, config, makers(detector, verifier))

    return Stage(
        version=2,
        result=Grounding,
        config=config,
        made_by=makers(detector, verifier),
        read=footage,
        key_of=lambda seen: [seen.span, *seen.wanted],
        compute=compute,
        concurrency=verifier.concurrency + detector.look_ahead,
    )


def result_of(work: Work, row: Row[Any]) -> Grounding:
    return work.result(row, Grounding)
