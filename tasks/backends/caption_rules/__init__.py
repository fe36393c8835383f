"""Reads interactions from an English caption by rules: the embedded CaptionReader.

    "A boy in a red shirt kicks a ball." ->
        Listing([Mention("id1", "boy"), Mention("id2", "ball")], [Relation("id1", "kick", "id2", ...)])

It reads the plain sentences that captioners write, and leaves out what it cannot read. Its time grows linearly with
the caption. Modules in the order of the work:

    reader           CaptionRules: count, list, rate, describe. A caption's relations, mentions and ids
    words            caption -> sentences -> words
    chunker          words -> chunks, with noun_phrases and verb_groups; chunks has their types
    sentence_reader  chunks -> drafts of relations, with clauses, and modifiers such as "in a red shirt"
    entities         noun phrase or pronoun -> the entity that it means

    words, nouns, verbs    the lexicon: word lists, inflection, scores

MATRIX leaves these cases open; the rules decide:
- A goal is an object too: "throws a ball to a dog" gives throw and throw to, "puts it on a table" put and put on.
  These are no objects: scenery ("on a lawn"), own limbs, own clothes being adjusted, plain places.
- A tool is no object beside another: "cuts an apple with a knife" gives cut apple. Where the verb is done to nothing
  else, it is: "taps his stomach with a stick", "eats with a spoon" give tap with, eat with. "Using a knife" gives use.
- A body part is its owner: "braids the hair of a girl", "puts a hat on a girl's head" give braid girl, put on girl.
- Garments belong to the nearest noun that wears clothes (people, animals, dolls), else to the subject.
- Individuals that the caption does not tell apart ("two dogs", "three cups") have no id, so no relation.
  Things without a number ("vegetables") are one heap with one id.
- "Hug each other" and "shake hands" are one relation, in the caption's order.
- An action that is only tried, wanted, denied or supposed is no relation.
- Subjects are living, as in the paper. With subjects "any", things act too: "a cube hits a cylinder".
"""

from tasks.backends.caption_rules.reader import NOT_STATED, CaptionRules, read_caption

__all__ = ["NOT_STATED", "CaptionRules", "read_caption"]
