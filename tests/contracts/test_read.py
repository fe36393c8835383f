"""What every caption reader owes its stage, whatever it makes of the words."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas.extraction import Listing, Subjects, listing_trouble
from tasks.backends.caption_rules import CaptionRules
from tasks.backends.chat.captions import ChatCaptions
from tasks.backends.local_models import LocalConfig
from tasks.backends.local_models.chat import LocalChat
from tasks.backends.openai.api import ChatClient, EndpointConfig
from tasks.backends.openai.endpoint import Endpoint
from tasks.backends.torch_runtime import TorchConfig
from tasks.extract_triplets import CaptionReader, ExtractConfig, extract_triplets
from tests.support.endpoint import LocalEndpoint
from tests.support.flow_runs import point_at
from tests.support.reader import answers_of

CAPTION = "A boy in a blue shirt kicks a red ball. An old woman feeds the brown dog."
COLLISION = "The red cube slides to the right and hits the blue cylinder, pushing it away."
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


BACKENDS = ["rules", "openai", pytest.param("transformers", marks=pytest.mark.models)]


@contextmanager
def open_reader(
    backend: str, subjects: Subjects, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CaptionReader]:
    if backend == "rules":
        yield CaptionRules(subjects)
        return
    if backend == "transformers":
        from tests.support import tiny_chat

        tiny_chat.say(monkeypatch, answers_of(subjects))
        local = LocalConfig(llm=str(tiny_chat.save_llm(cache / "llm")), max_tokens=9000)
        yield ChatCaptions(LocalChat("LLM", local, TorchConfig(device="cpu"), cache), subjects)
        return
    with LocalEndpoint(answers=answers_of(subjects)) as server:
        point_at(server, monkeypatch)
        yield ChatCaptions(ChatClient(Endpoint.from_env("LLM"), EndpointConfig(), cache), subjects)


@pytest.fixture(params=BACKENDS)
def reader(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CaptionReader]:
    with open_reader(request.param, "living", tmp_path, monkeypatch) as reader:
        yield reader


@pytest.fixture(params=BACKENDS)
def open_to_things(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CaptionReader]:
    with open_reader(request.param, "any", tmp_path, monkeypatch) as reader:
        yield reader


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


def test_things_do_not_act_by_default(reader: CaptionReader) -> None:
    assert reader.count_interactions(COLLISION, 0) is None


def test_things_act_where_any_subject_may(open_to_things: CaptionReader) -> None:
    extraction = extract_triplets(COLLISION, open_to_things, ExtractConfig(subjects="any"))
    noun = {i.instance_id: i.noun for i in extraction.instances}
    assert [(noun[i.subject_id], i.verb, noun[i.object_id]) for i in extraction.interactions if i.kept] == [
        ("a red cube", "hit", "a blue cylinder"),
        ("a red cube", "push away", "a blue cylinder"),
    ]
    assert {i.type for i in extraction.interactions} == {"functional_action"}
    assert not any(i.living for i in extraction.instances)


def test_the_living_act_as_well_where_any_subject_may(reader: CaptionReader, open_to_things: CaptionReader) -> None:
    assert listing_of(open_to_things, CAPTION) == listing_of(reader, CAPTION)


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
    assert reader.identity["backend"] in ("rules", "openai", "transformers")
    assert reader.identity["model"]
    assert all(isinstance(value, str) for value in reader.identity.values())
    assert reader.concurrency >= 1
