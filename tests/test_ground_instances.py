"""tasks.ground_instances: the order of questions, the exclusions and what is kept of every verdict (MATRIX A.2)."""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np
import pytest

from schemas.grounding import Answer, Found, Grounding, NotFound, Proposal, Wanted
from schemas.instance import Instance
from schemas.outcome import RowRejected
from tasks.ground_instances import GroundConfig, candidate_pool, ground_instances
from tests.support.builders import make_instance
from tests.support.told import told_by

FRAMES = np.zeros((2, 60, 80, 3), np.uint8)
A, B, C = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0), (40.0, 0.0, 50.0, 10.0)


class Proposals:
    identity = {"backend": "scripted", "model": "1"}  # noqa: RUF012
    concurrency = 1

    def __init__(self, **of_id: list[tuple[int, tuple, float]]) -> None:
        self.of_id = of_id

    def propose(self, frames: np.ndarray, instances: list[Instance]) -> dict[str, list[Proposal]]:
        return {
            i: [Proposal(frame=f, box_xyxy=box, score=score) for f, box, score in found]
            for i, found in self.of_id.items()
        }


class Verdicts:
    identity = {"backend": "scripted", "model": "1"}  # noqa: RUF012
    concurrency = 1

    def __init__(self, *yes: tuple[str, tuple], confidence: float = 0.9) -> None:
        self.yes, self.confidence = yes, confidence
        self.asked: list[tuple[str, tuple]] = []

    def verify(self, frame: np.ndarray, box_xyxy: tuple, instance: Instance, caption: str) -> Answer:
        self.asked.append((instance.instance_id, box_xyxy))
        match = (instance.instance_id, box_xyxy) in self.yes
        return Answer(match=match, confidence=self.confidence, rationale="scripted")


def wanted(*pairs: tuple[str, str], classes: tuple[str, ...] = ("boy", "ball", "ball")) -> Wanted:
    ids = sorted({i for pair in pairs for i in pair})
    return Wanted("caption", [make_instance(i, c) for i, c in zip(ids, classes, strict=False)], list(pairs))


def ground(what: Wanted, detector: Proposals, verifier: Verdicts, **config: object) -> Grounding:
    proposals = detector.propose(FRAMES, what.instances)
    return ground_instances(FRAMES, [3, 9], what, proposals, verifier, GroundConfig(**config), made_by=[])


def verdicts(grounding: Grounding, instance_id: str) -> list[tuple[int, tuple, str]]:
    return [(c.frame, c.box_xyxy, c.verdict) for c in grounding.candidates if c.instance_id == instance_id]


def test_candidates_are_asked_in_descending_confidence_until_one_is_accepted() -> None:
    detector = Proposals(id1=[(0, A, 0.9)], id2=[(0, A, 0.2), (1, B, 0.8), (0, C, 0.5)])
    verifier = Verdicts(("id1", A), ("id2", C))
    grounding = ground(wanted(("id1", "id2")), detector, verifier)
    assert verifier.asked == [("id1", A), ("id2", B), ("id2", C)]
    assert verdicts(grounding, "id2") == [(9, B, "refused"), (3, C, "accepted"), (3, A, "not_asked")]
    assert [(a.instance_id, a.frame, a.box_xyxy) for a in grounding.anchors] == [("id1", 3, A), ("id2", 3, C)]


def test_the_candidates_that_were_asked_about_are_told() -> None:
    detector = Proposals(id1=[(0, A, 0.9)], id2=[(0, A, 0.2), (1, B, 0.8), (0, C, 0.5)])
    told = told_by(ground, wanted(("id1", "id2")), detector, Verdicts(("id1", A), ("id2", C)))
    assert told == ["2 candidates asked about", "3 candidates asked about"]


