"""tasks.score_dsr: scores against hand-computed boxes, what makes a sample invalid, the stage, snapshots."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import bench_score
from schemas.candidate import Box, Candidate
from schemas.dsr import ANIMAL, OBJECT, DsrSample, SampleRow, TrackRow, TrueBoxes
from schemas.generation import Generated
from schemas.grounding import Grounding
from schemas.mask_track import MaskTrack, Tracks
from schemas.outcome import RowFailed, RowRejected
from schemas.record import Record
from schemas.relation import RELATIONS, SpatialRelation
from schemas.scores import Scored, Variant
from schemas.tables import CandidateRow
from tasks.datasets.dsr.rescore import read_boxes, score_snapshot
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Row, Shard, load_shard
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.engine.stage import run_stage
from tasks.engine.work import Made, Work
from tasks.generate_samples import wanted_instances
from tasks.ground_instances import GroundConfig
from tasks.metrics.dsr_score import (
    ClipScores,
    directions_of,
    dsr_scores,
    score_clips,
    ssr_scores,
    with_inclusive_edges,
)
from tasks.metrics.dsr_validity import detected_frames, has_rival, longest_run
from tasks.score_dsr import ScoreConfig, score_sample, stage
from tests.support.builders import HEIGHT, WIDTH, make_track
from tests.support.snapshots import write_snapshot

NAN, INF = math.nan, math.inf
ABSENT = (NAN,) * 4
STUMP = (100, 100, 120, 140)  # 20 wide, 40 high, its centre at (110, 120)
LEFT, RIGHT, ABOVE = (70, 100, 90, 140), (130, 100, 150, 140), (100, 40, 120, 80)
RAISED = (80, 60, 100, 100)  # up and to the left: (-20, -40) between centres


BOXES = st.tuples(*[st.floats(-500, 500)] * 2, *[st.floats(0.5, 300)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
RELATION = st.sampled_from(sorted(RELATIONS))


def at(dx: float, dy: float, width: float = 20, height: float = 40) -> Box:
    """A box whose centre is so far right of, and below, the stump's."""
    x, y = 110 + dx, 120 + dy
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def ssr(animal: Any, relation: str, object_: Any = STUMP, variant: Variant = "official") -> float:
    """SSR-Score of one frame."""
    boxes = np.array([[animal]], float), np.array([[object_]], float)
    return float(ssr_scores(*boxes, np.array([[True]]), directions_of([relation]), variant)[0, 0])


def clip(animal: list[Any], initial: str = "left", final: str = "right", **how: Any) -> ClipScores:
    """Scores of one clip; None: the animal is not found."""
    found = np.array([[box is not None for box in animal]])
    boxes = np.array([[box or (0, 0, 9, 9) for box in animal]], float)
    stump = np.broadcast_to(np.array(STUMP, float), boxes.shape)
    return score_clips(boxes, stump, found, directions_of([initial]), directions_of([final]), **how)


# --- A frame ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("animal", "left", "right", "top"),
    [
        (LEFT, 1, -1, 0),
        (RIGHT, -1, 1, 0),
        (ABOVE, 0, 0, 1),
        (at(0, 60), 0, 0, -1),
        (at(-20, 0), 1, -1, 0),  # they touch
        (at(-10, 0), 0.5, -0.5, 0),  # they overlap by half
        (at(-5, 0, width=60, height=80), 0.125, -0.125, 0),  # the stump is inside: 5 px of (60 + 20) / 2
        (at(0, -4, width=6, height=8), 0, 0, 4 / 24),  # the animal is inside
        (STUMP, 0, 0, 0),  # equal centres
        (at(0, 0, width=60, height=80), 0, 0, 0),
        (RAISED, 20 / math.hypot(20, 40), -20 / math.hypot(20, 40), 40 / math.hypot(20, 40)),
        (at(-6, -8), 0.3 * 0.6, -0.3 * 0.6, 0.2 * 0.8),  # near and askew: both factors count
        (at(-3000, -4000), 0.6, -0.6, 0.8),  # far away is no better than beside
    ],
)
def test_each_relation(animal: Box, left: float, right: float, top: float) -> None:
    assert [ssr(animal, name) for name in ("left", "right", "top")] == pytest.approx([left, right, top], abs=1e-12)


@pytest.mark.parametrize(
    "box",
    [
        (90, 100, 90, 140),
        (90, 100, 100, 100),
        (100, 100, 90, 140),
        (90, 140, 100, 100),
        (90, 100, INF, 140),
        (-INF, 100, 100, 140),
        (-INF, 100, INF, 140),
        (90, 100, 100, NAN),
        (-1e308, 100, 1.5e308, 140),
    ],
)
def test_a_degenerate_box_has_no_score_in_any_relation_by_the_paper(box: Box) -> None:
    for relation in RELATIONS:
        assert math.isnan(ssr(box, relation, variant="paper"))
        assert math.isnan(ssr(LEFT, relation, object_=box, variant="paper"))


FLAT_STUMP = (100, 120, 120, 120)


