"""NanoDet's classes as proposals for the instances that they mean."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.grounding import NotFound, Proposal
from tasks.backends.nanodet import NOUNS, NanoDetDetector, coco_class
from tasks.backends.packaged.coco import CLASSES, Detection
from tests.support.builders import make_instance

FRAMES = np.zeros((2, 8, 8, 3), np.uint8)


def test_every_class_in_the_table_is_cocos() -> None:
    assert NOUNS.keys() <= set(CLASSES)
    assert len(CLASSES) == len(set(CLASSES)) == 80


@pytest.mark.parametrize(
    ("noun", "name"),
    [
        ("man", "person"),
        ("mug", "cup"),
        ("Red Coffee Mug", "cup"),
        ("dogs", "dog"),
        ("couches", "couch"),
        ("teddy bear", "teddy bear"),
        ("bear", "bear"),
        ("harness", None),
        ("", None),
    ],
)
def test_a_noun_means_a_class(noun: str, name: str | None) -> None:
    assert coco_class(noun) == name


def test_boxes_of_the_class_are_proposed_and_what_is_not_known_is_told() -> None:
    detector = NanoDetDetector()
    dog = Detection("dog", 0.7, (1.0, 2.0, 5.0, 6.0))
    detector._detect = lambda rgb: [dog, Detection("cup", 0.6, (0.0, 0.0, 2.0, 2.0))]  # type: ignore[assignment]
    found = detector.propose(
        FRAMES, [make_instance("id1", "puppy"), make_instance("id2", "harness"), make_instance("id3", "cat")]
    )
    assert found["id1"] == [Proposal(frame=t, box_xyxy=dog.box_xyxy, score=0.7) for t in (0, 1)]
    assert found["id2"] == NotFound("no detector here knows 'harness'; see --profile local")
    assert found["id3"] == []


def test_nothing_is_searched_for_what_is_not_known() -> None:
    detector = NanoDetDetector()
    detector._detect = None  # type: ignore[assignment]
    assert isinstance(detector.propose(FRAMES, [make_instance("id1", "harness")])["id1"], NotFound)
