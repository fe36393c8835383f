"""Scores of hand-made results whose right value is known by arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.clip import Clip
from schemas.instance import Instance
from schemas.interaction import Interaction
from schemas.mask_track import MaskTrack, encode_mask
from schemas.outcome import Outcome
from schemas.record import Rational
from schemas.source import Source
from schemas.truth import Expectation, TrueInstance, TrueTriplet, Truth
from tasks.metrics.compare_truth import Curated, compare_cuts, compare_truth, match_instance

W, H, FPS = 64, 48, 24
SIDE = 10  # the things are squares of 10 px


def square(x: int | None, y: int) -> str:
    """A 10 px square at (x, y); None: hidden."""
    mask = np.zeros((H, W), bool)
    if x is not None:
        mask[y : y + SIDE, x : x + SIDE] = True
    return encode_mask(mask)


def boy(n: int) -> list[str]:
    return [square(t % 20, 5) for t in range(n)]


def ball(n: int, hidden: frozenset[int] = frozenset()) -> list[str]:
    return [square(None if t in hidden else t % 20 + 20, 25) for t in range(n)]


def make_truth(n_frames: int = 20, cuts: tuple[int, ...] = (), line: int = 1, **changes) -> Truth:
    things = [
        ("boy", "a boy in a red shirt", ["red"], boy(n_frames)),
        ("ball", "a blue ball", ["blue"], ball(n_frames, frozenset({4, 5}))),
    ]
    values = {
        "id": f"row-{line}",
        "line": line,
        "video": f"{line}.mp4",
        "caption": "A boy in a red shirt kicks a blue ball.",
        "width": W,
        "height": H,
        "fps": Rational.of(FPS),
        "n_frames": n_frames,
        "cuts": list(cuts),
        "instances": [
            TrueInstance(name=n, class_name=n, noun=noun, colours=c, living=n == "boy", counts=m)
            for n, noun, c, m in things
        ],
        "triplets": [
            TrueTriplet(subject="boy", verb="kick", object="ball", shot=shot) for shot in range(len(cuts) + 1)
        ],
        "expect": [Expectation(shot=shot, status="accepted") for shot in range(len(cuts) + 1)],
    }
    return Truth(**{**values, **changes})


def make_source(line: int = 1) -> Source:
    return Source(source_id=f"src-{line}", line=line, video=f"{line}.mp4", video_sha256="00", n_bytes=1)


def make_clip(first: int = 0, last: int = 20, line: int = 1) -> Clip:
    start, end = Rational(num=first, den=FPS), Rational(num=last, den=FPS)
    return Clip(
        clip_id=f"clip-{line}-{first}",
        source_id=f"src-{line}",
        video=f"{line}.mp4",
        video_sha256="00",
        shot_index=0 if first == 0 else 1,
        n_shots=1,
        start=start,
        end=end,
        start_s=float(start),
        end_s=float(end),
        clock_offset_s=0.0,
        n_clock_jumps=0,
        stream_index=0,
        orientation=1,
        n_frames=last - first,
        fps=Rational.of(FPS),
        width=W,
        height=H,
        sample_aspect=Rational.of(1),
        stretched=False,
        transfer="unknown",
        field_order="progressive",
        caption_shared=False,
    )


def make_instance(instance_id: str, class_name: str, noun: str) -> Instance:
    return Instance(
        instance_id=instance_id, class_name=class_name, noun=noun, appearance="", spatial="", living=class_name == "boy"
    )


BOY, BALL = make_instance("id1", "boy", "a boy in a red shirt"), make_instance("id2", "ball", "the blue ball")


def make_interaction(verb: str = "kick", subject: str = "id1", thing: str = "id2", kept: bool = True) -> Interaction:
    return Interaction(
        subject_id=subject,
        verb=verb,
        object_id=thing,
        type="functional_action",
        source_sentence="",
        contactness=5,
        dynamism=5,
        explanation="",
        confidence=1.0,
        kept=kept,
        drop_reason=None,
    )


def outcome(row_id: str, status: str = "accepted", stage: str = "check_tracks", **values) -> Outcome:
    kind = "clip" if row_id.startswith("clip") else "source"
    return Outcome(row_id=row_id, kind=kind, status=status, stage=stage, retryable=False, **values)


def track(instance_id: str, counts: list[str]) -> MaskTrack:
    return MaskTrack.of(instance_id, counts, height=H, width=W, anchor_frame=0)


def curated(boy_counts: list[str], ball_counts: list[str], clip: Clip | None = None, **changes) -> Curated:
    clip = clip or make_clip()
    values = {
        "sources": [make_source()],
        "clips": [clip],
        "outcomes": [outcome(clip.clip_id)],
        "instances": {clip.clip_id: [BOY, BALL]},
        "interactions": {clip.clip_id: [make_interaction()]},
        "tracks": {clip.clip_id: [track("id1", boy_counts), track("id2", ball_counts)]},
    }
    return Curated(**{**values, **changes})


TRUE_BALL = ball(20, frozenset({4, 5}))

# --- Masks -----------------------------------------------------------------------------------


def test_a_perfect_result_scores_one_everywhere():
    report = compare_truth([make_truth()], curated(boy(20), TRUE_BALL))
    assert [score.iou for score in report.instances] == [1.0, 1.0]
    assert report.mean_iou == report.mean_visible_iou == 1.0
    assert report.presence_precision == report.presence_recall == report.hidden_recall == 1.0
    assert report.triplet_precision == report.triplet_recall == report.instance_recall == 1.0
    assert report.cut_precision is None  # no cut found, none to find
    assert report.cut_recall is None
    assert (report.rows_met, report.rows_expected, report.missed) == (1, 1, [])


@pytest.mark.parametrize("shift", [1, 3, 9, 10])
def test_a_shifted_square_scores_its_overlap(shift):
    shifted = [square(t + shift, 5) for t in range(20)]
    score = compare_truth([make_truth()], curated(shifted, TRUE_BALL)).instances[0]
    assert score.iou == pytest.approx((SIDE - shift) / (SIDE + shift))
    assert score.visible_iou == pytest.approx(score.iou)


def test_an_empty_track_scores_only_where_the_thing_is_hidden():
    score = compare_truth([make_truth()], curated(boy(20), [square(None, 0)] * 20)).instances[1]
    assert score.iou == pytest.approx(2 / 20)
    assert score.visible_iou == 0.0
    assert (score.n_visible, score.worst_frame, score.presence_hits) == (18, 0, 0)


def test_a_mask_on_hidden_frames_costs_presence_and_the_worst_frame_is_named():
    report = compare_truth([make_truth()], curated(boy(20), ball(20)))
    score = report.instances[1]
    assert score.iou == pytest.approx(18 / 20)
    assert score.visible_iou == 1.0
    assert (score.worst_frame, score.worst_iou, score.presence_false) == (4, 0.0, 2)
    assert report.presence_precision == pytest.approx(38 / 40)
    assert report.presence_recall == 1.0
    assert report.hidden_recall == 0.0


def test_a_mask_of_the_wrong_thing_is_not_matched_with_what_it_overlaps():
    report = compare_truth([make_truth()], curated(TRUE_BALL, boy(20)))  # a perfect exchange
    assert report.instances[0].visible_iou == 0.0
    assert report.instances[1].visible_iou == 0.0


def test_a_described_thing_that_is_not_there_scores_zero():
    cup = make_instance("id2", "cup", "a green cup")
    report = compare_truth([make_truth()], curated(boy(20), TRUE_BALL, instances={"clip-1-0": [BOY, cup]}))
    score = report.instances[1]
    assert (score.true_noun, score.visible_iou) == (None, None)
    assert score.iou == pytest.approx(2 / 20)  # the two frames where nothing was claimed
    assert [missed.noun for missed in report.missed] == ["a blue ball"]
    assert report.instance_recall == 0.5


def test_a_clip_is_compared_with_its_own_frames():
    truth = make_truth(n_frames=40, cuts=(20,))
    second = make_clip(20, 40)
    report = compare_truth([truth], curated(boy(40)[20:], ball(40)[20:], clip=second))
    assert [score.iou for score in report.instances] == [1.0, 1.0]
    assert [(missed.shot, missed.noun) for missed in report.missed] == [(0, "a boy in a red shirt"), (0, "a blue ball")]


def test_rejected_clips_are_not_scored():
    dropped = outcome("clip-1-0", "rejected", "check_tracks", reason="drift")
    report = compare_truth([make_truth()], curated(boy(20), TRUE_BALL, outcomes=[dropped]))
    assert report.instances == []
    assert report.mean_iou is None
    assert report.triplet_recall == 0.0
    assert len(report.missed) == 2


def test_a_clip_that_does_not_fit_its_truth_is_refused():
    with pytest.raises(ValueError, match="same manifest"):
        compare_truth([make_truth()], curated(boy(30), boy(30), clip=make_clip(0, 30)))
    small = [MaskTrack.of("id1", [encode_mask(np.zeros((5, 5), bool))] * 20, height=5, width=5, anchor_frame=0)]
    with pytest.raises(ValueError, match="own size"):
        compare_truth([make_truth()], curated(boy(20), TRUE_BALL, tracks={"clip-1-0": small}))


# --- Descriptions ----------------------------------------------------------------------------


def true_box(name: str, *colours: str) -> TrueInstance:
    noun = f"a {' '.join(colours)} box"
    return TrueInstance(name=name, class_name="box", noun=noun, colours=list(colours), living=False, counts=[])


@pytest.mark.parametrize(
    ("noun", "name"),
    [
        ("the green box", "1"),
        ("a red and white box", "3"),
        ("a red box", "2"),  # exactly red comes before red among others
        ("a box", None),  # three boxes
        ("a purple box", None),
        ("a brown box", None),
        ("a Green, boxy box.", "1"),
    ],
)
def test_descriptions_are_matched_by_class_and_colour(noun, name):
    boxes = [true_box("1", "green"), true_box("2", "red"), true_box("3", "red", "white")]
    found = match_instance("box", noun, boxes)
    assert (found.name if found else None) == name
    assert match_instance("ball", noun, boxes) is None


def test_a_description_without_colour_fits_the_only_one_of_its_class():
    box = true_box("1", "green")
    assert match_instance("box", "a box", [box]) is box


# --- Cuts, triplets, rows --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("true", "found", "tolerance", "hits"),
    [
        ([48, 96], [48, 96], 0, 2),
        ([48, 96], [47, 96], 0, 1),
        ([48, 96], [47, 96], 1, 2),
        ([48], [47, 49], 1, 1),
        ([48, 49], [48], 1, 1),
        ([], [10], 0, 0),
    ],
)
def test_each_cut_counts_once(true, found, tolerance, hits):
    counts = compare_cuts(true, found, tolerance)
    assert (counts.hits, counts.found, counts.true) == (hits, len(found), len(true))


def test_cuts_are_read_off_all_clips_rejected_ones_too():
    truth = make_truth(n_frames=40, cuts=(20,))
    clips = [make_clip(0, 20), make_clip(20, 30), make_clip(30, 40)]
    outcomes = [outcome(clip.clip_id, "rejected", "extract_triplets") for clip in clips]
    report = compare_truth([truth], Curated(sources=[make_source()], clips=clips, outcomes=outcomes))
    assert (report.cut_precision, report.cut_recall) == (0.5, 1.0)


def test_triplets_count_by_what_they_name():
    interactions = [
        make_interaction("kick off"),  # the same verb with a particle
        make_interaction("throw"),
        make_interaction("kick", subject="id2", thing="id1"),  # the wrong way round
        make_interaction("push", kept=False),  # dropped: not part of the dataset
    ]
    result = curated(boy(20), TRUE_BALL, interactions={"clip-1-0": interactions})
    report = compare_truth([make_truth()], result)
    assert report.triplet_precision == pytest.approx(1 / 3)
    assert report.triplet_recall == 1.0


def test_optional_triplets_are_neither_wrong_nor_missed():
    triplets = [
        TrueTriplet(subject="boy", verb="kick", object="ball", shot=0),
        TrueTriplet(subject="boy", verb="throw", object="ball", shot=0, optional=True),
    ]
    truth = make_truth(triplets=triplets)
    for verbs in (["kick"], ["kick", "throw"]):
        result = curated(boy(20), TRUE_BALL, interactions={"clip-1-0": [make_interaction(v) for v in verbs]})
        report = compare_truth([truth], result)
        assert (report.triplet_precision, report.triplet_recall) == (1.0, 1.0)


def test_verbs_that_say_the_same_count_as_one():
    collide = TrueTriplet(subject="boy", verb="collide with", object="ball", shot=0, also=["hit", "bump"])
    truth = make_truth(triplets=[collide])
    said = {"hit": (1, 1), "bump into": (1, 1), "collide with": (1, 1), "throw": (0, 0)}
    for verb, rates in said.items():
        report = compare_truth(
            [truth], curated(boy(20), TRUE_BALL, interactions={"clip-1-0": [make_interaction(verb)]})
        )
        assert (report.triplet_precision, report.triplet_recall) == rates, verb
    twice = {"clip-1-0": [make_interaction("hit"), make_interaction("bump into")]}
    report = compare_truth([truth], curated(boy(20), TRUE_BALL, interactions=twice))
    assert (report.triplet_precision, report.triplet_recall) == (1.0, 1.0)


def test_the_truths_own_colours_tell_things_apart():
    boxes = [true_box("1", "teal"), true_box("2", "light", "blue")]
    named = {noun: match_instance("box", noun, boxes) for noun in ("a teal box", "a light blue box", "a lime box")}
    assert [true.name if true else None for true in named.values()] == ["1", "2", None]


def expecting(line: int, status: str, stage: str | None = None, reason: str | None = None) -> Truth:
    expect = [Expectation(shot=0, status=status, stage=stage, reason=reason)]
    return make_truth(line=line, n_frames=0, instances=[], triplets=[], expect=expect)


def test_rows_are_checked_by_line_source_and_clip():
    truths = [
        make_truth(n_frames=40, cuts=(20,)),  # one shot as expected, the other not
        expecting(2, "failed", "split_scenes"),
        expecting(3, "rejected", "read_manifest"),
        expecting(4, "failed", "split_scenes"),
        expecting(5, "rejected", "extract_triplets", "no_interaction"),
        expecting(13, "failed"),
    ]
    clips = [make_clip(0, 20), make_clip(20, 40)]
    outcomes = [
        outcome("clip-1-0"),
        outcome("clip-1-20", "rejected", "ground_instances", reason="no_interaction_left"),
        outcome("src-2", "failed", "split_scenes", reason="unreadable"),
        outcome("line-ab-1", "rejected", "read_manifest", reason="duplicate", detail="line 3: the same as line 1"),
        outcome("src-4", "rejected", "split_scenes", reason="too_short"),
        outcome("src-5", "rejected", "extract_triplets", reason="other"),
    ]
    result = Curated(sources=[make_source(line) for line in (1, 2, 4, 5)], clips=clips, outcomes=outcomes)
    report = compare_truth(truths, result)
    assert [(row.id, row.shot, row.met) for row in report.rows] == [
        ("row-1", 0, True),
        ("row-1", 1, False),
        ("row-2", 0, True),
        ("row-3", 0, True),
        ("row-4", 0, False),
        ("row-5", 0, False),
        ("row-13", 0, False),
    ]
    assert report.rows[1].actual == "rejected at ground_instances: no_interaction_left"
    assert report.rows[-1].actual == "no outcome"
    assert (report.rows_met, report.rows_expected) == (3, 7)


def test_a_report_survives_the_trip_through_json():
    report = compare_truth([make_truth()], curated(boy(20), TRUE_BALL))
    assert type(report).from_json(report.to_json()) == report
