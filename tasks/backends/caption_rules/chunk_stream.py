"""A sentence's chunks with a place in them, and what can be told by looking ahead.

"a ball | thrown by a boy hits ..."     "thrown" is reduced: a participle that describes the ball
"a cup and | a girl lifts ..."          a tensed verb follows "a girl", so she starts a clause
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.backends.caption_rules.chunks import Chunk, NounPhrase, VerbGroup, is_mark


class ChunkStream:
    """Chunks read from left to right; `position` is the index of the next one."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.chunks = chunks
        self.position = 0

    def peek(self, offset: int = 0) -> Chunk | None:
        """The next chunk, or one before or after it; None beyond the sentence."""
        return self._at(self.position + offset)

    def _at(self, position: int) -> Chunk | None:
        return self.chunks[position] if 0 <= position < len(self.chunks) else None

    def tensed_ahead(self, offset: int = 0) -> bool:
        """Whether a clause's own verb stands at a chunk, adverbs and conjoined noun phrases skipped."""
        position = self.position + offset
        while (chunk := self._at(position)) is not None:
            if is_mark(chunk, "adverb"):
                position += 1
            elif is_mark(chunk, "conjunction") and isinstance(self._at(position + 1), NounPhrase):
                position += 2
            else:
                return isinstance(chunk, VerbGroup) and chunk.tensed and not self._reduced(chunk, position)
        return False

    def just_read_reduced(self, verb: VerbGroup) -> bool:
        """Whether the verb just read is a participle that describes a noun: "a ball thrown by"."""
        return self._reduced(verb, self.position - 1)

    def _reduced(self, verb: VerbGroup, position: int) -> bool:
        """Whether the verb at a position is a participle, "a boy dressed ... kicks", though it looks like a past."""
        following = self._at(position + 1)
        if verb.form != "past":
            return verb.form == "participle"
        return is_mark(following, "preposition") and (
            following.text == "by" or self._tensed_after_phrases(position + 1)
        )

    def _tensed_after_phrases(self, position: int) -> bool:
        """Whether only prepositional phrases lie between a position and the next tensed verb."""
        while (chunk := self._at(position)) is not None:
            if isinstance(chunk, VerbGroup):
                return chunk.tensed
            if not (isinstance(chunk, NounPhrase) or is_mark(chunk, "preposition", "adverb")):
                return False
            position += 1
        return False

    def comma_just_before(self) -> bool:
        """Whether a comma stands before the verb just read, "A boy pats a dog that barks, and | lifts"."""
        return any(is_mark(self.peek(offset), "comma") for offset in (-4, -3, -2))

    def coordinated(self, alike: Callable[[NounPhrase], bool]) -> list[str]:
        """Read the noun phrases "A, B and C" at the position, as far as they are alike; returns their texts."""
        texts = []
        while isinstance(phrase := self.peek(), NounPhrase):
            texts.append(phrase.text)
            self.position += 1
            skip = 0
            while is_mark(self.peek(skip), "comma", "conjunction"):
                skip += 1
            following = self.peek(skip)
            if not skip or not isinstance(following, NounPhrase) or not alike(following):
                break
            self.position += skip
        return texts
