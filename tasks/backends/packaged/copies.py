"""Copies of a network that serve one call at a time, so that threads share what has been loaded.

copies = Copies(load)
with copies.one() as network: ...    an idle copy; a new one only if all others are at work
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Copies(Generic[T]):
    """As many as are ever at work at once. Threads of rows come and go with each shard; what they loaded stays."""

    def __init__(self, load: Callable[[], T]) -> None:
        self._load = load
        self._idle: list[T] = []  # taking and giving back are atomic

    @contextmanager
    def one(self) -> Iterator[T]:
        try:
            copy = self._idle.pop()
        except IndexError:
            copy = self._load()
        try:
            yield copy
        finally:
            self._idle.append(copy)