def test_a_detectors_reason_for_proposing_nothing_reaches_the_outcome() -> None:
    """Beside an instance that it proposes boxes for, and one that it says nothing of."""
    found: dict[str, Found] = {
        "id1": [Proposal(frame=0, box_xyxy=A, score=0.9)],
        "id2": NotFound("no detector here knows 'frisbee'; see --profile local"),
    }
    what = wanted(("id1", "id2"), ("id1", "id3"), classes=("boy", "frisbee", "ball"))
    with pytest.raises(RowRejected) as rejected:
        ground_instances(FRAMES, [3, 9], what, found, Verdicts(("id1", A)), GroundConfig(), made_by=[])
    noun = what.instances[1].noun
    assert rejected.value.reason == "no_interaction_left"
    assert f"id2 {noun!r}: no detector here knows 'frisbee'; see --profile local" in str(rejected.value)
    assert "id3" in str(rejected.value)
    assert str(rejected.value).endswith(": no candidate")


def test_an_accepted_box_leaves_the_pools_of_its_class_on_every_frame() -> None:
    near_a = (1.0, 0.0, 11.0, 10.0)  # the same ball, a moment later
    both = [(0, A, 0.9), (1, near_a, 0.8), (1, B, 0.5)]
    verifier = Verdicts(("id1", C), ("id2", A), ("id3", near_a), ("id3", B))
    grounding = ground(wanted(("id1", "id2"), ("id1", "id3")), Proposals(id1=[(0, C, 1)], id2=both, id3=both), verifier)
    assert ("id3", A) not in verifier.asked
    assert ("id3", near_a) not in verifier.asked
    assert verdicts(grounding, "id3") == [(3, A, "excluded"), (9, near_a, "excluded"), (9, B, "accepted")]


def test_other_classes_may_overlap() -> None:
    detector = Proposals(id1=[(0, A, 1)], id2=[(0, A, 1)])
    grounding = ground(wanted(("id1", "id2")), detector, Verdicts(("id1", A), ("id2", A)))
    assert [a.instance_id for a in grounding.anchors] == ["id1", "id2"]


def test_nobody_asks_for_an_instance_whose_interactions_are_lost() -> None:
    detector = Proposals(id1=[(0, A, 1), (1, A, 0.5)], id2=[(0, B, 1), (1, B, 0.5), (0, C, 0.2)], id3=[(0, C, 1)])
    verifier = Verdicts(("id1", (0, 0, 1, 1)), ("id3", C))
    with pytest.raises(RowRejected) as error:
        ground(wanted(("id1", "id2"), classes=("boy", "ball")), detector, verifier)
    # In the round in which id1 is lost, id2 has been asked for twice; its third candidate is spared.
    assert verifier.asked == [("id1", A), ("id2", B), ("id1", A), ("id2", B)]
    evidence = error.value.evidence
    assert isinstance(evidence, Grounding)
    assert evidence.lost_ids == ["id1"]
    assert [c.verdict for c in evidence.candidates] == ["refused"] * 4 + ["not_asked"]


def test_an_instance_without_candidates_spares_every_call() -> None:
    verifier = Verdicts()
    with pytest.raises(RowRejected, match="id2 'a red ball': no candidate"):
        ground(wanted(("id1", "id2"), classes=("boy", "ball")), Proposals(id1=[(0, A, 1)]), verifier)
    assert verifier.asked == []


class SideBySide(Verdicts):
    """Answers only once `together` questions wait."""

    concurrency = 8

    def __init__(self, together: int, *yes: tuple[str, tuple]) -> None:
        super().__init__(*yes)
        self.barrier = threading.Barrier(together)

    def verify(self, *args: Any) -> Answer:
        self.barrier.wait(timeout=10)
        return super().verify(*args)


def test_instances_of_different_classes_are_asked_for_side_by_side() -> None:
    detector = Proposals(id1=[(0, A, 1)], id2=[(0, B, 1)], id3=[(0, C, 1)])
    verifier = SideBySide(3, ("id1", A), ("id2", B), ("id3", C))
    grounding = ground(wanted(("id1", "id2"), ("id1", "id3"), classes=("boy", "ball", "dog")), detector, verifier)
    assert [a.instance_id for a in grounding.anchors] == ["id1", "id2", "id3"]


