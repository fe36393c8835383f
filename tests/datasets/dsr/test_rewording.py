"""tasks.datasets.dsr.rewording: natural rewordings pass, whatever says something else does not."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.dsr import DsrLabels
from schemas.relation import RELATIONS, SpatialRelation
from tasks.datasets.dsr.grammar import PromptConfig, generate_prompts
from tasks.datasets.dsr.rewording import keeps_labels, verb_forms
from tasks.datasets.dsr.wording import from_to_text, structured_text

FOX = DsrLabels(
    scene="In a pine wood with ferns", animal="fox", object="chair", verb="sprints", initial="left", final="right"
)


def labels(**changes: Any) -> DsrLabels:
    return FOX.model_copy(update=changes)


UP = labels(animal="cat", object="fire hydrant", verb="jumps", initial="left", final="top")
DOWN = labels(animal="cat", object="fire hydrant", verb="jumps down", initial="top", final="left")


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (labels(scene=""), "Starting to the left of a chair, a fox sprints across to its right side."),
        (FOX, "Starting to the left of a chair in a pine wood, a fox sprints across to its right side"),
        (FOX, "Amid the ferns of a pine wood, a fox that waits at the chair’s left sprints past to its right."),
        (FOX, "In a pine wood, a fox on the left-hand side of a chair goes sprinting to the right-hand side of it."),
        (FOX, "A fox sprints from left to right of a chair in a pine wood full of ferns."),
        (FOX, "In a Pine Wood with FERNS, a FOX on the left of a chair SPRINTS to the right of the chair."),
        (FOX, "Under the trees of a pine wood, a fox left of a chair sprints rightwards and ends to its right."),
        (FOX, "In a pine wood, a fox sprints away from the left of a chair and over to the right of it."),
        (UP, "In a pine wood with ferns, a cat to the left of a fire hydrant jumps onto it."),
        (UP, "In a pine wood, a cat left of a fire hydrant jumped up and landed on top of the hydrant. Ferns sway."),
        (UP, "Among ferns in a pine wood, a cat jumps from the left side of a fire hydrant up on the hydrant."),
        (DOWN, "In a pine wood with ferns, a cat perched on a fire hydrant jumps down to its left."),
        (DOWN, "Ferns grow in a pine wood. A cat sits atop a fire hydrant, jumps down and lands to the left of it."),
        (DOWN, "In a pine wood, a cat on a fire hydrant jumps down onto the soft ferns to the left of the hydrant."),
        (DOWN, "In a pine wood with ferns, a cat jumping off a fire hydrant lands on the left of the hydrant."),
        (labels(scene="At the top of a hill"), "At the top of a hill, a fox sprints from the left of a chair to "
                                               "the right of it."),
    ],
)  # fmt: skip
def test_natural_rewordings_pass(said: DsrLabels, text: str) -> None:
    assert keeps_labels(text, said) is None


@pytest.mark.parametrize(
    ("text", "why_not"),
    [
        ("", "blank"),
        ("In a pine wood with ferns, a fox. " * 50, "characters"),
        ("In a pine wood, a dog on the left of a chair sprints to its right.", "'fox' is not named"),
        ("In a pine wood, a fox on the left of a table sprints to its right.", "'chair' is not named"),
        ("In a pine wood, a fox on the left of an armchair sprints to its right.", "'chair' is not named"),
        ("In a pine wood, a fox on the left of a chair walks to its right.", "'sprints' is not said"),
        ("In a kitchen, a fox on the left of a chair sprints to its right.", "of the scene"),
        ("In a pine wood, a fox sprints around a chair.", "no relation"),
        ("In a pine wood, a fox sprints to the right of a chair.", "it says right, not left -> right"),
        ("In a pine wood, a fox sprints from the right of a chair to its left.", "right -> left"),
        ("In a pine wood, a fox sprints from the left of a chair to its right and back to its left.", "-> left"),
        ("In a pine wood, a fox on the left of a chair sprints onto the chair, then to its right.", "left -> top"),
        ("In a pine wood, a fox on the left of a chair sprints behind it and on to its right.", "another place"),
        ("In a pine wood, a fox sprints from the left of a chair in front of the chair to its right.", "front of"),
        ("In a pine wood, a fox on the left of a tree sprints to the right of a chair.", "not about the chair"),
        ("In a pine wood, a chair is on the left of a fox, which sprints to the right of it.", "not about the chair"),
        ("In a pine wood, a fox on the left of a chair never sprints to its right.", "denies"),
        ("In a pine wood, a fox on the left of a chair doesn’t sprint to its right.", "denies"),
        ("In a pine wood, a fox on the left of a chair sprints to its right, past two foxes.", "there is one fox"),
        ("In a pine wood, a fox sprints from the left of a chair to the right of another chair.", "there is one chair"),
    ],
)
def test_what_says_something_else_does_not(text: str, why_not: str) -> None:
    assert why_not in (keeps_labels(text, FOX) or "kept")


def test_the_pure_forms_keep_their_labels_and_no_others() -> None:
    prompts = generate_prompts(PromptConfig(n_train=300, n_test=60))
    for prompt in prompts:
        swapped = prompt.model_copy(update={"initial": prompt.final, "final": prompt.initial})
        for text in (structured_text(prompt), from_to_text(prompt)):
            assert keeps_labels(text, prompt) is None
            assert keeps_labels(text, swapped)


def test_a_further_relation_is_known_by_its_name_and_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    front = SpatialRelation("front", "F", (0, 0, -1), "in front of", "to the front of", "from the front of")
    monkeypatch.setitem(RELATIONS, "front", front)
    said = labels(scene="", initial="front", final="right")
    assert keeps_labels("A fox in front of a chair sprints to its right.", said) is None
    assert keeps_labels("A fox on the right of a chair sprints in front of it.", said) == (
        "it says right -> front, not front -> right"
    )


@pytest.mark.parametrize(
    ("verb", "form"),
    [
        ("hops down", "hopping"),
        ("flies", "flying"),
        ("dashes", "dashed"),
        ("paces", "pacing"),
        ("slowly walks", "walk"),
        ("runs", "ran"),
        ("leaps down", "leapt"),
        ("bloops", "blooping"),
    ],
)
def test_verb_forms(verb: str, form: str) -> None:
    assert form in verb_forms(verb)
