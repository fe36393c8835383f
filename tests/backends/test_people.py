"""The people detector: grouping on made-up windows, the model itself on a drawn pedestrian."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from tasks.backends.people import PeopleDetector, iou_with, merge_boxes

PEDESTRIAN = (240, 60, 330, 330)  # left, top, right, bottom, px


def draw_pedestrian() -> np.ndarray:
    """(360, 640, 3): a dark standing figure with the outline the detector was trained for, on a pale wall."""
    rgb = np.full((360, 640, 3), 205, np.uint8)
    x0, y0, x1, y1 = PEDESTRIAN
    x, width, height = (x0 + x1) // 2, x1 - x0, y1 - y0
    cv2.circle(rgb, (x, y0 + 22), 22, (150, 110, 90), -1, cv2.LINE_AA)
    cv2.ellipse(rgb, (x, y0 + 100), (width // 2, 62), 0, 0, 360, (60, 60, 70), -1, cv2.LINE_AA)
    for side in (-1, 1):
        foot = (x + side * 22, y1)
        cv2.line(rgb, (x + side * 14, y0 + height // 2), foot, (50, 50, 60), 26, cv2.LINE_AA)
    return cv2.GaussianBlur(rgb, (5, 5), 0)


def test_finds_a_standing_figure_where_it_stands() -> None:
    people = PeopleDetector().detect(draw_pedestrian())
    assert people, "no person found"
    assert iou_with(np.array(PEDESTRIAN, float), np.array([people[0].box_xyxy]))[0] > 0.5
    assert 0 < people[0].score <= 1


@pytest.mark.parametrize("size", [(64, 64), (240, 320), (1080, 1920)])
def test_an_empty_wall_holds_nobody(size: tuple[int, int]) -> None:
    assert PeopleDetector().detect(np.full((*size, 3), 180, np.uint8)) == []


def test_threads_share_one_detector_and_agree() -> None:
    detector, rgb = PeopleDetector(), draw_pedestrian()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(detector.detect, [rgb] * 4))
    assert found == [PeopleDetector().detect(rgb)] * 4


def test_boxes_lie_inside_the_picture() -> None:
    rgb = draw_pedestrian()[80:300, 230:345]  # cut at head and feet
    for box, _ in PeopleDetector().detect(rgb):
        assert 0 <= box[0] < box[2] <= rgb.shape[1]
        assert 0 <= box[1] < box[3] <= rgb.shape[0]


def test_overlapping_windows_become_one_and_order_does_not_matter() -> None:
    boxes = np.array([[10, 10, 50, 110], [12, 8, 52, 112], [300, 20, 340, 120]], float)
    margins = np.array([1.0, 1.5, 0.8])
    merged = merge_boxes(boxes, margins)
    assert len(merged) == 2
    assert merged[0][1] == pytest.approx(1.5)
    assert merged[1][1] == pytest.approx(0.4), "a lone hit counts half"
    assert 10 < merged[0][0][0] < 12
    turned = merge_boxes(boxes[::-1], margins[::-1])
    for (box, margin), (other_box, other_margin) in zip(merged, turned, strict=True):
        np.testing.assert_allclose(box, other_box)
        assert margin == other_margin


def test_iou_with() -> None:
    values = iou_with(np.array([0.0, 0, 10, 10]), np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]]))
    np.testing.assert_allclose(values, [1, 1 / 3, 0])
