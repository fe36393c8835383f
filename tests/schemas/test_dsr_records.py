"""schemas.relation, schemas.dsr: what labels may say, and what ids depend on."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from schemas.dsr import SHARD_TABLES, WHOLE_TABLES, DsrLabels, DsrPrompt, DsrSample, SampleRow
from schemas.relation import DSR_TYPES, RELATIONS, type_code
from tests.support.dsr_rows import SHA256, make_prompt, make_sample


def test_the_six_types_are_those_of_table_1() -> None:
    assert {letter: (initial, final) for letter, initial, final in DSR_TYPES.values()} == {
        "A": ("left", "top"),
        "B": ("top", "left"),
        "C": ("right", "top"),
        "D": ("left", "right"),
        "E": ("top", "right"),
        "F": ("right", "left"),
    }
    assert all(type_code(initial, final) == code for code, (_, initial, final) in DSR_TYPES.items())


def test_relations_are_told_apart_by_everything_that_names_them() -> None:
    for attribute in ("name", "code", "direction", "at", "to", "from_"):
        assert len({getattr(relation, attribute) for relation in RELATIONS.values()}) == len(RELATIONS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial": "left", "final": "left"}, "nothing changes"),
        ({"final": "inside"}, "unknown relation 'inside'; use one of left, right, top"),
        ({"animal": " "}, "animal"),
        ({"object": ""}, "object"),
        ({"prompt_id": "../up"}, "prompt_id"),
        ({"prompt_id": ""}, "prompt_id"),
        ({"text": ""}, "text"),
    ],
)
def test_labels_that_say_nothing_are_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DsrPrompt(**make_prompt().model_dump() | changes)


def test_a_prompts_id_is_its_labels() -> None:
    prompt = make_prompt()
    labels = DsrLabels(**prompt.model_dump(include=set(DsrLabels.model_fields)))
    assert DsrPrompt.id_of(prompt) == DsrPrompt.id_of(labels)
    assert DsrPrompt.id_of(labels).startswith("RL_")
    assert DsrPrompt.id_of(labels) != DsrPrompt.id_of(labels.model_copy(update={"verb": "runs"}))


def test_a_sample_is_known_by_what_it_shows_and_not_by_what_it_is_called() -> None:
    prompt = make_prompt()
    sample = DsrSample.of(prompt, 3)
    renamed = prompt.model_copy(update={"prompt_id": "another", "split": "test"})
    assert DsrSample.of(renamed, 3).clip_id == sample.clip_id
    given = DsrSample.of(prompt, 3, "a.mp4", SHA256)
    assert DsrSample.of(prompt, 3, "b.mp4", SHA256).clip_id == given.clip_id
    others = [
        DsrSample.of(prompt, 4),
        DsrSample.of(prompt.model_copy(update={"text": "In other words."}), 3),
        DsrSample.of(prompt.model_copy(update={"animal": "cat"}), 3),
        given,
        DsrSample.of(prompt, 3, "a.mp4", SHA256[::-1]),
    ]
    assert len({sample.clip_id, *(other.clip_id for other in others)}) == 6


def test_a_sample_is_named_as_the_authors_name_it() -> None:
    sample = DsrSample.of(make_prompt("1099_RL"), 3)
    assert sample.official_name.format(n_frames=81) == "1099_RL_F81_seed03.mp4"


def test_every_column_of_every_table_is_described() -> None:
    for record in (SHARD_TABLES | WHOLE_TABLES).values():
        assert all(field.metadata[b"description"] for field in record.arrow_schema())


def test_a_valid_sample_has_a_score() -> None:
    with pytest.raises(ValidationError, match="dsr_score"):
        SampleRow(**make_sample().model_dump() | {"dsr_score": None})
