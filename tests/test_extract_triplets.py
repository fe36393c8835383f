"""tasks.extract_triplets: turns that agree, thresholds, pruning, the cap (MATRIX 3.1, A.1, A.3)."""

from __future__ import annotations

import pytest

from schemas.extraction import Extraction, Listing, Mention, Rating, Relation, Subjects, listing_trouble
from schemas.instance import Instance
from schemas.outcome import RowFailed, RowRejected
from tasks.extract_triplets import ExtractConfig, crowd_groups, extract_triplets
from tests.support.builders import make_instance


def relation(subject: str, object_: str, verb: str = "kick") -> Relation:
    return Relation(
        subject_id=subject, verb=verb, object_id=object_, type="functional_action", source_sentence="A boy kicks it."
    )


class Scripted:
    """A reader whose turns a test writes."""

    identity = {"backend": "scripted", "model": "1"}  # noqa: RUF012
    concurrency = 1

    def __init__(self, counts: list[int | None], relations: list[Relation], ratings: dict[str, Rating] | None = None):
        self.counts, self.relations, self.ratings = counts, relations, ratings or {}
        ids = sorted({i for r in relations for i in (r.subject_id, r.object_id)})
        self.mentions = [Mention(instance_id=i, class_name="boy", living=True) for i in ids]
        self.attempts: list[int] = []
        self.described: list[str] = []

    def count_interactions(self, caption: str, attempt: int) -> int | None:
        self.attempts.append(attempt)
        return self.counts[min(attempt, len(self.counts) - 1)]

    def list_interactions(self, caption: str, attempt: int) -> Listing:
        return Listing(mentions=self.mentions, relations=self.relations)

    def rate(self, caption: str, relation: Relation, mentions: list[Mention]) -> Rating:
        assert [m.instance_id for m in mentions] == [relation.subject_id, relation.object_id]
        default = Rating(contactness=5, dynamism=5, explanation="x", confidence=0.9)
        return self.ratings.get(relation.verb, default)

    def describe(self, caption: str, relations: list[Relation], mentions: list[Mention]) -> list[Instance]:
        self.described = [m.instance_id for m in mentions]
        return [make_instance(m.instance_id, m.class_name) for m in mentions]


def test_a_caption_with_interactions() -> None:
    reader = Scripted([2], [relation("id1", "id2"), relation("id1", "id3", "throw")])
    extraction = extract_triplets("A boy kicks it.", reader, ExtractConfig())
    assert extraction.pairs == [("id1", "id2"), ("id1", "id3")]
    assert [i.instance_id for i in extraction.instances] == ["id1", "id2", "id3"]
    assert extraction.made_by[0].backend == "scripted"


@pytest.mark.parametrize("caption", [None, "", "  \n"])
def test_no_caption_is_a_rejection(caption: str | None) -> None:
    with pytest.raises(RowRejected, match="no_caption"):
        extract_triplets(caption, Scripted([1], []), ExtractConfig())


def test_the_papers_null_is_a_rejection() -> None:
    with pytest.raises(RowRejected, match="no_interaction"):
        extract_triplets("A field.", Scripted([None], []), ExtractConfig())


def test_turns_that_disagree_are_asked_again_and_then_failed() -> None:
    reader = Scripted([2, 1], [relation("id1", "id2")])
    assert extract_triplets("x", reader, ExtractConfig()).pairs == [("id1", "id2")]
    assert reader.attempts == [0, 1]
    stubborn = Scripted([2], [relation("id1", "id2")])
    with pytest.raises(RowFailed, match=r"turns_disagree.*counted 2, listed 1"):
        extract_triplets("x", stubborn, ExtractConfig(recounts=2))
    assert stubborn.attempts == [0, 1, 2]


@pytest.mark.parametrize(
    ("mentions", "relations", "trouble"),
    [
        (["id1", "id1"], [], "listed twice"),
        (["id1"], [("id1", "id1")], "itself"),
        (["id1"], [("id1", "id2")], "id2 named but not listed"),
        (["id2", "id1"], [("id2", "id1")], "not living"),
    ],
)
def test_listings_that_break_the_rules(mentions: list[str], relations: list[tuple[str, str]], trouble: str) -> None:
    listing = Listing(
        mentions=[Mention(instance_id=i, class_name="x", living=i == "id1") for i in mentions],
        relations=[relation(s, o) for s, o in relations],
    )
    assert trouble in (listing_trouble(listing) or "")


