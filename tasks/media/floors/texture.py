"""A floor to choose from."""

from __future__ import annotations

from typing import NamedTuple


class FloorTexture(NamedTuple):
    """The texture of a scene's Floor."""

    texture: str
    noun: str
    sha256: str | None = None