def test_side_by_side_asks_what_one_by_one_asks() -> None:
    rng = random.Random(0)
    for _ in range(30):
        boxes = [(float(10 * i), 0.0, float(10 * i + 9), 9.0) for i in range(4)]
        ids = ("id1", "id2", "id3", "id4")
        found = {i: [(rng.randrange(2), rng.choice(boxes), rng.random()) for _ in range(4)] for i in ids}
        yes = [(i, box) for i in ids for box in boxes if rng.random() < 0.4]
        what = wanted(("id1", "id2"), ("id3", "id4"), classes=("boy", "ball", "ball", "boy"))
        one, many = Verdicts(*yes), SideBySide(1, *yes)
        ends = []
        for verifier in (one, many):
            try:
                ends.append(ground(what, Proposals(**found), verifier))
            except RowRejected as error:
                ends.append(error.evidence)
        assert ends[0] == ends[1]
        assert sorted(one.asked) == sorted(many.asked)
        asked = [c for c in ends[0].candidates if c.verdict in ("accepted", "refused")]
        assert len(asked) == len(one.asked)


def test_an_uncertain_yes_is_a_no() -> None:
    detector = Proposals(id1=[(0, A, 1)], id2=[(0, B, 1)])
    with pytest.raises(RowRejected, match="no_interaction_left"):
        ground(wanted(("id1", "id2")), detector, Verdicts(("id1", A), ("id2", B), confidence=0.4))


def test_a_lost_instance_takes_its_interactions_and_their_other_ends_along() -> None:
    detector = Proposals(id1=[(0, A, 1)], id2=[(0, B, 1)], id3=[(0, C, 1)])
    verifier = Verdicts(("id1", A), ("id2", B))
    grounding = ground(wanted(("id1", "id2"), ("id3", "id2"), classes=("boy", "ball", "dog")), detector, verifier)
    assert grounding.lost_ids == ["id3"]
    assert [a.instance_id for a in grounding.anchors] == ["id1", "id2"]


def test_a_rejected_clip_keeps_every_verdict_as_evidence() -> None:
    with pytest.raises(RowRejected, match="id2 'a red ball': none of 2 candidates verified") as error:
        ground(
            wanted(("id1", "id2")),
            Proposals(id1=[(0, A, 1)], id2=[(0, B, 1), (1, C, 0.5)]),
            Verdicts(("id1", A)),
        )
    evidence = error.value.evidence
    assert isinstance(evidence, Grounding)
    assert [c.verdict for c in evidence.candidates] == ["accepted", "refused", "refused"]
    assert evidence.anchors == []


def test_the_pool_holds_the_best_of_each_frame_cut_to_the_picture() -> None:
    proposals = [Proposal(frame=0, box_xyxy=(float(i), 0, float(i + 5), 5), score=i / 10) for i in range(8)]
    proposals += [
        Proposal(frame=1, box_xyxy=(-5, -5, 200, 200), score=0.35),
        Proposal(frame=1, box_xyxy=(90, 0, 99, 9), score=1),  # beside the picture
        Proposal(frame=1, box_xyxy=(5, 5, 5, 9), score=1),  # no area
    ]
    pool = candidate_pool(proposals, per_frame=3, width=80, height=60)
    assert [(p.frame, p.score) for p in pool] == [(0, 0.7), (0, 0.6), (0, 0.5), (1, 0.35)]
    assert pool[-1].box_xyxy == (0, 0, 80, 60)


def test_equal_scores_are_ordered_by_place_not_by_the_detectors_order() -> None:
    a = [Proposal(frame=f, box_xyxy=box, score=0.5) for f, box in ((1, A), (0, B), (0, A))]
    assert candidate_pool(a, 5, 80, 60) == candidate_pool(a[::-1], 5, 80, 60)
