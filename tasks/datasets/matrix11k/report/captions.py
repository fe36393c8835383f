"""Captions with the phrases marked that name an instance.

mark_nouns("A boy kicks a red ball.", [id1 "a boy", id2 "a red ball"])
->  [("A boy", "#ff6b4a"), (" kicks ", None), ("a red ball", "#3fa7ff"), (".", None)]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from schemas.matrix11k import InstanceRow
from tasks.pages.colours import css
from tasks.pages.marks import ARTICLES, Marked, Span, find_phrase, mark_spans
from tasks.pages.palette import colour_of

_DETERMINERS = r"(?:a|an|the|his|her|its|their|this|that)\s+"


def mark_nouns(caption: str, instances: Sequence[InstanceRow]) -> Marked:
    """The caption in pieces, each with the CSS colour of the instance that it names, or None."""
    return mark_spans(
        caption,
        [(*span, css(colour_of(i.instance_id))) for i in instances for span in noun_spans(caption, i, instances)],
    )


def noun_spans(caption: str, instance: InstanceRow, others: Sequence[InstanceRow]) -> Iterator[Span]:
    """Where the caption says the instance's noun phrase, or its class if no other instance is of that class."""
    bare = re.sub(rf"^{ARTICLES}", "", instance.noun, flags=re.IGNORECASE)
    yield from find_phrase(caption, bare, before=rf"(?:{ARTICLES})?")
    if sum(other.class_name == instance.class_name for other in others) == 1:
        # Only right behind the determiner: in "a blue ball" the ball may be another one.
        yield from find_phrase(caption, instance.class_name, before=_DETERMINERS)
