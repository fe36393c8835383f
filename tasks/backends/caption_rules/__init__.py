"""Reads interactions out of an English caption by rules: the embedded CaptionReader.

    "A boy in a red shirt kicks a ball." ->
        Listing([Mention("id1", "boy"), Mention("id2", "ball")], [Relation("id1", "kick", "id2", ...)])

Four steps, each linear but for short look-aheads: words; chunks (noun phrases, verb groups, prepositions);
clauses, read from left to right with a subject and a current verb; entities, where a later mention finds
the earlier one. It knows the plain sentences that captioners write. What it cannot read it leaves out.

    words            sentences and their words
    chunker          words -> chunks, with scan, verb_groups and noun_phrases; the kinds of chunks are in chunks
    sentence_reader  chunks -> drafts of relations, with chunk_stream, modifiers, clauses and drafts
    discourse        which entity a noun phrase or pronoun means; entities are in entities
    reading          a caption's relations, mentions and their ids
    backend          CaptionRules: count, list, rate, describe

    word_classes, nouns, verbs, inflection      the lexicon

Where MATRIX leaves room, the rules decide so:
- A goal is an object too: "throws a ball to a dog" is throw and throw to, "puts it on a table" put and put on.
  Scenery is none ("on a lawn"), nor are tools, own limbs, own clothes being adjusted, and plain places.
- Several individuals that the caption does not tell apart ("two dogs", "three cups") have no id, so no relation;
  things without a number ("vegetables") are one heap with one id.
- "Hug each other" and "shake hands" are one relation, in the caption's order.
- What is only tried, wanted, denied or supposed is not said to happen.
- Subjects live, as the paper has it, unless any are asked for: then "a cube hits a cylinder" counts, too.
"""

from tasks.backends.caption_rules.backend import NOT_STATED, CaptionRules
from tasks.backends.caption_rules.reading import read_caption

__all__ = ["NOT_STATED", "CaptionRules", "read_caption"]
