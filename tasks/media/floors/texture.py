"""A floor to choose from."""

from __future__ import annotations

from typing import NamedTuple


class FloorTexture(NamedTuple):
    """What a scene's Floor says of its texture."""

    texture: str
    noun: str
    sha256: str | None = None
