"""A clip in a model's frames and size: which frames, which part of the picture, and the masks along with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import numpy as np
import pytest

from schemas.mask_track import MaskTrack, encode_mask
from schemas.outcome import RowRejected
from tasks.fit_clips import FitConfig, choose_frames, fit_box, fit_clip, nearest
from tasks.media.id_map import ID_COLOURS
from tasks.media.png import decode_png
from tasks.media.video import decode_bytes

SQUARES = {"id1": (210, 30, 30), "id2": (30, 60, 220)}


@dataclass(frozen=True)
class Drawn:
    """Coloured squares that move over grey, with their true masks."""

    size: tuple[int, int]  # width, height
    clock_s: Sequence[Fraction]
    boxes: dict[str, list[tuple[int, int, int, int] | None]]  # one a frame
    asked: list[list[int]] = field(default_factory=list)

    span: tuple[object, ...] = ()

    @property
    def tracks(self) -> list[MaskTrack]:
        width, height = self.size
        return [
            MaskTrack.of(name, [encode_mask(self.mask(b)) for b in boxes], height=height, width=width, anchor_frame=0)
            for name, boxes in self.boxes.items()
        ]

    def mask(self, box: tuple[int, int, int, int] | None) -> np.ndarray:
        mask = np.zeros(self.size[::-1], bool)
        if box:
            mask[box[1] : box[3], box[0] : box[2]] = True
        return mask

    def times_s(self) -> Sequence[Fraction]:
        return self.clock_s

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        self.asked.append(list(indices))
        pictures = np.full((len(indices), self.size[1], self.size[0], 3), 120, np.uint8)
        for picture, index in zip(pictures, indices, strict=True):
            for name, boxes in self.boxes.items():
                picture[self.mask(boxes[index])] = SQUARES[name]
        return pictures


def even(n: int, fps: int) -> list[Fraction]:
    return [Fraction(i, fps) for i in range(n)]


def moving(n: int, left: int, top: int, side: int, step: int) -> list[tuple[int, int, int, int] | None]:
    return [(left + i * step, top, left + side + i * step, top + side) for i in range(n)]


def config_of(**changes: object) -> FitConfig:
    small = {"n_frames": 5, "width": 96, "height": 64, "fps": 8, "max_fps": 16, "min_area": 0.001}
    return FitConfig.model_validate(small | changes)


@pytest.mark.parametrize(
    ("size", "shape"),
    [((320, 240), "crop"), ((320, 180), "crop"), ((320, 240), "pad"), ((80, 56), "crop"), ((80, 60), "pad")],
)
def test_masks_stay_on_their_pixels(size: tuple[int, int], shape: str) -> None:
    side = size[1] // 4
    clip = Drawn(size, even(30, 24), {"id1": moving(30, size[0] // 4, size[1] // 3, side, 1)})
    config = config_of(shape=shape, max_enlarge=1.6)
    fitted = fit_clip(clip, config)
    frames = decode_bytes(fitted.video)
    assert frames.shape == (5, 64, 96, 3)
    assert fitted.psnr_db > 33  # 4:2:0 shares colours between pixels; hard edges of pure colours show it most
    (track,) = fitted.tracks
    for frame, mask in zip(frames, track.masks(), strict=True):
        red = (frame[..., 0].astype(int) - frame[..., 2]) > 90
        edge = np.ones((3, 3), np.uint8)
        inner, outer = cv2.erode(mask.astype(np.uint8), edge) > 0, cv2.dilate(mask.astype(np.uint8), edge) > 0
        assert inner.any()
        assert red[inner].all()  # to within a pixel
        assert not red[~outer].any()
    # Where the square is, by hand: the box's coordinates, scaled to the sample.
    left, top, right, bottom = fitted.source_box_xyxy
    x, y, x_end, y_end = clip.boxes["id1"][fitted.source_frames[0]] or (0, 0, 0, 0)
    due = [(x - left) * 96 / (right - left), (y - top) * 64 / (bottom - top)]
    due += [(x_end - left) * 96 / (right - left), (y_end - top) * 64 / (bottom - top)]
    assert track.box_xyxy[0] == pytest.approx(due, abs=1)


def test_frames_are_the_nearest_in_time_also_where_the_rate_varies() -> None:
    clock = np.array([0.0, 0.1, 0.15, 0.4, 0.45, 0.5, 0.9])
    assert nearest(clock, np.array([0.0, 0.125, 0.25, 0.43, 2.0])).tolist() == [0, 1, 2, 4, 6]
    uneven = [Fraction(ms, 1000) for ms in (0, 10, 130, 240, 260, 370, 380, 490, 500)]
    moments = choose_frames(uneven, np.ones((1, 9), bool), config_of())
    assert moments.frames == [0, 2, 3, 5, 8]  # 0, 125, 250 (240 and 260 are as near), 375, 500 ms
    assert moments.fps == 8


def test_a_long_clip_gives_the_part_that_shows_most_and_else_its_middle() -> None:
    clock = even(97, 24)  # 4 s; the sample takes 0.5 s
    everywhere = np.ones((2, 97), bool)
    middle = choose_frames(clock, everywhere, config_of())
    assert middle.frames == [42, 45, 48, 51, 54]
    shown = everywhere.copy()
    shown[1, :60] = False  # enters late
    assert choose_frames(clock, shown, config_of()).frames[0] == 60
    shown[1, 66:] = False  # and leaves again: as long as it can be seen
    assert choose_frames(clock, shown, config_of()).frames[0] in (60, 61, 62)


def test_a_short_clip_is_taken_whole_and_faster_up_to_a_limit() -> None:
    config = config_of()
    assert choose_frames(even(7, 20), np.ones((1, 7), bool), config) == ([0, 1, 3, 4, 6], pytest.approx(4 / 0.3))
    with pytest.raises(RowRejected, match=r"5 frames over 0\.200 s; 5 at up to 16 frames/s take 0\.250 s") as rejected:
        choose_frames(even(5, 20), np.ones((1, 5), bool), config)
    assert rejected.value.reason == "too_short"
    with pytest.raises(RowRejected, match="repeated") as rejected:
        choose_frames(even(9, 4), np.ones((1, 9), bool), config)
    assert rejected.value.reason == "too_few_frames"


def test_which_part_of_the_picture() -> None:
    paper = FitConfig()
    assert fit_box((1280, 720), paper) == (100, 0, 1180, 720)
    assert fit_box((720, 1280), paper) == (0, 400, 720, 880)
    assert fit_box((720, 480), paper) == (0, 0, 720, 480)
    assert fit_box((640, 480), paper.model_copy(update={"shape": "pad"})) == (-40, 0, 680, 480)
    with pytest.raises(
        RowRejected, match=r"320x240 would be enlarged 2\.25 times to 720x480, at most 1\.5"
    ) as rejected:
        fit_box((320, 240), paper)
    assert rejected.value.reason == "too_small"


def test_an_instance_that_the_first_frame_does_not_show_is_named() -> None:
    seen = moving(13, 100, 100, 30, 1)
    late: list[tuple[int, int, int, int] | None] = [*([None] * 9), *seen[9:]]
    outside = moving(13, 0, 0, 20, 0)  # the crop cuts it off
    clip = Drawn((320, 240), even(13, 24), {"id1": seen, "id2": late})
    with pytest.raises(RowRejected, match="id2 0 px") as rejected:
        fit_clip(clip, config_of())
    assert rejected.value.reason == "not_seen_first"
    assert fit_clip(clip, config_of(seen_first="any")).tracks[1].present == [False, False, False, True, True]
    with pytest.raises(RowRejected, match="id2 has 0 px") as rejected:
        fit_clip(Drawn((320, 240), even(13, 24), {"id1": seen, "id2": outside}), config_of(height=32))
    assert rejected.value.reason == "not_seen"
    assert not clip.asked[1:]  # no picture of a rejected clip is decoded


def test_the_id_map_has_each_instances_colour_and_the_smaller_one_in_front() -> None:
    boxes = {"id1": moving(13, 60, 60, 120, 0), "id2": moving(13, 100, 100, 40, 0)}
    fitted = fit_clip(Drawn((320, 240), even(13, 24), boxes), config_of())
    assert fitted.id_map is not None
    picture = decode_png(fitted.id_map)
    first, second = (track.masks()[0] for track in fitted.tracks)
    assert (picture[second] == ID_COLOURS[1]).all()
    assert (picture[first & ~second] == ID_COLOURS[0]).all()
    assert not picture[~(first | second)].any()


def test_the_same_clip_gives_the_same_bytes() -> None:
    clip = Drawn((320, 240), even(30, 24), {"id1": moving(30, 80, 80, 60, 1)})
    assert fit_clip(clip, config_of()) == fit_clip(clip, config_of())
