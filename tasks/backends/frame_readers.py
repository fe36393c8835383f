"""Frame readers by name.

    frame_reader("decord").read_video(snapshot.video("clip-81b2"), [0, 24])      (2, H, W, 3) uint8 RGB

Both give the same bits, so the name enters no key; what decord would read wrongly it refuses.
"""

from __future__ import annotations

from typing import Literal

from tasks.backends.decord_reader import DecordReader
from tasks.media import video
from tasks.media.video import FrameReader

ReaderName = Literal["pyav", "decord"]


def frame_reader(name: ReaderName, *, known_intact: bool = False) -> FrameReader:
    """A reader; known_intact: as DecordReader has it. Raises ValueError for another name."""
    if name == "pyav":
        return video
    if name == "decord":
        return DecordReader(known_intact=known_intact)
    raise ValueError(f"no frame reader {name!r}; there are pyav and decord")