@pytest.mark.parametrize(
    ("animal", "object_", "left", "top"),
    [
        # Of the stump's centre (110, 120), 6 px to the left and 8 px up: the cosines are 0.6 and 0.8. Mean sizes are
        # signed, (w + 20) / 2 and (h + 40) / 2; distances are cut to 1.
        (at(-6, -8), STUMP, 0.6 * 6 / 20, 0.8 * 8 / 40),  # as any box
        (at(-6, -8, height=0), STUMP, 0.6 * 6 / 20, 0.8 * 8 / 20),
        (at(-6, -8), FLAT_STUMP, 0.6 * 6 / 20, 0.8 * 8 / 20),
        (at(-6, -8, height=0), FLAT_STUMP, NAN, NAN),  # mean height 0
        (at(-6, -8, width=0), STUMP, NAN, NAN),  # no width
        (at(-6, -8), (110, 100, 110, 140), NAN, NAN),
        (at(-6, -8, width=-20), STUMP, NAN, NAN),  # mean width 0
        (at(-6, -8, width=-10), STUMP, 0.6, 0.8 * 8 / 40),  # inverted: mean width 5
        (at(-6, -8, width=-60), STUMP, 0.6 * 6 / 20, 0.8 * 8 / 40),  # mean width -20
        (at(-6, -8, height=-20), STUMP, 0.6 * 6 / 20, 0.8 * 8 / 10),
        (at(-6, -8, height=-40), STUMP, NAN, NAN),
        (at(-6, -8, width=-60, height=-120), STUMP, 0.6 * 6 / 20, 0.8 * 8 / 40),
        (at(0, 0, height=0), STUMP, 0, 0),  # equal centres
        ((90, 100, INF, 140), STUMP, NAN, NAN),
        ((-INF, 100, INF, 140), STUMP, NAN, NAN),
        ((90, NAN, 100, 140), STUMP, NAN, NAN),
        (at(-6, -8), (100, 100, 120, NAN), NAN, NAN),
    ],
)
def test_a_degenerate_box_has_the_score_of_the_authors_code(animal: Box, object_: Box, left: float, top: float) -> None:
    got = [ssr(animal, name, object_) for name in ("left", "right", "top")]
    assert got == pytest.approx([left, -left, top], nan_ok=True)


SMALL_BOXES = st.tuples(*[st.integers(0, 4)] * 4).map(lambda box: tuple(map(float, box)))


@given(SMALL_BOXES, SMALL_BOXES, RELATION)
def test_boxes_of_any_shape_equal_a_plain_loop_and_whole_ones_are_scored_alike(
    animal: Box, object_: Box, relation: str
) -> None:
    direction = RELATIONS[relation].direction
    for variant in ("official", "paper"):
        plain = bench_score.plain_ssr(animal, object_, direction, variant)
        assert ssr(animal, relation, object_, variant) == pytest.approx(NAN if plain is None else plain, nan_ok=True)
    if all(box[2] > box[0] and box[3] > box[1] for box in (animal, object_)):
        assert ssr(animal, relation, object_) == ssr(animal, relation, object_, "paper")


def test_inclusive_edges_make_a_box_a_pixel_smaller() -> None:
    animal, object_ = (with_inclusive_edges(np.array(box, float)) for box in (at(-6, -8), STUMP))
    # 20 x 40 px become 19 x 39 between first and last pixel; the centres move together.
    assert ssr(animal, "left", object_) == pytest.approx(0.6 * 6 / 19)
    assert ssr(animal, "top", object_) == pytest.approx(0.8 * 8 / 39)
    assert math.isnan(ssr(with_inclusive_edges(np.array([90, 100, 91, 140])), "left", object_)), "one pixel wide"
    assert ssr(with_inclusive_edges(np.array([70, 120, 90, 121])), "left", object_) > 0.9, "one pixel high"


def test_what_a_box_holds_where_nothing_was_found_does_not_matter() -> None:
    animal = np.array([[LEFT, LEFT, ABSENT, LEFT]], float)
    object_ = np.array([[STUMP, STUMP, STUMP, ABSENT]], float)
    found = np.array([[True, False, False, False]])
    scores = ssr_scores(animal, object_, found, directions_of(["left"]))
    np.testing.assert_equal(scores, [[1, NAN, NAN, NAN]])


def test_a_frame_of_whole_pixels_is_taken_too() -> None:
    boxes = np.array([[LEFT]], np.int32), np.array([[STUMP]], np.int32)
    assert ssr_scores(*boxes, np.array([[True]]), directions_of(["left"]))[0, 0] == 1


@given(BOXES, BOXES, RELATION, st.floats(0.01, 100), st.floats(-1000, 1000), st.floats(-1000, 1000))
def test_neither_the_images_scale_nor_the_place_in_it_matters(
    animal: Box, object_: Box, relation: str, scale: float, dx: float, dy: float
) -> None:
    def moved(box: Box) -> Box:
        return tuple(scale * v + d for v, d in zip(box, (dx, dy, dx, dy), strict=True))

    # Near equal centres the cosine hangs on the last digits of their difference.
    apart = max(abs(a + b - c - d) for a, b, c, d in zip(animal[:2], animal[2:], object_[:2], object_[2:], strict=True))
    expected = ssr(animal, relation, object_)
    if apart > 1e-3:
        assert ssr(moved(animal), relation, moved(object_)) == pytest.approx(expected, abs=1e-6)
    else:
        assert abs(ssr(moved(animal), relation, moved(object_))) < 2e-3


@given(BOXES, BOXES)
def test_left_and_right_are_mirror_images(animal: Box, object_: Box) -> None:
    def mirrored(box: Box) -> Box:
        return (-box[2], box[1], -box[0], box[3])

    assert ssr(animal, "left", object_) == ssr(mirrored(animal), "right", mirrored(object_))
    assert ssr(animal, "left", object_) == -ssr(animal, "right", object_)
    assert ssr(animal, "top", object_) == ssr(mirrored(animal), "top", mirrored(object_))


# --- A clip ----------------------------------------------------------------------------------


def test_an_ideal_clip_reaches_the_upper_bound_and_its_reverse_the_lower() -> None:
    ideal = [LEFT] * 3 + [RIGHT] * 3
    for variant, lower, upper in (("official", 0, 1), ("paper", -0.25, 1.25)):
        assert clip(ideal, variant=variant).dsr.score == [upper]
        assert clip(ideal[::-1], variant=variant).dsr.score == [lower]