def test_things_may_act_where_the_config_says_so() -> None:
    things = Scripted([1], [relation("id1", "id2", "hit")])
    things.mentions = [Mention(instance_id=i, class_name="cube", living=False) for i in ("id1", "id2")]
    assert extract_triplets("x", things, ExtractConfig(subjects="any")).pairs == [("id1", "id2")]
    with pytest.raises(RowFailed, match="id1 acts but is not living"):
        extract_triplets("x", things, ExtractConfig())


@pytest.mark.parametrize(("subjects", "said"), [("living", "no living subject acts"), ("any", "no subject acts")])
def test_a_caption_without_interactions_is_told_whose_were_sought(subjects: Subjects, said: str) -> None:
    with pytest.raises(RowRejected, match=said):
        extract_triplets("A field.", Scripted([None], []), ExtractConfig(subjects=subjects))


def test_other_rules_hold_for_things_too() -> None:
    listing = Listing(
        mentions=[Mention(instance_id="id1", class_name="cube", living=False)], relations=[relation("id1", "id1")]
    )
    assert listing_trouble(listing, "any") == "id1 kick itself"


@pytest.mark.parametrize(
    ("rating", "reason"),
    [
        ({"contactness": 2}, "contactness 2 < 3"),
        ({"dynamism": 1}, "dynamism 1 < 2"),
        ({"confidence": 0.4}, "confidence 0.4 < 0.5"),
    ],
)
def test_thresholds_drop_interactions_and_prune_their_instances(rating: dict, reason: str) -> None:
    values = {"contactness": 5, "dynamism": 5, "confidence": 0.9, "explanation": "x"} | rating
    relations = [relation("id1", "id2"), relation("id1", "id3", "watch")]
    reader = Scripted([2], relations, {"watch": Rating(**values)})
    extraction = extract_triplets("x", reader, ExtractConfig())
    assert [i.kept for i in extraction.interactions] == [True, False]
    assert extraction.interactions[1].drop_reason == reason
    assert reader.described == ["id1", "id2"], "a pruned instance is not described"


def test_nothing_above_the_thresholds_is_a_rejection_with_the_ratings_as_evidence() -> None:
    low = Rating(contactness=1, dynamism=1, explanation="x", confidence=0.9)
    with pytest.raises(RowRejected, match="below_thresholds: watch: contactness 1 < 3") as error:
        extract_triplets("x", Scripted([1], [relation("id1", "id2", "watch")], {"watch": low}), ExtractConfig())
    assert isinstance(error.value.evidence, Extraction)


def crowd() -> Scripted:
    """Seven instances: id1 acts on all others, ever more strongly."""
    relations = [relation("id1", f"id{n}", f"verb{n}") for n in range(2, 8)]
    strong = {f"verb{n}": Rating(contactness=3, dynamism=5, explanation="x", confidence=n / 10) for n in range(5, 8)}
    weak = {f"verb{n}": Rating(contactness=3, dynamism=2, explanation="x", confidence=0.5) for n in range(2, 5)}
    return Scripted([6], relations, strong | weak)


def test_the_most_salient_instances_are_kept_and_stay_connected() -> None:
    extraction = extract_triplets("x", crowd(), ExtractConfig())
    assert [i.instance_id for i in extraction.instances] == ["id1", "id2", "id5", "id6", "id7"]
    assert [i.drop_reason for i in extraction.interactions if not i.kept] == [
        "over_cap: 5 instances are more salient",
        "over_cap: 5 instances are more salient",
    ]


def test_a_crowd_may_be_rejected_instead() -> None:
    with pytest.raises(RowRejected, match="over_cap: 7 instances, at most 5"):
        extract_triplets("x", crowd(), ExtractConfig(over_cap="reject"))


def test_a_crowded_clip_may_be_cut_into_parts_that_tell_it_in_order() -> None:
    config = ExtractConfig(over_cap="split")
    with pytest.raises(RowRejected, match="crowded: 7 instances, at most 5") as error:
        extract_triplets("x", crowd(), config)
    assert isinstance(error.value.evidence, Extraction)
    groups = crowd_groups(error.value.evidence.interactions, 5)
    assert groups == [[0, 1, 2, 3], [4, 5]]
    parts = [extract_triplets("x", crowd(), config, part, 2) for part in range(2)]
    assert [[i.instance_id for i in p.instances] for p in parts] == [
        ["id1", "id2", "id3", "id4", "id5"],
        ["id1", "id6", "id7"],
    ]
    assert sum(len(p.pairs) for p in parts) == 6, "every interaction is in exactly one part"
