"""tasks.readers.parse_prompts: what was worded is read back, and what cannot be read is refused with the reason."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.dsr import DsrLabels, Form
from schemas.relation import DSR_TYPES, RELATIONS, SpatialRelation
from tasks.datasets.dsr.grammar import PromptConfig, generate_prompts
from tasks.datasets.dsr.wording import from_to_text, structured_text
from tasks.readers.parse_prompts import MAX_PROMPT_CHARACTERS, PromptRefused, parse_prompt, relation_of

FOX = DsrLabels(scene="In a wood", animal="fox", object="chair", verb="sprints", initial="left", final="right")
STRUCTURED = "In a wood, a fox is on the left of a chair, then the fox sprints to the right of the chair."
FROM_TO = "In a wood, a fox sprints from the left of a chair to the right of the chair."

# Words of the grammar itself name nothing.
RESERVED = {"a", "an", "and", "but", "from", "is", "on", "or", "that", "the", "then", "to", "which", "who"}
WORD = st.from_regex(r"[a-z]{1,9}(-[a-z]{2,5})?", fullmatch=True).filter(lambda word: word not in RESERVED)
NOUN = st.lists(WORD, min_size=1, max_size=3).map(" ".join)
VERB = st.lists(WORD, min_size=1, max_size=3).map(" ".join)
SCENE = st.sampled_from(["", "In a wood", "By a pond, far from a house", "At the top of a hill, at dawn"])
# Where only the text tells them apart: an animal without words in -s, adverbs, a finite verb, particles.
PLAIN_NOUN = st.lists(WORD.filter(lambda word: word[-1] != "s" and word[-2:] != "ly"), min_size=1, max_size=3)
MOVE = st.builds(
    lambda adverbs, verb, particles: " ".join([*adverbs, f"{verb}es", *particles]),
    st.lists(st.sampled_from(["slowly", "quickly"]), max_size=2),
    WORD,
    st.lists(st.sampled_from(["down", "up", "across", "boldly"]), max_size=2),
)


@st.composite
def all_labels(
    draw: st.DrawFn, nouns: st.SearchStrategy[str] = NOUN, verbs: st.SearchStrategy[str] = VERB
) -> DsrLabels:
    initial, final = draw(st.permutations(list(RELATIONS)))[:2]
    return DsrLabels(
        scene=draw(SCENE), animal=draw(nouns), object=draw(NOUN), verb=draw(verbs), initial=initial, final=final
    )


# --- Round trips ---------------------------------------------------------------------------------


def test_the_two_forms() -> None:
    assert (structured_text(FOX), from_to_text(FOX)) == (STRUCTURED, FROM_TO)
    assert parse_prompt(STRUCTURED) == ("structured", FOX)
    assert parse_prompt(FROM_TO) == ("from_to", FOX)


def test_all_generated_prompts_read_back() -> None:
    for prompt in generate_prompts(PromptConfig(n_train=2000, n_test=600)):
        labels = DsrLabels(**{name: getattr(prompt, name) for name in DsrLabels.model_fields})
        assert parse_prompt(prompt.text) == ("structured", labels)
        assert parse_prompt(from_to_text(prompt)) == ("from_to", labels)


@given(all_labels())
@settings(deadline=None)
def test_structured_reads_back_whatever_the_words(labels: DsrLabels) -> None:
    assert parse_prompt(structured_text(labels)) == ("structured", labels)


@given(all_labels(PLAIN_NOUN.map(" ".join), MOVE) | all_labels(WORD, WORD))
@settings(deadline=None)
def test_from_to_reads_back_where_animal_and_verb_can_be_told_apart(labels: DsrLabels) -> None:
    assert parse_prompt(from_to_text(labels)) == ("from_to", labels)


@given(all_labels())
@settings(deadline=None)
def test_from_to_is_read_right_or_refused(labels: DsrLabels) -> None:
    """Where an animal of several words ends is not always clear; nothing else of the labels is ever lost."""
    try:
        _, read = parse_prompt(from_to_text(labels))
    except PromptRefused as refused:
        assert refused.reason == "unclear_verb"  # noqa: PT017
        return
    assert f"{read.animal} {read.verb}" == f"{labels.animal} {labels.verb}"
    assert read.model_copy(update={"animal": labels.animal, "verb": labels.verb}) == labels


@pytest.mark.parametrize("word", [structured_text, from_to_text])
@given(labels=all_labels(WORD, WORD), shout=st.booleans(), blanks=st.sampled_from(["  ", "\n", "\t "]))
@settings(deadline=None)
def test_case_blanks_and_the_full_stop_are_free(word: object, labels: DsrLabels, shout: bool, blanks: str) -> None:
    assert callable(word)
    text = word(labels).rstrip(".").replace(" ", blanks)
    _, read = parse_prompt(text.upper() if shout else text)
    assert read == labels.model_copy(update={"scene": labels.scene.upper() if shout else labels.scene})


@given(st.text(max_size=200) | st.lists(st.sampled_from([*STRUCTURED.split(), *FROM_TO.split(), ","])).map(" ".join))
@settings(deadline=None, max_examples=300)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        form, labels = parse_prompt(text)
    except PromptRefused as refused:
        assert refused.reason and refused.detail  # noqa: PT017, PT018
    else:
        again = structured_text(labels) if form == "structured" else from_to_text(labels)
        assert parse_prompt(again) == (form, labels)


# --- Single cases --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form", "animal", "thing", "verb"),
    [
        ("A guinea pig slowly walks from the left of a fire hydrant to the top of the fire hydrant",
         "from_to", "guinea pig", "fire hydrant", "slowly walks"),
        ("an octopus crawls from the left of a log to the right of the log", "from_to", "octopus", "log", "crawls"),
        ("a giant octopus crawls from the left of a log to the right of the log",
         "from_to", "giant octopus", "log", "crawls"),
        ("a blue butterfly flits from the left of a log to the right of the log",
         "from_to", "blue butterfly", "log", "flits"),
        ("By a pond a walk away, a cat jumps down from the top of a hay bale to the left of the hay bale.",
         "from_to", "cat", "hay bale", "jumps down"),
        ("A fox is on the left of a chair. Then the fox sprints to the right of the chair.",
         "structured", "fox", "chair", "sprints"),
        ("An owl is on the top of an armchair, then the owl glides down to the left of the armchair!",
         "structured", "owl", "armchair", "glides down"),
        ("Where a dog is, a fox is on the left of a chair, then the fox makes its way to the top of the chair",
         "structured", "fox", "chair", "makes its way"),
    ],
)  # fmt: skip
def test_what_is_read(text: str, form: Form, animal: str, thing: str, verb: str) -> None:
    read, labels = parse_prompt(text)
    assert (read, labels.animal, labels.object, labels.verb) == (form, animal, thing, verb)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n. ", "empty"),
        ("a fox " * MAX_PROMPT_CHARACTERS, "too_long"),
        (f"{STRUCTURED} It snows.", "several_sentences"),
        ("A fox sleeps in a wood.", "no_relation"),
        ("A fox is under a chair, and stays.", "no_relation"),
        ("A fox is on the left of a chair.", "one_relation"),
        ("A fox sprints from the left of a chair.", "one_relation"),
        (STRUCTURED.replace("on the left of", "under"), "unknown_relation"),
        (STRUCTURED.replace("to the right of", "behind"), "unknown_relation"),
        (FROM_TO.replace("from the left of", "from behind"), "unknown_relation"),
        (FROM_TO.replace("to the right of", "to the back of"), "unknown_relation"),
        (STRUCTURED.replace("right", "left"), "same_relation"),
        (FROM_TO.replace("right", "left"), "same_relation"),
        (STRUCTURED.replace("the fox", "the dog"), "other_animal"),
        (STRUCTURED.replace("the fox", "the foxhound"), "other_animal"),
        (STRUCTURED.replace("the chair", "the table"), "other_object"),
        (STRUCTURED.replace("the chair", "the armchair"), "other_object"),
        (FROM_TO.replace("the chair", "the table"), "other_object"),
        (STRUCTURED.replace(" sprints", ""), "no_verb"),
        (FROM_TO.replace("sprints", "jumps and runs"), "unclear_verb"),
        (FROM_TO.replace("sprints", "makes its way"), "unclear_verb"),
        (FROM_TO.replace(" sprints", ""), "unclear_verb"),
        (STRUCTURED.replace("a fox is", "two foxes are"), "other_form"),
        ("To the left of a chair waits a fox that goes to the right of the chair.", "other_form"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(PromptRefused) as refused:
        parse_prompt(text)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "text", ["a" + " is then the" * 165 + ",", "a " + "is " * 660, "a b from " * 220 + ",", "x, a " * 390 + "is"]
)
def test_a_hostile_text_is_refused_in_no_time(text: str) -> None:
    started_s = time.perf_counter()
    with pytest.raises(PromptRefused):
        parse_prompt(text)
    assert time.perf_counter() - started_s < 2


def test_a_further_relation_is_read_by_its_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    behind = SpatialRelation("behind", "H", (0, 0, 1), "behind", "to behind", "from behind")
    monkeypatch.setitem(RELATIONS, "behind", behind)
    monkeypatch.setitem(DSR_TYPES, "HT", ("G", "behind", "top"))
    labels = FOX.model_copy(update={"initial": "behind", "final": "top"})
    assert structured_text(labels) == (
        "In a wood, a fox is behind a chair, then the fox sprints to the top of the chair."
    )
    assert parse_prompt(structured_text(labels)) == ("structured", labels)
    assert parse_prompt(from_to_text(labels)) == ("from_to", labels)


@pytest.mark.parametrize("phrase", ["left", "on the left of", " To  the left of ", "from the left of"])
def test_relation_of(phrase: str) -> None:
    assert relation_of(phrase) == "left"


def test_relation_of_something_else() -> None:
    with pytest.raises(ValueError, match="'under' is no relation; there are 'on the left of'"):
        relation_of("under")