def test_the_parts_of_a_score_by_hand() -> None:
    # Left, by fifths of the mean width: 1, 0.8, 0.6, 0.2, then right by 0.4, 0.8.
    moves = [at(20 * share, 0) for share in (-1, -0.8, -0.6, -0.2, 0.4, 0.8)]
    scores = clip(moves)
    np.testing.assert_allclose(scores.ssr_initial, [[1, 0.8, 0.6, 0.2, -0.4, -0.8]])
    np.testing.assert_allclose(scores.ssr_final, [[-1, -0.8, -0.6, -0.2, 0.4, 0.8]])
    dsr = scores.dsr
    parts = [dsr.r_initial[0], dsr.r_final[0], dsr.g_initial[0], dsr.g_final[0]]
    assert parts == pytest.approx([0.8, (-0.2 + 0.4 + 0.8) / 3, 1.8, 1.8])
    assert dsr.n_found == [6]
    assert dsr.score[0] == pytest.approx((0.8 + 1 / 3 + 0.5 * 3.6) / 8 + 0.5)
    assert clip(moves, variant="paper").dsr.score[0] == pytest.approx((0.8 + 1 / 3 + 3.6) / 8 + 0.5)
    assert clip(moves, variant="paper").dsr.g_initial == dsr.g_initial, "the variant decides about halving, not this"


def test_the_curves_of_figure_2b_cross_once() -> None:
    """An animal that goes from the left to the top along an arc: one relation falls, the other rises."""
    angles = np.linspace(math.pi, math.pi / 2, 81)
    scores = clip([at(30 * math.cos(a), -60 * math.sin(a)) for a in angles], "left", "top")
    initial, final = scores.ssr_initial[0], scores.ssr_final[0]
    assert (np.diff(initial) <= 1e-12).all()
    assert (np.diff(final) >= -1e-12).all()
    assert np.count_nonzero(np.diff(np.sign(initial - final))) == 1
    assert (initial[0], final[-1]) == pytest.approx((1, 1), abs=1e-9)
    assert scores.dsr.score[0] == pytest.approx((1 + 1 + 0.5 * 2) / 8 + 0.5, abs=2e-3)
    still = clip([LEFT] * 81, "left", "top").dsr.score[0]
    assert still == pytest.approx((1 + 0 + 0) / 8 + 0.5)


def test_the_first_and_the_last_are_of_the_found_frames() -> None:
    whole = [LEFT, RAISED, at(-10, 0), at(10, 0), at(10, -5), RIGHT]
    with_holes = [None, *whole[:1], None, None, *whole[1:4], None, *whole[4:], None]
    scored, expected = clip(with_holes), clip(whole)
    for got, wanted in zip(scored.dsr, expected.dsr, strict=True):
        assert got == wanted
    holes = [box is None for box in with_holes]
    np.testing.assert_equal(np.isnan(scored.ssr_initial[0]), holes)
    np.testing.assert_equal(np.isnan(scored.ssr_final[0]), holes)


def test_a_degenerate_box_is_a_missing_frame() -> None:
    flat = (90, 100, 90, 140)
    assert clip([flat, LEFT, flat, RIGHT]).dsr == clip([None, LEFT, None, RIGHT]).dsr
    assert clip([flat, LEFT, flat, RIGHT]).dsr.n_found == [2]


def test_fewer_frames_than_are_averaged_are_averaged_all() -> None:
    dsr = clip([None, at(-20, 0), None, at(10, 0)], end_frames=3).dsr
    assert [dsr.r_initial[0], dsr.r_final[0]] == pytest.approx([(1 - 0.5) / 2, (-1 + 0.5) / 2])
    one = clip([None, LEFT, None]).dsr
    assert [float(part[0]) for part in one] == [1, -1, 0, 0, 0.5, 1]
    many = clip([LEFT] * 2 + [RIGHT] * 2, end_frames=50).dsr
    assert [many.r_initial[0], many.r_final[0]] == [0, 0]


def test_a_clip_without_a_found_frame_has_no_score_and_disturbs_none() -> None:
    dsr = clip([None] * 4).dsr
    assert dsr.n_found == [0]
    assert all(np.isnan(part[0]) for part in dsr[:-1])
    two = dsr_scores(np.array([[NAN, NAN], [1, -1]]), np.array([[NAN, NAN], [-1, 1]]))
    np.testing.assert_equal(two.score, [NAN, (0 + 0 + 0.5 * 4) / 8 + 0.5])


def test_no_clips_have_no_scores() -> None:
    none = np.empty((0, 81, 4))
    scores = score_clips(none, none, np.empty((0, 81), bool), directions_of([]), directions_of([]))
    assert scores.ssr_final.shape == (0, 81)
    assert all(part.shape == (0,) for part in scores.dsr)


@given(
    st.lists(st.tuples(st.none() | BOXES, BOXES), min_size=1, max_size=12),
    st.lists(RELATION, min_size=2, max_size=2, unique=True),
    st.sampled_from([1, 3, 20]),
)
@settings(max_examples=60)
def test_scores_stay_within_their_bounds_and_equal_a_plain_loop(
    frames: list[tuple[Box | None, Box]], relations: list[str], end_frames: int
) -> None:
    animal = np.array([[a or ABSENT for a, _ in frames]])
    object_ = np.array([[o for _, o in frames]])
    found = np.array([[a is not None for a, _ in frames]])
    how = [directions_of([name]) for name in relations]
    for variant, lower, upper in (("official", 0, 1), ("paper", -0.25, 1.25)):
        scores = score_clips(animal, object_, found, *how, variant, end_frames)
        assert np.isnan(scores.dsr.score) == [not found.any()]
        assert not (scores.dsr.score < lower).any()
        assert not (scores.dsr.score > upper).any()
        assert (np.abs(scores.ssr_initial[found]) <= 1).all()
        if end_frames == 3:
            plain = bench_score.plain_clips([[a for a, _ in frames]], [[o for _, o in frames]], [relations], variant)
            bench_score.assert_equal(scores, plain)


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_the_benchmarks_two_ways_agree(variant: Variant) -> None:
    clips = bench_score.make_clips(40, 30)
    animals, objects = bench_score.as_lists(clips.animal), bench_score.as_lists(clips.object_)
    assert not clips.found.all()
    plain = bench_score.plain_clips(animals, objects, clips.relations, variant)
    bench_score.assert_equal(bench_score.numpy_clips(clips, variant), plain)
    np.testing.assert_equal(bench_score.from_lists(animals, objects, clips.relations), clips)


