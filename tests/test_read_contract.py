"""What every caption reader owes its stage, whatever it makes of the words."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.backends.caption_rules import CaptionRules
from tasks.backends.openai_api import EndpointConfig
from tasks.backends.openai_captions import OpenAICaptions
from tasks.extract_triplets import CaptionReader, ExtractConfig, Listing, extract_triplets, listing_trouble
from tests.endpoint import LocalEndpoint
from tests.flow_runs import point_at
from tests.reader import read_caption

CAPTION = "A boy in a blue shirt kicks a red ball. An old woman feeds the brown dog."
QUIET = "A quiet valley under a pale sky."
CAPTIONS = (
    CAPTION,
    QUIET,
    "",
    "?!",
    "A" * 3000,
    "'; DROP TABLE clips; -- <script>alert(1)</script> {caption}",
    "犬が歩く。",
)


@pytest.fixture(params=["rules", "openai"])
def reader(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CaptionReader]:
    if request.param == "rules":
        yield CaptionRules()
        return
    with LocalEndpoint(answers=read_caption) as server:
        point_at(server, monkeypatch)
        yield OpenAICaptions(EndpointConfig(), tmp_path)


def listing_of(reader: CaptionReader, caption: str) -> Listing:
    return reader.list_interactions(caption, 0)


@pytest.mark.parametrize("caption", CAPTIONS)
def test_the_two_turns_agree_and_keep_the_papers_rules(reader: CaptionReader, caption: str) -> None:
    count, listing = reader.count_interactions(caption, 0), listing_of(reader, caption)
    assert (count or 0) == len(listing.relations)
    assert count != 0  # none is null
    assert listing_trouble(listing) is None
    assert all(" ".join(r.source_sentence.split()) in " ".join(caption.split()) for r in listing.relations)


def test_what_is_there_is_found(reader: CaptionReader) -> None:
    listing = listing_of(reader, CAPTION)
    class_of = {m.instance_id: m.class_name for m in listing.mentions}
    triplets = [(class_of[r.subject_id], r.verb, class_of[r.object_id]) for r in listing.relations]
    assert triplets == [("boy", "kick", "ball"), ("woman", "feed", "dog")]
    assert reader.count_interactions(QUIET, 0) is None


def test_each_interaction_is_rated_in_range(reader: CaptionReader) -> None:
    listing = listing_of(reader, CAPTION)
    for relation in listing.relations:
        ends = [m for m in listing.mentions if m.instance_id in (relation.subject_id, relation.object_id)]
        rating = reader.rate(CAPTION, relation, ends)
        assert 1 <= rating.contactness <= 5
        assert 1 <= rating.dynamism <= 5
        assert 0 <= rating.confidence <= 1
        assert rating.explanation.strip()


def test_each_mention_is_described_once_in_order(reader: CaptionReader) -> None:
    listing = listing_of(reader, CAPTION)
    instances = reader.describe(CAPTION, listing.relations, listing.mentions)
    assert [(i.instance_id, i.class_name, i.living) for i in instances] == [
        (m.instance_id, m.class_name, m.living) for m in listing.mentions
    ]
    assert all(i.noun.strip() and i.appearance.strip() and i.spatial.strip() for i in instances)


def test_another_attempt_is_an_answer_too(reader: CaptionReader) -> None:
    assert reader.count_interactions(CAPTION, 1) == 2
    assert listing_trouble(reader.list_interactions(CAPTION, 7)) is None


def test_the_same_in_any_thread(reader: CaptionReader) -> None:
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda _: extract_triplets(CAPTION, reader, ExtractConfig()), range(4)))
    assert all(extraction == read[0] for extraction in read)
    assert [maker.stage for maker in read[0].made_by] == ["extract_triplets"]


def test_it_says_what_it_is(reader: CaptionReader) -> None:
    assert reader.identity["backend"] in ("rules", "openai")
    assert reader.identity["model"]
    assert all(isinstance(value, str) for value in reader.identity.values())
    assert reader.concurrency >= 1
