"""Phrases of a text, marked in colour.

mark_spans("A boy kicks a red ball.", [(0, 5, "#ff6b4a"), (12, 22, "#3fa7ff"), (18, 22, "#3fa7ff")])
->  [("A boy", "#ff6b4a"), (" kicks ", None), ("a red ball", "#3fa7ff"), (".", None)]
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

ARTICLES = r"(?:a|an|the)\s+"

Span = tuple[int, int]  # first character, and the one behind the last
Marked = list[tuple[str, str | None]]  # pieces of a text, each with its CSS colour


def mark_spans(text: str, spans: Iterable[tuple[int, int, str]]) -> Marked:
    """The text in pieces, each with the CSS colour of its span, or None. Of two that overlap, the longer is marked."""
    taken: list[tuple[int, int, str]] = []
    for start, end, colour in sorted(spans, key=lambda s: (s[0] - s[1], s[0], s[2])):
        if all(end <= other[0] or start >= other[1] for other in taken):
            taken.append((start, end, colour))
    pieces: Marked = []
    at = 0
    for start, end, colour in sorted(taken):
        pieces += [(text[at:start], None), (text[start:end], colour)]
        at = end
    pieces.append((text[at:], None))
    return [(piece, colour) for piece, colour in pieces if piece]


def find_phrase(text: str, phrase: str, before: str = "") -> Iterator[Span]:
    """Where the text says the phrase as whole words, in upper or lower case, whatever white space is between them.

    before: a pattern that must lead up to it and belongs to the span
    """
    words = r"\s+".join(map(re.escape, phrase.split()))
    yield from (match.span() for match in re.finditer(rf"(?<!\w){before}{words}(?!\w)", text, re.IGNORECASE))