def test_a_batch_scores_as_its_clips_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.metrics.dsr_score._BLOCK_FRAMES", 100)  # three clips at a time
    clips = bench_score.make_clips(11, 30)
    batch = bench_score.numpy_clips(clips)
    for number in range(11):
        one = slice(number, number + 1)
        alone = bench_score.numpy_clips(
            bench_score.Clips(clips.relations[one], clips.animal[one], clips.object_[one], clips.found[one])
        )
        np.testing.assert_array_equal(batch.ssr_initial[one], alone.ssr_initial)
        np.testing.assert_array_equal(batch.ssr_final[one], alone.ssr_final)
        np.testing.assert_array_equal([part[number] for part in batch.dsr], [part[0] for part in alone.dsr])


# --- Further relations -----------------------------------------------------------------------


def test_a_relation_more_in_the_table_needs_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    below = SpatialRelation("below", "B", (0, 1, 0), "below", "below", "from below")
    monkeypatch.setitem(RELATIONS, "below", below)
    assert ssr(at(0, 60), "below") == 1
    assert ssr(at(-6, 8), "below") == pytest.approx(0.2 * 0.8)
    assert clip([ABOVE] * 3 + [at(0, 60)] * 3, "top", "below").dsr.score == [1]


def test_depth_is_one_more_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    behind = SpatialRelation("behind", "H", (0, 0, 1), "behind", "behind", "from behind")
    monkeypatch.setitem(RELATIONS, "behind", behind)
    stump = (100, 100, 4, 120, 140, 6)  # left, top, front, right, bottom, back
    animals = [(100, 100, 7, 120, 140, 9), (100, 100, 4.5, 120, 140, 6.5), (80, 100, 4, 100, 140, 6)]
    boxes = np.array([animals], float), np.array([[stump] * 3], float)
    scores = ssr_scores(*boxes, np.ones((1, 3), bool), directions_of(["behind"], n_axes=3))
    np.testing.assert_allclose(scores, [[1, 0.25, 0]])
    left = ssr_scores(*boxes, np.ones((1, 3), bool), directions_of(["left"], n_axes=3))
    np.testing.assert_allclose(left, [[0, 0, 1]])
    with pytest.raises(ValueError, match=r"behind: boxes with 2 axes do not show it"):
        directions_of(["left", "behind"])


# --- Validity --------------------------------------------------------------------------------

N = 24
FOX, TREE = (10, 20, 20, 30), (40, 10, 60, 50)
FAR = (65, 40, 75, 50)
SAMPLED = 8
EXACTLY_ONE = {"same_iou": 0.5, "same_inside": 0.8}


def make_sample(**changes: Any) -> DsrSample:
    return bench_score.make_sample(3, "left", "right").model_copy(update=changes)


def make_generated(n_frames: int = N, true_boxes: dict[str, list[Box | None]] | None = None) -> Generated:
    return Generated(
        video=b"",
        video_sha256="0" * 64,
        n_frames=n_frames,
        fps=16,
        width=WIDTH,
        height=HEIGHT,
        instances=wanted_instances(make_sample(), {}),
        true_boxes=[TrueBoxes(instance_id=i, box_xyxy=boxes) for i, boxes in (true_boxes or {}).items()],
        made_by=[],
    )


def candidate(box: Box, frame: int = 0, instance_id: str = ANIMAL, score: float = 0.9, **changes: Any) -> Candidate:
    values = {"verdict": "not_asked"} | changes
    return Candidate(instance_id=instance_id, frame=frame, box_xyxy=box, score=score, **values)


def make_grounding(*candidates: Candidate) -> Grounding:
    return Grounding(anchors=[], candidates=list(candidates), lost_ids=[], made_by=[])


def make_tracks(animal: list[Any] | None = None, object_: list[Any] | None = None) -> Tracks:
    tracks: list[MaskTrack] = [make_track(ANIMAL, animal or [FOX] * N), make_track(OBJECT, object_ or [TREE] * N)]
    return Tracks(tracks=tracks, made_by=[])


def judge(
    *candidates: Candidate, tracks: Tracks | None = None, generated: Generated | None = None, **config: Any
) -> Scored:
    grounding, labels = make_grounding(*candidates), make_sample()
    return score_sample(
        generated or make_generated(), grounding, tracks or make_tracks(), labels, ScoreConfig(**config), SAMPLED
    )


def rejection(*candidates: Candidate, **how: Any) -> RowRejected:
    with pytest.raises(RowRejected) as error:
        judge(*candidates, **how)
    return error.value


def test_a_valid_sample_has_its_score_and_its_curves() -> None:
    scored = judge(candidate(FOX), candidate(TREE, instance_id=OBJECT))
    assert (scored.score, scored.n_found, scored.r_initial) == ("official", N, pytest.approx(35 / math.hypot(35, 5)))
    assert (scored.g_initial, scored.g_final) == (0, 0)
    assert scored.dsr_score == pytest.approx(0.5)
    assert len(scored.ssr_initial) == len(scored.ssr_final) == N
    assert [(r.role, r.frames, r.share) for r in scored.rivals] == [("animal", [], 0), ("object", [], 0)]
    assert (scored.true_score, scored.box_iou) == (None, None)


