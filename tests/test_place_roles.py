"""Which words of a caption are subject, verb and object."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from schemas.outcome import RowRejected
from schemas.preparation import PlacedRoles
from tasks.place_roles import PlaceConfig, Told, place_roles

Triplets = Sequence[tuple[str, str, str]]
Instances = Sequence[tuple[str, str, str]]

BOY_BALL = [("id1", "boy", "a boy"), ("id2", "ball", "a red ball")]


def place(
    caption: str, triplets: Triplets, instances: Instances, words: str = "noun", sentence: str | None = None
) -> PlacedRoles:
    told = Told(
        caption,
        [[*triplet, caption if sentence is None else sentence] for triplet in triplets],
        [[*instance] for instance in instances],
    )
    return place_roles(told, PlaceConfig.model_validate({"words": words}))


def words_of(placed: PlacedRoles) -> dict[str, list[str]]:
    return {role.role_id: [placed.prompt[s.start : s.end] for s in role.spans] for role in placed.roles}


@pytest.mark.parametrize(
    ("caption", "verb", "said"),
    [
        ("A boy picks the red ball up.", "pick up", ["picks", "up"]),
        ("A boy picks up the red ball.", "pick up", ["picks up"]),
        ("A boy is gently picking up a red ball.", "pick up", ["is", "picking up"]),
        ("A red ball is being held by a boy.", "hold", ["is being held"]),
        ("A boy held a red ball.", "hold", ["held"]),
        ("A boy holding a red ball smiles.", "hold", ["holding"]),
        ("A boy gives the red ball a kick.", "kick", ["kick"]),
        ("A boy takes a photo of a red ball.", "take a photo of", ["takes a photo of"]),
        ("A boy who kicks at a wall kicks a red ball.", "kick", ["kicks"]),
        ("A boy isn’t shy: he has been throwing a red ball.", "throw", ["has been throwing"]),
    ],
)
def test_a_verb_has_its_auxiliaries_and_particles(caption: str, verb: str, said: list[str]) -> None:
    placed = place(caption, [("id1", verb, "id2")], BOY_BALL)
    roles = words_of(placed)
    assert roles["id1"] == ["boy"]
    assert roles["id2"] == ["red ball"]
    assert roles[f"id1-{verb.replace(' ', '-')}-id2"] == said
    verb_role = placed.roles[-1]
    assert (verb_role.kind, verb_role.instance_ids) == ("verb", ["id1", "id2"])
    assert verb_role.words == " ".join(said)


def test_every_mention_counts_and_none_of_another() -> None:
    caption = "A boy kicks a red ball. The ball hits a blue ball, and the boy laughs. Another boy catches it."
    instances = [("id1", "boy", "a boy"), ("id2", "ball", "a red ball"), ("id3", "ball", "a blue ball")]
    placed = place(caption, [("id1", "kick", "id2"), ("id2", "hit", "id3")], instances)
    spans = {role.role_id: [(s.start, s.end) for s in role.spans] for role in placed.roles}
    assert words_of(placed)["id1"] == ["boy", "boy"]
    assert spans["id1"] == [(2, 5), (caption.index("boy laughs"), caption.index(" laughs"))]
    assert words_of(placed)["id2"] == ["red ball", "ball"]
    assert words_of(placed)["id3"] == ["blue ball"]


def test_two_instances_of_a_noun_are_told_apart_by_their_words_and_then_by_their_order() -> None:
    men = [("id1", "man", "a man"), ("id2", "cup", "a cup"), ("id3", "man", "a man")]
    caption = "A man holds a cup while another man takes the cup."
    placed = place(caption, [("id1", "hold", "id2"), ("id3", "take", "id2")], men)
    start = {role.role_id: role.spans[0].start for role in placed.roles}
    assert (start["id1"], start["id3"]) == (caption.index("man"), caption.rindex("man"))
    looks = [("id1", "man", "a man in a red shirt"), ("id2", "man", "a man in a blue shirt")]
    caption = "A man in a blue shirt hugs a man in a red shirt."
    placed = place(caption, [("id2", "hug", "id1")], looks)
    start = {role.role_id: role.spans[0].start for role in placed.roles}
    assert (start["id2"], start["id1"]) == (caption.index("man"), caption.rindex("man"))


def test_a_verb_that_is_said_twice_is_the_one_between_its_instances() -> None:
    caption = "A boy kicks a blue ball and a girl kicks a red ball."
    instances = [
        ("id1", "boy", "a boy"), ("id2", "ball", "a blue ball"), ("id3", "girl", "a girl"), ("id4", "ball", "a red ball"),
    ]  # fmt: skip
    placed = place(caption, [("id1", "kick", "id2"), ("id3", "kick", "id4")], instances)
    start = {role.role_id: role.spans[0].start for role in placed.roles}
    assert (start["id1-kick-id2"], start["id3-kick-id4"]) == (caption.index("kicks"), caption.rindex("kicks"))


def test_a_verb_is_sought_in_its_source_sentence() -> None:
    caption = "A boy kicks a red ball. Later, the boy kicks the red  ball\nagain."
    first, second = (
        place(caption, [("id1", "kick", "id2")], BOY_BALL, sentence=sentence).roles[-1].spans[0].start
        for sentence in ("A boy kicks a red ball.", "Later, the boy kicks the red ball again.")
    )
    assert (first, second) == (caption.index("kicks"), caption.rindex("kicks"))


def test_what_is_no_entity_of_the_caption_is_found_by_its_word() -> None:
    placed = place(
        "A woman's wet hands hold a knife.",
        [("id1", "hold", "id2")],
        [("id1", "hand", "a woman's hands"), ("id2", "knife", "a knife")],
    )
    assert words_of(placed)["id1"] == ["wet hands"]


def test_the_kind_of_a_role() -> None:
    caption = "A boy pushes a girl who holds a cup."
    instances = [("id1", "boy", "a boy"), ("id2", "girl", "a girl"), ("id3", "cup", "a cup"), ("id4", "dog", "a dog")]
    placed = place(caption, [("id1", "push", "id2"), ("id2", "hold", "id3")], instances)
    assert {role.role_id: role.kind for role in placed.roles} == {
        "id1": "subject", "id2": "subject", "id3": "object", "id1-push-id2": "verb", "id2-hold-id3": "verb",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("caption", "triplet", "instances", "reason", "named"),
    [
        ("Two boys shake hands.", ("id1", "shake", "id2"), [("id1", "boy", "a boy"), ("id2", "boy", "a boy")],
         "words_not_found", "id1 (boy"),
        ("A boy kicks it.", ("id1", "kick", "id2"), BOY_BALL, "words_not_found", "id2 (ball"),
        ("A boy and a red ball.", ("id1", "kick", "id2"), BOY_BALL, "words_not_found", "'kick' of id1 and id2"),
        ("A boy kicks a blue ball.", ("id1", "kick", "id2"), BOY_BALL, "words_not_found", "'a red ball'"),
        (" ", ("id1", "kick", "id2"), BOY_BALL, "no_caption", "no caption"),
    ],
)  # fmt: skip
def test_what_cannot_be_placed_is_named(
    caption: str, triplet: tuple[str, str, str], instances: Instances, reason: str, named: str
) -> None:
    with pytest.raises(RowRejected) as rejected:
        place(caption, [triplet], instances)
    assert rejected.value.reason == reason
    assert named in rejected.value.detail
    assert caption.strip() in rejected.value.detail


def test_official_prompts_name_ids_from_1_on_in_front_of_their_nouns() -> None:
    instances = [("id2", "boy", "a boy"), ("id5", "ball", "a red ball")]
    caption = "A boy picks the red ball up. The ball is round."
    placed = place(caption, [("id2", "pick up", "id5")], instances, words="id")
    assert placed.prompt == "A <id1> boy picks the <id2> red ball up. The <id2> ball is round."
    assert words_of(placed) == {"id2": ["<id1>"], "id5": ["<id2>", "<id2>"], "id2-pick-up-id5": ["picks", "up"]}
