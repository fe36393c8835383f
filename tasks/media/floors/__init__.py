"""The floors that bodies move on: built-in painted ones, or pictures from a folder (KineMask 4.1).

    Floors().listing("train")         -> [FloorTexture(texture="bricks-1", noun="brick ground"), ...]
    Floors(folder="textures")         pictures such as those of AmbientCG, which the paper uses:
        textures/train/wooden floor-03.jpg, textures/test/Marble012_1K-JPG_Color.jpg, ...

No texture is in both splits; for painted floors, no kind of surface either.

Every renderer lays a texture the same way. Seen from above, its u axis is the world's x axis turned `turn_deg`
counter-clockwise; v is a quarter turn further, and row 0 of the picture has the largest v. Tiles of edge `tile_m`
repeat endlessly, one with its lower left corner at `offset_m`.

    painted    which painted floors there are       patterns   what they are painted with
    pictures   pictures from a folder
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from schemas.outcome import RowFailed
from schemas.scene import Floor, Split
from schemas.storage import DataPath
from tasks.media.floors import painted
from tasks.media.floors.pictures import PREPARED, FloorPicture, prepare, read_pictures
from tasks.media.floors.texture import FloorTexture as FloorTexture


class Floors(BaseModel):
    """Where floors come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: DataPath | None = Field(
        None,
        description="Folder with train/ and test/, each with seamless JPEG or PNG textures named by their content: "
        "'wooden floor-03.jpg'; unset: painted floors",
    )

    def listing(self, split: Split) -> list[FloorTexture]:
        """The split's textures, at least one, in an order that follows from their content.

        Raises ServiceDown, with what to do, if the folder does not hold pictures for two disjoint splits.
        """
        if self.folder is None:
            return painted.listing(split)
        return [picture.texture for picture in self._pictures if picture.split == split]

    def picture(self, floor: Floor) -> np.ndarray:
        """(N, N, 3) uint8 RGB, read-only. Raises RowFailed if the texture is missing."""
        if floor.sha256 is None:
            if floor.texture not in painted.NAMES:
                raise RowFailed("unknown_floor", f"no painted floor is called {floor.texture!r}", retryable=False)
            return _painted(floor.texture)
        found = [picture for picture in self._pictures if picture.texture.sha256 == floor.sha256]
        if not found:
            detail = f"{floor.texture} ({floor.sha256}) is not in {self.folder} any more"
            raise RowFailed("floor_missing", detail, retryable=True)
        return prepare(found[0].path, floor.sha256)

    def identity(self, floor: Floor) -> str:
        """What `picture` depends on; no path."""
        if floor.sha256 is None:
            return f"painted:{floor.texture}:{painted.VERSION}"
        return f"picture:{floor.sha256}:{PREPARED}"

    @cached_property
    def _pictures(self) -> list[FloorPicture]:
        """The folder's pictures, read once."""
        return [] if self.folder is None else read_pictures(self.folder)


@lru_cache(maxsize=32)  # more than there are in a split
def _painted(name: str) -> np.ndarray:
    picture = painted.paint(name)
    picture.setflags(write=False)
    return picture


def texture_uv(floor: Floor, xy: np.ndarray) -> np.ndarray:
    """(..., 2) m on the floor -> (..., 2) u, v in tiles; one tile spans 0..1.

    The texture's pixel at u, v is column u N, row (1 - v) N, both modulo N.
    """
    turn = np.deg2rad(floor.turn_deg)
    x, y = xy[..., 0] - floor.offset_m[0], xy[..., 1] - floor.offset_m[1]
    u = (np.cos(turn) * x + np.sin(turn) * y) / floor.tile_m
    v = (np.cos(turn) * y - np.sin(turn) * x) / floor.tile_m
    return np.stack([u, v], axis=-1)