def test_frames_where_one_is_absent_are_null_in_the_curves() -> None:
    scored = judge(tracks=make_tracks(animal=[None, None, *[FOX] * 21, None], object_=[None, *[TREE] * 23]))
    assert scored.n_found == 21
    assert scored.ssr_initial[:2] == scored.ssr_final[:2] == [None, None]
    assert scored.ssr_initial[-1] is None
    assert None not in scored.ssr_initial[2:-1]


def test_too_few_frames_are_rejected_with_the_curves_and_no_score() -> None:
    error = rejection(tracks=make_tracks(animal=[FOX] * 19 + [None] * 5))
    assert (error.reason, error.detail) == ("too_few_frames", "both found in 19 of 24 frames, of 20 asked for")
    evidence = error.evidence
    assert isinstance(evidence, Scored)
    parts = (evidence.dsr_score, evidence.r_initial, evidence.r_final, evidence.g_initial, evidence.g_final)
    assert parts == (None,) * 5
    assert sum(value is not None for value in evidence.ssr_initial) == evidence.n_found == 19
    assert judge(tracks=make_tracks(animal=[FOX] * 20 + [None] * 4)).n_found == 20


def test_two_that_are_never_found_together_are_rejected() -> None:
    apart = make_tracks(animal=[FOX] * 12 + [None] * 12, object_=[None] * 12 + [TREE] * 12)
    evidence = rejection(tracks=apart).evidence
    assert isinstance(evidence, Scored)
    assert (evidence.n_found, evidence.ssr_final) == (0, [None] * N)


def test_a_second_animal_on_more_than_a_fifth_of_the_sampled_frames_is_rejected() -> None:
    one = judge(candidate(FAR, 3))
    assert [(r.frames, r.share) for r in one.rivals] == [([3], 1 / 8), ([], 0)]
    error = rejection(candidate(FAR, 3), candidate(FAR, 9))
    assert (error.reason, error.detail) == ("several_animals", "another fox on 2 of 8 sampled frames: [3, 9]")
    assert isinstance(error.evidence, Scored)
    assert error.evidence.rivals[0].share == 0.25
    assert judge(candidate(FAR, 3), candidate(FAR, 9), max_rival_share=0.25).dsr_score is not None


def test_the_authors_sixteen_of_81_frames_are_still_valid() -> None:
    def judged(n_rivals: int) -> Scored:
        grounding = make_grounding(*(candidate(FAR, frame) for frame in range(n_rivals)))
        return score_sample(make_generated(), grounding, make_tracks(), make_sample(), ScoreConfig(), n_sampled=81)

    assert len(judged(16).rivals[0].frames) == 16
    with pytest.raises(RowRejected, match="another fox on 17 of 81 sampled frames"):
        judged(17)


def test_a_second_object_is_rejected() -> None:
    error = rejection(*(candidate(FAR, frame, OBJECT) for frame in (1, 4)))
    assert (error.reason, error.detail) == ("several_objects", "another stump on 2 of 8 sampled frames: [1, 4]")


def test_every_fault_is_told_and_the_animals_come_first() -> None:
    rivals = [candidate(FAR, frame, i) for frame in (1, 4) for i in (OBJECT, ANIMAL)]
    error = rejection(*rivals, min_found=25)
    assert error.reason == "several_animals"
    assert [part.split()[0] for part in error.detail.split("; ")] == ["another", "another", "both"]


def test_several_rivals_on_a_frame_count_once() -> None:
    crowd = [candidate((x, 35, x + 8, 45), 3) for x in (2, 12, 22, 62)]
    assert judge(*crowd).rivals[0].frames == [3]


def test_what_is_unlikely_is_no_rival_and_what_was_refused_still_is() -> None:
    assert judge(*(candidate(FAR, frame, score=0.39) for frame in range(8))).rivals[0].frames == []
    assert judge(candidate(FAR, 3, score=0.4)).rivals[0].frames == [3]
    assert judge(candidate(FAR, 3, verdict="refused")).rivals[0].frames == [3]


@pytest.mark.parametrize(
    ("box", "is_rival"),
    [
        ((11, 21, 21, 31), False),  # the tracked fox, a pixel off
        ((10, 20, 14, 24), False),  # its head
        ((5, 5, 62, 52), False),  # fox and tree in one box
        ((42, 11, 61, 50), False),  # the tree, taken for a fox
        ((44, 20, 52, 30), True),  # a second fox before the tree: only inside its box
        ((16, 20, 26, 30), True),  # a second fox, which overlaps the first by 40%
        (FAR, True),
    ],
)
def test_which_boxes_are_another_animal(box: Box, is_rival: bool) -> None:
    assert has_rival([box], FOX, TREE, **EXACTLY_ONE) is is_rival
    assert has_rival([box, FOX], FOX, TREE, **EXACTLY_ONE) is is_rival


def test_where_the_track_is_absent_the_best_candidate_stands_in_for_it() -> None:
    assert not has_rival([FAR], None, TREE, **EXACTLY_ONE)
    assert not has_rival([TREE, FAR, (66, 41, 75, 50)], None, TREE, **EXACTLY_ONE)
    assert has_rival([FAR, FOX], None, TREE, **EXACTLY_ONE)
    assert has_rival([FAR, FOX], None, None, **EXACTLY_ONE)
    assert not has_rival([], None, None, **EXACTLY_ONE)
    both_foxes = (5, 15, 78, 55)
    unordered = [candidate(both_foxes, score=0.5), candidate(FOX, score=0.9), candidate(FAR, score=0.8)]
    absent_at_first = make_tracks(animal=[None, *[FOX] * 23])
    assert judge(*unordered, tracks=absent_at_first).rivals[0].frames == [0]


