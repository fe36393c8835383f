"""Floor pictures from a folder: what they show, and their split.

    textures/train/wooden floor-03.jpg  ->  FloorTexture("wooden floor-5f2a90c1", "wooden floor", sha256)

A texture is named by what it shows and by its file's hash: its path and number do not matter.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from functools import lru_cache
from typing import NamedTuple, get_args

import cv2
import numpy as np

from schemas.outcome import RowFailed, ServiceDown
from schemas.scene import Split
from schemas.storage import AnyPath, at_once, list_files
from tasks.media.floors.texture import FloorTexture

logger = logging.getLogger(__name__)

PREPARED = "1"  # increase when `prepare` changes its result for the same file
MAX_SIDE_PX = 2048
MAX_NOUN_CHARS = 40
_SUFFIXES = (".jpg", ".jpeg", ".png")
# AmbientCG's files: <Name><number>_<resolution>-<format>_<map>
_GROUNDS = ("floor", "ground", "surface")
_AMBIENTCG = re.compile(r"([A-Za-z]+)[0-9]+[A-Z]?_[0-9]+K-(?:JPG|PNG)_([A-Za-z]+)")


class FloorPicture(NamedTuple):
    """A picture in the folder."""

    split: Split
    path: AnyPath
    texture: FloorTexture


def read_pictures(folder: AnyPath) -> list[FloorPicture]:
    """The pictures of both splits, ordered by content.

    Raises ServiceDown if a split has none, or if a picture is there twice, unreadable or without a usable name.
    """
    pictures = [picture for split in get_args(Split) for picture in _read_split(folder, split)]
    counts = Counter(picture.texture.sha256 for picture in pictures)
    for sha256, n in counts.items():
        if n > 1:
            paths = [str(picture.path) for picture in pictures if picture.texture.sha256 == sha256]
            raise ServiceDown(f"floors: {' and '.join(paths)} are the same picture; keep one of them")
    return sorted(pictures, key=lambda picture: str(picture.texture.sha256))


def noun_of(name: str) -> str:
    """What a file shows, from its name without suffix and number: letters, digits and spaces, as captions allow.

    'wooden floor-03' and 'wooden_floor' -> 'wooden floor'; 'WoodFloor051_1K-JPG_Color' -> 'wood floor',
    'Marble012_1K-JPG_Color' -> 'marble surface'
    Raises ValueError if no usable name is left.
    """
    named = _AMBIENTCG.fullmatch(name)
    if named:
        kind, which = named.groups()
        if which != "Color":
            raise ValueError(f"it is a {which} map, not a colour picture; remove it")
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()
        if not name.endswith(_GROUNDS):
            name += " surface"  # things stand "on a marble surface"
    noun = " ".join(re.sub(r"[-_\s]+", " ", re.sub(r"[-_\s]*[0-9]+$", "", name)).split())
    if not re.fullmatch(rf"[A-Za-z][A-Za-z0-9 ]{{0,{MAX_NOUN_CHARS - 1}}}", noun):
        raise ValueError(
            f"name it by what it shows, like 'wooden floor-03': letters, digits and spaces, at most {MAX_NOUN_CHARS}"
        )
    return noun


@lru_cache(maxsize=4)
def prepare(path: AnyPath, sha256: str) -> np.ndarray:
    """(N, N, 3) uint8 RGB, read-only: the middle square of a picture, at most MAX_SIDE_PX a side.

    Raises RowFailed if the file does not hold these bytes any more.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise RowFailed("floor_missing", f"{path} is gone", retryable=True) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RowFailed("floor_changed", f"{path} is another picture now; run again", retryable=True)
    picture = _decode(path, data, cv2.IMREAD_COLOR)
    height, width = picture.shape[:2]
    side = min(height, width)
    if height != width:
        logger.warning("%s is %dx%d: only its middle square is used, with seams", path, width, height)
    top, left = (height - side) // 2, (width - side) // 2
    square = cv2.cvtColor(picture[top : top + side, left : left + side], cv2.COLOR_BGR2RGB)
    if side > MAX_SIDE_PX:
        square = cv2.resize(square, (MAX_SIDE_PX, MAX_SIDE_PX), interpolation=cv2.INTER_AREA)
    square.setflags(write=False)
    return square


def _read_split(folder: AnyPath, split: Split) -> list[FloorPicture]:
    place = folder / split
    try:
        paths = [path for path in list_files(place) if path.suffix.lower() in _SUFFIXES]
    except FileNotFoundError:
        paths = []
    if not paths:
        raise ServiceDown(
            f"floors: no picture ({', '.join(_SUFFIXES)}) in {place}; put the pictures of the {split} split there, or "
            "leave the floors' folder unset for painted floors"
        )
    return [
        FloorPicture(split, path, texture) for path, texture in zip(paths, at_once(place, _look, paths), strict=True)
    ]


def _look(path: AnyPath) -> FloorTexture:
    data = path.read_bytes()
    try:
        noun = noun_of(path.name[: -len(path.suffix)])
    except ValueError as error:
        raise ServiceDown(f"floors: {path}: {error}") from error
    _decode(path, data, cv2.IMREAD_REDUCED_COLOR_8)  # fails now, not in the middle of a shard
    sha256 = hashlib.sha256(data).hexdigest()
    return FloorTexture(f"{noun}-{sha256[:8]}", noun, sha256)


def _decode(path: AnyPath, data: bytes, how: int) -> np.ndarray:
    """(H, W, 3) uint8 BGR."""
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), how) if data else None
    except cv2.error:  # too many pixels for OpenCV
        picture = None
    if picture is None:
        raise ServiceDown(f"floors: {path} cannot be read as a picture; replace or remove it")
    return picture
