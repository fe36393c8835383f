"""Class names -> the captions that GroundingDINO reads, and the tokens that stand for each class.

    caption_of(["man", "wine glass"])  ->  "man . wine glass .", {"man": (0, 3), "wine glass": (6, 16)}

GroundingDINO scores every box against every token of its caption. Full stops separate the classes:
tokens of a class attend only to each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from schemas.outcome import RowFailed

MAX_CAPTION_TOKENS = 256  # of the published networks, including the start and the end token
SEPARATORS = (".", "?")

Span = tuple[int, int]  # start and end in a caption, the end exclusive


class Caption(NamedTuple):
    """Several classes in one text, and the span of each."""

    text: str
    spans: dict[str, Span]


def phrase_of(class_name: str) -> str:
    """A class name as captions hold it: " Wine  Glass" -> "wine glass"."""
    return " ".join(class_name.lower().split())


def caption_of(phrases: Iterable[str]) -> Caption:
    """Phrases, each closed by a full stop."""
    text, spans = "", {}
    for phrase in phrases:
        start = len(text) + bool(text)
        spans[phrase] = (start, start + len(phrase))
        text = f"{text} {phrase} ." if text else f"{phrase} ."
    return Caption(text, spans)


def captions_of(class_names: Iterable[str], tokenizer: Any) -> list[Caption]:
    """All classes in one caption, or in several if there are too many tokens for the network.

    Raises RowFailed("bad_class_name") for a class that no caption can hold.
    """
    n_tokens = {phrase_of(name): count_tokens(name, tokenizer) for name in class_names}
    return [caption_of(phrases) for phrases in in_passes(n_tokens, MAX_CAPTION_TOKENS - 2)]


def count_tokens(class_name: str, tokenizer: Any) -> int:
    """How many tokens of a caption a class takes, without its full stop.

    Class names are untrusted: a separator or the name of a control token would end the class early, and characters
    outside the vocabulary would be scored as something else. Raises RowFailed("bad_class_name") for these, for an
    empty name and for one longer than a caption.
    """
    tokens = tokenizer(phrase_of(class_name), add_special_tokens=False, verbose=False)["input_ids"]
    barred = {*tokenizer.all_special_ids, *tokenizer.convert_tokens_to_ids(list(SEPARATORS))}
    if not tokens:
        why = "holds nothing that it reads"
    elif not barred.isdisjoint(tokens):
        why = "holds '.', '?', a control token or a character beyond its vocabulary"
    elif len(tokens) > MAX_CAPTION_TOKENS - 3:
        why = f"has {len(tokens)} tokens, more than a caption"
    else:
        return len(tokens)
    raise RowFailed(
        "bad_class_name", f"GroundingDINO cannot read the class {class_name[:80]!r}: it {why}", retryable=False
    )


def in_passes(n_tokens: dict[str, int], limit: int) -> list[list[str]]:
    """Group the phrases, in order, by at most `limit` tokens each, full stops included."""
    passes: list[list[str]] = []
    room = 0
    for phrase, n in n_tokens.items():
        if n + 1 > room:
            passes.append([])
            room = limit
        passes[-1].append(phrase)
        room -= n + 1
    return passes


def token_columns(offsets: Sequence[Span], span: Span) -> list[int]:
    """Indices of the tokens inside a span. offsets: of the tokens in the caption, (0, 0) for control tokens."""
    return [column for column, (start, end) in enumerate(offsets) if span[0] <= start < end <= span[1]]