def pictures(n_frames: int, *others: Candidate, without: Collection[int] = ()) -> list[Candidate]:
    """The fox and the stump, each once on every frame, and what else is detected."""
    both = [candidate(box, f, i) for f in range(n_frames) for i, box in ((ANIMAL, FOX), (OBJECT, TREE))]
    return [c for c in both if c.frame not in without] + list(others)


def judge_officially(candidates: Sequence[Candidate], n_frames: int = N, **how: Any) -> Scored:
    tracks = make_tracks([FOX] * n_frames, [TREE] * n_frames)
    generated, config = make_generated(n_frames), ScoreConfig(validity="official", **how)
    return score_sample(generated, make_grounding(*candidates), tracks, make_sample(), config, n_frames)


def official_reason(candidates: Sequence[Candidate], n_frames: int = N, **how: Any) -> str | None:
    try:
        judge_officially(candidates, n_frames, **how)
    except RowRejected as error:
        return f"{error.reason}: {error.detail}"
    return None


def test_a_frame_is_valid_by_the_authors_code_with_one_box_of_each() -> None:
    cases = [
        [candidate(FOX, 0), candidate(TREE, 0, OBJECT)],  # valid
        [candidate(FOX, 1)],  # too little
        [candidate(FOX, 2), candidate(FAR, 2)],  # two foxes, no stump
        [candidate(FOX, 3), candidate(TREE, 3, OBJECT), candidate(FAR, 3)],  # three boxes
        [candidate(FOX, 4), candidate(TREE, 4, OBJECT), candidate(FAR, 4, score=0.39)],  # valid: the third is unlikely
        [candidate(FOX, 5), candidate(FOX, 5, OBJECT)],  # one box, named after both: too little
        [candidate(FOX, 6), candidate(FOX, 6, OBJECT), candidate(TREE, 6, OBJECT)],  # two boxes, one named after both
        [candidate((11, 21, 21, 31), 7), candidate(FOX, 7), candidate(TREE, 7, OBJECT)],  # the fox twice: three boxes
    ]
    found = detected_frames([c for case in reversed(cases) for c in case], 0.4)
    assert (found.valid, found.redundant) == ([0, 4], [2, 3, 6, 7])


def test_the_authors_thresholds_at_their_edges() -> None:
    def rivals(n: int) -> list[Candidate]:
        return [candidate(FAR, frame) for frame in range(n)]

    assert official_reason(pictures(81, *rivals(16)), 81) is None
    reason = official_reason(pictures(81, *rivals(17)), 81)
    assert reason == f"redundant_frames: other boxes than one fox and one stump on 17 of 81 frames: {[*range(17)]}"
    assert official_reason(pictures(81, *rivals(17)), 81, max_redundant=17) is None
    assert official_reason(pictures(20), 81) is None
    reason = official_reason(pictures(19), 81)
    assert reason == "too_few_valid_frames: one fox and one stump alone on 19 of 81 frames, of 20 asked for"
    threes = range(3, 81, 4)  # the stump is missed on every fourth frame
    reason = official_reason(pictures(81, without=threes), 81)
    assert reason == "no_valid_run: one fox and one stump alone on 3 successive frames, of 4 asked for"
    assert official_reason(pictures(81, without=[*threes][1:]), 81) is None


def test_the_longest_run_of_successive_frames() -> None:
    assert [longest_run(frames) for frames in ([], [7], [0, 2, 4], [3, 4, 5, 9], [1, 3, 4, 6, 7, 8, 9])] == [
        *(0, 1, 1, 3, 4)
    ]


def test_official_validity_scores_boxes_with_inclusive_edges() -> None:
    scored = judge_officially(pictures(N))
    assert (scored.rivals, scored.n_found) == ([], N)
    assert scored.detected is not None
    assert scored.detected.valid == [*range(N)]
    thin = make_tracks([(10, 20, 11, 30)] * N, [TREE] * N)
    low = make_tracks([(10, 20, 20, 21)] * N, [TREE] * N)
    grounding, official = make_grounding(*pictures(N)), ScoreConfig(validity="official")
    with pytest.raises(RowRejected, match="both found in 0 of 24 frames"):
        score_sample(make_generated(), grounding, thin, make_sample(), official, N)
    assert score_sample(make_generated(), grounding, low, make_sample(), official, N).n_found == N
    assert score_sample(make_generated(), grounding, thin, make_sample(), ScoreConfig(), N).n_found == N
    # Beside each other: 6 px apart and 8 px up. The truth is scored alike.
    near: Box = (34, 2, 54, 42)
    beside = make_tracks([near] * N)
    truth = make_generated(true_boxes={ANIMAL: [near] * N, OBJECT: [TREE] * N})
    got = score_sample(truth, grounding, beside, make_sample(), official, N)
    assert got.r_initial == pytest.approx(0.6 * 6 / 19)
    assert got.true_score == got.dsr_score
    assert judge(tracks=beside).r_initial == pytest.approx(0.6 * 6 / 20)


def test_official_validity_is_not_guessed_from_some_frames() -> None:
    with pytest.raises(RowFailed, match=r"frames_not_searched.* 8 of 24 were searched: set ground.n_frames to 24") as e:
        judge(*pictures(N), validity="official")
    assert not e.value.retryable


@given(st.sets(st.integers(0, N - 1)), st.sets(st.integers(0, N - 1)))
def test_both_rules_agree_where_boxes_are_the_tracked_things_or_far_from_them(second: set[int], lost: set[int]) -> None:
    """Of N frames, all searched. `lost` is missed by detector and tracker; with a share of 16/24 both allow as much."""
    others = [candidate(FAR, frame) for frame in second - lost]
    tracks = make_tracks(
        [None if f in lost else FOX for f in range(N)], [None if f in lost else TREE for f in range(N)]
    )

    def is_valid(**rule: Any) -> bool:
        config = ScoreConfig(min_found=4, min_run=1, **rule)
        grounding = make_grounding(*pictures(N, *others, without=lost))
        try:
            score_sample(make_generated(), grounding, tracks, make_sample(), config, N)
        except RowRejected:
            return False
        return True

    n_alone = N - len(lost | second)
    if n_alone >= 4:  # official alone asks that so many frames show nothing else
        assert is_valid(validity="official") == is_valid(max_rival_share=16 / N)
    else:
        assert not is_valid(validity="official")


