"""How a coded picture is turned and mirrored to be shown: the eight that keep its sides level.

    orientation = Orientation.of((-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30))    # a selfie: left and right swapped
    orientation.upright(picture)                                                # (H, W, 3) as players show it

A display matrix (of MP4, Matroska, an H.264 or HEVC message) says where a coded pixel is shown: with x to the right
and y downward, (x, y) goes to (a x + c y, b x + d y). Its scale is the pixels' aspect ratio, not the orientation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type

_LEVEL = 0.0175  # tangent of one degree: so far FFmpeg, too, takes an angle for a multiple of 90 degrees


class OddMatrix(ValueError):
    """A display matrix that none of the eight orientations is."""


class Orientation(NamedTuple):
    """What is done to a coded picture: first transposed, then mirrored."""

    transposed: bool = False  # rows become columns
    mirrored_x: bool = False  # then left and right swapped
    mirrored_y: bool = False  # then top and bottom swapped

    @classmethod
    def of(cls, matrix: Sequence[int]) -> Orientation:
        """matrix: a, b, u, c, d, v, x, y, w of FFmpeg's display matrix.

        Raises OddMatrix for an angle that is no multiple of 90 degrees, a shear or a perspective.
        """
        a, b, u, c, d, v, _, _, w = matrix
        if a == b == c == d == 0:  # some writers leave it empty: players show the picture as it is coded
            return cls()
        if u or v or w < 0:
            raise OddMatrix(f"its display matrix {list(matrix)} has a perspective")
        if a and d and abs(b) <= _LEVEL * abs(a) and abs(c) <= _LEVEL * abs(d):
            return cls(False, a < 0, d < 0)
        if b and c and abs(a) <= _LEVEL * abs(b) and abs(d) <= _LEVEL * abs(c):
            return cls(True, c < 0, b < 0)
        turn = np.degrees(np.arctan2(-b, a))
        raise OddMatrix(
            f"its display matrix turns it by {turn:.1f} degrees or shears it, and only multiples of 90 are read"
        )

    @classmethod
    def of_frame(cls, picture: av.VideoFrame) -> Orientation | None:
        """As the container says it, or else the stream: FFmpeg hands over what players follow. None: nothing said."""
        matrix = _display_matrix(picture)
        return None if matrix is None else cls.of(matrix)

    @property
    def exif(self) -> int:
        """Its number in EXIF, 1 to 8."""
        return (1, 4, 2, 3, 5, 8, 6, 7)[4 * self.transposed + 2 * self.mirrored_x + self.mirrored_y]

    @property
    def is_mirrored(self) -> bool:
        """No turn alone shows it."""
        return self.transposed ^ self.mirrored_x ^ self.mirrored_y

    def upright(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, ...) as coded -> a view of it as shown; (W, H, ...) if transposed."""
        turned = picture.swapaxes(0, 1) if self.transposed else picture
        return turned[:: -1 if self.mirrored_y else 1, :: -1 if self.mirrored_x else 1]


def _display_matrix(picture: av.VideoFrame) -> list[int] | None:
    try:
        side_data: Any = picture.side_data
    except ValueError as error:
        # PyAV lists nothing at all beside a kind that it does not know, as a camera's EXIF.
        unknown = re.match(r"\d+", str(error))
        if unknown is None:
            raise
        return _display_matrix(_without(picture, int(unknown[0])))
    if Type.DISPLAYMATRIX not in side_data:
        return None
    return [int(number) for number in np.frombuffer(bytes(side_data[Type.DISPLAYMATRIX]), np.int32)]


def _without(picture: av.VideoFrame, kind: int) -> av.VideoFrame:
    """The frame without its side data of a kind, by FFmpeg's number."""
    graph = Graph()
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=Fraction(1, 1000)
    )
    graph.link_nodes(source, graph.add("sidedata", f"mode=delete:type={kind}"), graph.add("buffersink")).configure()
    graph.vpush(picture)
    return graph.vpull()
