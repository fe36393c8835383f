"""Boxes of COCO's classes: from the network's raw numbers to pixels of the picture."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tasks.backends.packaged.coco import CLASSES, N_BINS, SIZE_PX, STRIDES_PX, CocoDetector


class Outputs:
    """A network that is sure of one cell: its class, and the distances to the sides of its box in strides."""

    def __init__(self, level: int, cell: int, label: int, distances: tuple[int, int, int, int]) -> None:
        self.outputs = []
        for i, stride in enumerate(STRIDES_PX):
            n = (SIZE_PX // stride) ** 2
            scores, sides = np.zeros((1, n, len(CLASSES)), np.float32), np.zeros((1, n, 4 * N_BINS), np.float32)
            if i == level:
                scores[0, cell, label] = 0.9
                sides[0, cell, [N_BINS * side + d for side, d in enumerate(distances)]] = 50
            self.outputs += [scores, sides]

    def __call__(self, x: np.ndarray) -> list[np.ndarray]:
        assert x.shape == (1, 3, SIZE_PX, SIZE_PX)
        return self.outputs[::-1]


@pytest.mark.parametrize(("height", "width"), [(360, 640), (640, 360), (52, 52)])
def test_a_box_comes_back_in_pixels_of_the_picture(height: int, width: int) -> None:
    detect = CocoDetector()
    side = SIZE_PX // 16
    detect._network = Outputs(1, 3 * side + 5, CLASSES.index("dog"), (2, 1, 3, 4))  # type: ignore[assignment]
    (found,) = detect(np.zeros((height, width, 3), np.uint8))
    assert (found.class_name, found.score) == ("dog", pytest.approx(0.9))
    at, scale = (5.5 * 16, 3.5 * 16), max(height, width) / SIZE_PX
    want = np.array([at[0] - 32, at[1] - 16, at[0] + 48, at[1] + 64]) * scale
    np.testing.assert_allclose(found.box_xyxy, np.clip(want, 0, (width, height) * 2), rtol=0.01)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="the weights come by npm")
def test_the_network_loads_and_sees_nothing_in_a_plain_picture() -> None:
    assert CocoDetector()(np.full((90, 160, 3), 120, np.uint8)) == []