def test_a_missing_or_shorter_track_fails_the_row_with_what_was_found() -> None:
    with pytest.raises(RowFailed, match=r"track_missing: object id2 has no track; there are id1") as error:
        judge(tracks=Tracks(tracks=make_tracks().tracks[:1], made_by=[]))
    assert not error.value.retryable
    with pytest.raises(RowFailed, match=r"wrong_length: animal id1: 24 boxes for 25 frames"):
        judge(generated=make_generated(n_frames=25))


def test_the_truth_is_scored_by_the_same_formula() -> None:
    goes = [FOX] * 12 + [FAR] * 12
    truth: dict[str, list[Box | None]] = {ANIMAL: [*goes], OBJECT: [TREE] * N}
    by_paper = judge(tracks=make_tracks(animal=goes), generated=make_generated(true_boxes=truth), score="paper")
    assert by_paper.true_score == by_paper.dsr_score
    assert by_paper.box_iou == 1
    lost = judge(tracks=make_tracks(animal=[FOX] * N), generated=make_generated(true_boxes=truth))
    assert lost.box_iou == (N + 12) / (2 * N)
    assert lost.true_score == judge(tracks=make_tracks(animal=goes)).dsr_score
    hidden = truth | {ANIMAL: [None] * 4 + [FOX] * 20}
    seen = make_tracks(animal=[None] * 2 + [FOX] * 22)
    late = judge(tracks=seen, generated=make_generated(true_boxes=hidden))
    assert late.box_iou == (N + 20) / (N + 22), "frames in which neither is there do not count"


# --- The stage -------------------------------------------------------------------------------


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(root=tmp_path / "work", inputs=Inputs(folder=tmp_path))


def store(work: Work, sample: DsrSample, **made: Record) -> Row[DsrSample]:
    """A row that has been through the stages before."""
    keys = {}
    for name, result in made.items():
        keys[name] = f"{sample.clip_id}-{len(list(work.root.rglob('*.json')))}"
        work.save(type(result), keys[name], Made(result=result))
    return Row[DsrSample](payload=sample, made=keys)


def run(work: Work, rows: list[Row[DsrSample]], config: ScoreConfig | None = None) -> list[Row[DsrSample]]:
    shard = Shard[DsrSample](shard_id="shard-1", rows=rows)
    made = stage(work, config or ScoreConfig(), GroundConfig(n_frames=SAMPLED))
    return load_shard(run_stage(work, shard, made), DsrSample).rows


def before(**changes: Any) -> dict[str, Any]:
    return {
        "generate_samples": make_generated(),
        "ground_instances": make_grounding(candidate(FOX)),
        "propagate_masks": make_tracks(),
    } | changes


def test_the_stage_keeps_scores_and_rejections_with_their_evidence(work: Work) -> None:
    crowded = make_grounding(*(candidate(FAR, frame) for frame in range(3)))
    rows = run(
        work,
        [
            store(work, make_sample(), **before()),
            store(work, make_sample(clip_id="clip-2"), **before(ground_instances=crowded)),
        ],
    )
    assert [row.outcome and row.outcome.reason for row in rows] == [None, "several_animals"]
    assert work.result(rows[0], Scored).dsr_score == pytest.approx(0.5)
    evidence = work.result(rows[1], Scored)
    assert evidence.dsr_score is None
    assert evidence.rivals[0].frames == [0, 1, 2]
    assert evidence.rivals[0].share == 3 / SAMPLED


def test_a_short_video_is_sampled_whole(work: Work) -> None:
    short = before(
        generate_samples=make_generated(n_frames=4),
        propagate_masks=make_tracks([FOX] * 4, [TREE] * 4),
        ground_instances=make_grounding(candidate(FAR)),
    )
    rows = run(work, [store(work, make_sample(), **short)], ScoreConfig(min_found=4))
    assert work.result(rows[0], Scored).rivals[0].share == 1 / 4


def test_a_row_is_scored_again_when_what_it_is_scored_by_changes(work: Work) -> None:
    def key(config: ScoreConfig | None = None, n_sampled: int = SAMPLED, **changes: Any) -> str:
        sample = make_sample(**changes.pop("sample", {}))
        row = store(work, sample, **before(**changes))
        return stage(work, config or ScoreConfig(), GroundConfig(n_frames=n_sampled)).key(row)

    truth = make_generated(true_boxes={ANIMAL: [FOX] * N, OBJECT: [TREE] * N})
    changed = {
        key(),
        key(ScoreConfig(score="paper")),
        key(ScoreConfig(validity="official")),
        key(n_sampled=5),
        key(sample={"final": "top"}),
        key(sample={"initial": "top"}),
        key(generate_samples=truth),
        key(ground_instances=make_grounding(candidate(FAR))),
        key(propagate_masks=make_tracks(animal=[FOX] * 23 + [None])),
    }
    assert len(changed) == 9
    made_elsewhere = make_generated().model_copy(update={"video": b"other bytes", "drawn": "reversed"})
    assert key(generate_samples=made_elsewhere, sample={"clip_id": "clip-2", "seed": 9}) == key()


# --- Snapshots -------------------------------------------------------------------------------


