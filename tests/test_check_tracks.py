"""tasks.check_tracks: each fault of a track is a number; each drops the track that has it, and no other."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from schemas.outcome import RowRejected
from schemas.track_check import Checked
from tasks.check_tracks import CheckConfig, check_tracks, leap_share, longest_gap, review_frames
from tests.support.builders import make_instance, make_track

BOX = (10, 10, 30, 30)
GOOD = [BOX] * 20
BOY = [(5, 38, 25, 58)] * 20
OTHER = [(40, 10, 60, 30)] * 20
INSTANCES = [make_instance("id1", "boy"), make_instance("id2", "ball")]


def failed(checked: Checked) -> list[tuple[str, str]]:
    return [(c.instance_id, c.measure) for c in checked.checks if not c.passed]


def check(boxes: list, pairs: list | None = None) -> Checked:
    """The boy's track is good; the ball's is what a test is about. A second, good pair keeps the clip."""
    tracks = [make_track("id1", BOY), make_track("id2", boxes), make_track("id3", OTHER)]
    instances = [*INSTANCES, make_instance("id3", "dog")]
    return check_tracks(tracks, instances, pairs or [("id1", "id2"), ("id1", "id3")], CheckConfig())


def test_good_tracks_pass() -> None:
    checked = check([(50, 40, 70, 55)] * 20)
    assert failed(checked) == []
    assert checked.kept_ids == ["id1", "id2", "id3"]


@pytest.mark.parametrize(
    ("boxes", "measure"),
    [
        ([BOX] * 4 + [None] * 16, "presence"),
        ([BOX] * 4 + [None] * 12 + [BOX] * 4, "gap"),
        ([(5, 5, 6, 6)] * 20, "area_min"),
        ([(0, 0, 80, 60)] * 20, "area_max"),
        ([(10, 10, 20, 20)] * 14 + [(0, 0, 60, 50)] * 6, "swell"),
        ([(0, 0, 10, 10), (60, 40, 70, 50)] * 10, "leaps"),
    ],
)
def test_each_fault_drops_its_track_alone(boxes: list, measure: str) -> None:
    checked = check(boxes)
    assert ("id2", measure) in failed(checked)
    assert {i for i, _ in failed(checked)} == {"id2"}
    assert checked.kept_ids == ["id1", "id3"]


def test_a_thing_hidden_for_a_while_is_no_fault() -> None:
    assert failed(check([BOX] * 8 + [None] * 5 + [BOX] * 7)) == []


def test_the_worse_of_two_same_class_tracks_that_overlap_is_dropped() -> None:
    instances = [make_instance("id1", "boy"), make_instance("id2"), make_instance("id3")]
    tracks = [make_track("id1", OTHER), make_track("id2", [*GOOD[:18], None, None]), make_track("id3", GOOD)]
    checked = check_tracks(tracks, instances, [("id1", "id2"), ("id1", "id3")], CheckConfig())
    assert failed(checked) == [("id2", "duplicate")]
    assert checked.kept_ids == ["id1", "id3"]


def test_overlap_of_different_classes_is_no_duplicate_but_one_of_both_has_the_others_name() -> None:
    with pytest.raises(RowRejected, match="no_track_left") as error:
        check(BOY)
    checked = error.value.evidence
    assert isinstance(checked, Checked)
    assert set(failed(checked)) == {("id1", "swallowed"), ("id2", "swallowed")}
    assert {c.value for c in checked.checks if not c.passed} == {1.0}


def test_a_clip_without_a_whole_interaction_is_rejected_with_its_measures() -> None:
    tracks = [make_track("id1", GOOD), make_track("id2", [None] * 20)]
    with pytest.raises(RowRejected, match="no_track_left") as error:
        check_tracks(tracks, INSTANCES, [("id1", "id2")], CheckConfig())
    assert isinstance(error.value.evidence, Checked)
    assert len(error.value.evidence.checks) >= 12
    assert "id2 presence 0 against 0.3" in error.value.detail


def test_an_instance_without_a_track_takes_its_interactions_along() -> None:
    tracks = [make_track("id1", GOOD), make_track("id2", OTHER)]
    instances = [*INSTANCES, make_instance("id3", "dog")]
    checked = check_tracks(tracks, instances, [("id1", "id2"), ("id3", "id2")], CheckConfig())
    assert checked.kept_ids == ["id1", "id2"]


def test_review_frames_are_the_papers_ten() -> None:
    frames = review_frames([make_track("id1", [BOX] * 50 + [None] * 10, anchor_frame=5)])
    assert (frames[0], frames[-1], len(frames)) == (5, 49, 10)
    assert review_frames([make_track("id1", [BOX] * 3, anchor_frame=1)]) == [1, 2]
    assert review_frames([]) == []


def test_measures() -> None:
    track = make_track("id1", [None, BOX, None, None, BOX, BOX, None])
    assert longest_gap(np.array(track.present)) == 2
    assert leap_share(make_track("id1", [(0, 0, 10, 10), (60, 40, 70, 50), (60, 40, 70, 50)]), 0.25) == 0.5


def test_a_track_without_a_mask_never_passes():
    with pytest.raises(ValidationError):
        CheckConfig(min_presence=0)
