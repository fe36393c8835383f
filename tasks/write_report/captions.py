"""Captions with the phrases marked that name an instance.

mark_nouns("A boy kicks a red ball.", [id1 "a boy", id2 "a red ball"])
->  [("A boy", "#ff6b4a"), (" kicks ", None), ("a red ball", "#3fa7ff"), (".", None)]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from schemas.snapshot import InstanceRow
from tasks.write_report.palette import colour_of, css

_ARTICLES = r"(?:a|an|the)\s+"
_DETERMINERS = r"(?:a|an|the|his|her|its|their|this|that)\s+"


def mark_nouns(caption: str, instances: Sequence[InstanceRow]) -> list[tuple[str, str | None]]:
    """The caption in pieces, each with the CSS colour of the instance that it names, or None."""
    spans = [(*span, css(colour_of(i.instance_id))) for i in instances for span in noun_spans(caption, i, instances)]
    spans.sort(key=lambda s: (s[0] - s[1], s[0], s[2]))  # where two overlap, the longer one is meant
    taken: list[tuple[int, int, str]] = []
    for start, end, colour in spans:
        if all(end <= other[0] or start >= other[1] for other in taken):
            taken.append((start, end, colour))
    pieces: list[tuple[str, str | None]] = []
    at = 0
    for start, end, colour in sorted(taken):
        pieces += [(caption[at:start], None), (caption[start:end], colour)]
        at = end
    pieces.append((caption[at:], None))
    return [(text, colour) for text, colour in pieces if text]


def noun_spans(caption: str, instance: InstanceRow, others: Sequence[InstanceRow]) -> Iterator[tuple[int, int]]:
    """Where the caption says the instance's noun phrase, or its class if no other instance is of that class."""
    patterns = [rf"(?:{_ARTICLES})?{_words(re.sub(rf'^{_ARTICLES}', '', instance.noun, flags=re.IGNORECASE))}"]
    if sum(other.class_name == instance.class_name for other in others) == 1:
        # Only right behind the determiner: in "a blue ball" the ball may be another one.
        patterns.append(_DETERMINERS + _words(instance.class_name))
    for pattern in patterns:
        yield from (m.span() for m in re.finditer(rf"(?<!\w){pattern}(?!\w)", caption, re.IGNORECASE))


def _words(phrase: str) -> str:
    return r"\s+".join(map(re.escape, phrase.split()))