def write_rows(folder: Path, samples: list[SampleRow], tracks: list[TrackRow]) -> Snapshot:
    """Two shards, the tracks in another order than the samples."""
    tables = {"samples": (SampleRow, samples), "tracks": (TrackRow, tracks[::-1])}
    shards = {f"shard-{number}": [sample.clip_id for sample in samples[number::2]] for number in range(2)}
    return write_snapshot(folder / "dsr-1", "curate-dsr", tables, shards)


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_a_snapshot_is_scored_again_by_either_variant(tmp_path: Path, variant: Variant) -> None:
    samples, tracks, expected = [], [], {}
    for seed, (n_frames, initial, final) in enumerate(
        [(30, "left", "right"), (24, "top", "left"), (26, "right", "top")]
    ):
        sample = make_sample(clip_id=f"clip-{seed}", seed=seed, initial=initial, final=final)
        clips = bench_score.make_clips(1 + seed, n_frames)
        animal, object_ = bench_score.as_lists(clips.animal)[-1], bench_score.as_lists(clips.object_)[-1]
        samples.append(bench_score.make_row(sample, n_frames))
        tracks += [bench_score.make_track(sample, i, boxes) for i, boxes in ((ANIMAL, animal), (OBJECT, object_))]
        expected[sample.clip_id] = bench_score.plain_clip(animal, object_, sample.initial, sample.final, variant)
    snapshot = write_rows(tmp_path, samples, tracks)
    assert any(None in plain.ssr_initial for plain in expected.values())
    scores = score_snapshot(snapshot, variant)
    assert scores["clip_id"].to_list() == ["clip-0", "clip-2", "clip-1"]
    for row in scores.iter_rows(named=True):
        plain = expected[row["clip_id"]]
        assert row["dsr_score"] == pytest.approx(plain.score, abs=1e-9)
        assert row["n_found"] == sum(value is not None for value in plain.ssr_initial)
        for name in ("ssr_initial", "ssr_final"):
            curve = getattr(plain, name)
            assert [value is None for value in row[name]] == [value is None for value in curve]
            np.testing.assert_allclose(np.array(row[name], float), np.array(curve, float), rtol=0, atol=1e-9)


def judged_again(folder: Path, boxes: list[Box], others: Sequence[Candidate], **configs: Any) -> pl.DataFrame:
    """A published sample whose fox is at some boxes, beside a stump; scored again by `official`."""
    sample = make_sample()
    grounding = pictures(N, *others)
    tables = {
        "samples": (SampleRow, [bench_score.make_row(sample, N)]),
        "tracks": (
            TrackRow,
            [bench_score.make_track(sample, i, b) for i, b in ((ANIMAL, boxes), (OBJECT, [STUMP] * N))],
        ),
        "candidates": (CandidateRow, [CandidateRow(clip_id=sample.clip_id, **c.model_dump()) for c in grounding]),
    }
    made_with = {"ground_instances": {"n_frames": N}} | configs
    snapshot = write_snapshot(folder / "dsr-1", "curate-dsr", tables, configs=json.dumps(made_with))
    return score_snapshot(snapshot, validity="official")


def test_a_snapshot_is_judged_again_by_the_other_rule(tmp_path: Path) -> None:
    boxes = [at(-6, -8)] * N
    [valid] = judged_again(tmp_path / "1", boxes, []).to_dicts()
    assert (valid["invalid"], valid["n_found"], valid["r_initial"]) == (None, N, pytest.approx(0.6 * 6 / 19))
    crowded = [candidate(FAR, frame) for frame in range(17)]
    [invalid] = judged_again(tmp_path / "2", boxes, crowded).to_dicts()
    assert (invalid["invalid"], invalid["dsr_score"], invalid["r_initial"]) == ("redundant_frames", None, None)
    assert invalid["ssr_initial"][0] == pytest.approx(0.6 * 6 / 19)
    [lenient] = judged_again(tmp_path / "3", boxes, crowded, score_dsr={"max_redundant": 17, "min_found": 7}).to_dicts()
    assert lenient["invalid"] is None, "thresholds are those that the snapshot was made with"
    with pytest.raises(SnapshotError, match=r"4 of 24 were searched: set ground.n_frames to 24"):
        judged_again(tmp_path / "4", boxes, [], ground_instances={"n_frames": 4})


def test_a_snapshot_is_scored_again_by_its_own_rule_unless_another_is_named(tmp_path: Path) -> None:
    made_with = {"score_dsr": {"validity": "official", "score": "official"}, "ground_instances": {"n_frames": N}}
    judged_again(tmp_path, [at(-6, -8)] * N, [], **made_with)
    snapshot = Snapshot(tmp_path / "dsr-1")
    [own], [other] = (score_snapshot(snapshot, validity=rule).to_dicts() for rule in (None, "rivals"))
    assert (own["invalid"], own["ssr_initial"][0]) == (None, pytest.approx(0.6 * 6 / 19))
    # The detector's fox is not where the tracked one is.
    assert (other["invalid"], other["ssr_initial"][0]) == ("several_animals", pytest.approx(0.6 * 6 / 20))


def test_a_snapshot_without_valid_samples_has_no_scores(tmp_path: Path) -> None:
    snapshot = write_rows(tmp_path, [], [])
    assert score_snapshot(snapshot).is_empty()
    assert read_boxes(snapshot).animal.shape[0] == 0


def test_a_snapshot_that_lacks_what_is_scored_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="is no snapshot: give its folder"):
        score_snapshot(Snapshot(tmp_path))
    with pytest.raises(SnapshotError, match="made by curate-kinemask; give a snapshot of curate-dsr"):
        score_snapshot(write_snapshot(tmp_path / "kinemask-1", "curate-kinemask", {}))
    sample = make_sample()
    track = bench_score.make_track(sample, ANIMAL, [FOX] * N)
    snapshot = write_rows(tmp_path, [bench_score.make_row(sample, N)], [track])
    with pytest.raises(SnapshotError, match=rf"{sample.clip_id} has no track of its object"):
        score_snapshot(snapshot)
