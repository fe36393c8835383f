"""tasks.readers.read_prompts: every line is a prompt or an outcome that names it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.dsr import DsrPrompt, PromptRow
from schemas.record import write_table
from tasks.datasets.dsr.grammar import PromptConfig, generate_prompts
from tasks.datasets.dsr.wording import from_to_text
from tasks.readers.lines import ManifestError
from tasks.readers.read_prompts import read_prompts

TEXT = "In a wood, a fox is on the left of a chair, then the fox sprints to the right of the chair."
FREE = "In a wood, a fox to the left of a chair sprints to its right."
LABELS = {"animal": "fox", "object": "chair", "scene": "In a wood", "initial": "left", "final": "right"}
THEIRS = {
    "type": "LR",
    "prompt_id": "1099_LR",
    "animal": "fox",
    "object": "chair",
    "scene": "In a wood,",
    "initial_SR": "on the left of",
    "final_SR": "to the right of",
    "prompt": TEXT,
}


def write_jsonl(folder: Path, *lines: object) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def write_csv(folder: Path, *lines: dict[str, Any]) -> Path:
    path = folder / "prompts.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


# --- What is read --------------------------------------------------------------------------------


def test_the_authors_csv(tmp_path: Path) -> None:
    [prompt] = read_prompts(write_csv(tmp_path, THEIRS), "test").prompts
    assert prompt.model_dump() == {
        **LABELS,
        "verb": "sprints",
        "prompt_id": "1099_LR",
        "split": "test",
        "form": "structured",
        "text": TEXT,
    }


def test_the_authors_results_are_prompts_too(tmp_path: Path) -> None:
    results = THEIRS | {"prompt_from_to": "x", "video": "['a.mp4']", "reward": "[0.7, -100]"}
    assert len(read_prompts(write_csv(tmp_path, results)).prompts) == 1


def test_our_own_prompts_in_every_kind_of_file(tmp_path: Path) -> None:
    prompts = generate_prompts(PromptConfig(n_train=12, n_test=6))
    dumps = [prompt.model_dump() for prompt in prompts]
    parquet = tmp_path / "prompts.parquet"
    pq.write_table(pa.Table.from_pylist(dumps), parquet)
    for path in (write_jsonl(tmp_path, *dumps), write_csv(tmp_path, *dumps), parquet):
        listing = read_prompts(path)
        assert listing.prompts == prompts
        assert not listing.outcomes


def test_our_published_table(tmp_path: Path) -> None:
    prompts = generate_prompts(PromptConfig(n_train=2, n_test=2))
    rows = [PromptRow(**p.model_dump(), type=p.dsr_type, seeds=[0], rewards=[None], n_pairs=0) for p in prompts]
    write_table(PromptRow, rows, tmp_path / "prompts.parquet")
    assert read_prompts(tmp_path / "prompts.parquet").prompts == prompts


def test_a_text_is_enough(tmp_path: Path) -> None:
    from_to = "A guinea pig hops down from the top of a bench to the left of the bench"
    path = write_jsonl(tmp_path, {"text": TEXT}, {"prompt": from_to, "split": "train"}, {"text": f"  {TEXT[11:]}\n"})
    first, second, third = read_prompts(path, "test").prompts
    assert (first.prompt_id, first.split) == (DsrPrompt.id_of(first), "test")
    assert (second.animal, second.verb, second.form, second.split) == ("guinea pig", "hops down", "from_to", "train")
    assert (third.scene, third.text) == ("", TEXT[11:])


def test_free_words_with_their_labels(tmp_path: Path) -> None:
    [prompt] = read_prompts(write_jsonl(tmp_path, LABELS | {"verb": "sprints", "text": FREE})).prompts
    assert (prompt.form, prompt.text, prompt.verb) == ("rewritten", FREE, "sprints")


def test_labels_say_where_an_animals_name_ends(tmp_path: Path) -> None:
    labels = LABELS | {"animal": "bass sea fox", "verb": "has fun"}
    text = "In a wood, a bass sea fox has fun from the left of a chair to the right of the chair."
    path = write_jsonl(tmp_path, {"text": text}, labels | {"text": text})
    listing = read_prompts(path)
    assert [o.reason for o in listing.outcomes] == ["unclear_verb"]
    assert [(p.animal, p.verb, from_to_text(p)) for p in listing.prompts] == [("bass sea fox", "has fun", text)]


def test_ids_may_be_numbers_and_labels_in_any_case(tmp_path: Path) -> None:
    line = {"prompt_id": 1099, "animal": " Fox", "verb": "", "text": TEXT}
    [prompt] = read_prompts(write_jsonl(tmp_path, line)).prompts
    assert (prompt.prompt_id, prompt.animal) == ("1099", "fox")


# --- What is not ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason", "says"),
    [
        ('{"text": ', "bad_line", "not a JSON object"),
        ("[1, 2]", "bad_line", "not a JSON object: list"),
        ("[" * 100_000, "bad_line", "not a JSON object"),
        ({"animal": "fox"}, "bad_line", "text: Field required"),
        ({"text": ""}, "bad_line", "text"),
        ({"text": "x" * 100_000}, "bad_line", "text"),
        ({"text": "\ud800"}, "bad_line", "text"),
        ({"Text": TEXT}, "bad_line", "column 'Text': is 'text' meant?"),
        ({"text": TEXT, "prompt_id": 1.5}, "bad_line", "prompt_id: 1.5 is no id"),
        ({"text": TEXT, "prompt": TEXT}, "bad_line", "columns 'text' and 'prompt', which mean the same"),
        ({"text": TEXT, "split": "validation"}, "bad_line", "split"),
        ({"text": TEXT, "initial": "under"}, "bad_line", "'under' is no relation"),
        ({"text": TEXT, "prompt_id": "../../etc/passwd"}, "unsafe_id", "prompt_id"),
        ({"text": TEXT, "prompt_id": ""}, "unsafe_id", "prompt_id"),
        ({"text": TEXT, "prompt_id": "x" * 200}, "unsafe_id", "prompt_id"),
        ({"text": "A fox sleeps."}, "no_relation", "none of 'on the left of'"),
        ({"text": FREE}, "one_relation", "free words need"),
        (LABELS | {"text": FREE}, "one_relation", "all labels beside"),  # no verb
        (LABELS | {"text": TEXT, "animal": "dog"}, "labels_contradict", "animal is 'dog', but the text says 'fox'"),
        (LABELS | {"text": TEXT, "final": "top"}, "labels_contradict", "final is 'top', but the text says 'right'"),
        (LABELS | {"text": TEXT, "scene": "In a hall"}, "labels_contradict", "scene is 'In a hall'"),
        (LABELS | {"text": TEXT, "final": "left"}, "labels_contradict", "final is 'left'"),
        ({"text": TEXT, "type": "RL"}, "labels_contradict", "type is 'RL', but the text says 'LR'"),
        ({"text": TEXT, "form": "from_to"}, "labels_contradict", "form is 'from_to'"),
        (LABELS | {"verb": "sprints", "text": FREE, "final": "top"}, "labels_contradict", "left -> right, not left"),
    ],
)
def test_a_bad_line_ends_with_a_reason_and_loses_nothing_else(
    tmp_path: Path, line: object, reason: str, says: str
) -> None:
    good = {"text": "A dog is on the top of a bed, then the dog jumps to the left of the bed."}
    listing = read_prompts(write_jsonl(tmp_path, good, "", line, {"text": TEXT.replace("fox", "cat")}))
    assert [p.animal for p in listing.prompts] == ["dog", "cat"]
    [outcome] = listing.outcomes
    assert (outcome.kind, outcome.stage, outcome.status) == ("source", "read_prompts", "failed")
    assert outcome.reason == reason
    assert outcome.detail is not None
    assert outcome.detail.startswith("line 3: ")
    assert says in outcome.detail
    outcome.to_json()  # whatever was in the line, the outcome can be stored


def test_repetitions_are_rejected_and_named_apart(tmp_path: Path) -> None:
    again = {"text": TEXT.upper(), "split": "test", "prompt_id": "other"}
    reworded = {"text": TEXT.replace("sprints", "walks"), "prompt_id": "7"}
    listing = read_prompts(write_jsonl(tmp_path, {"text": TEXT, "prompt_id": "7"}, again, again, reworded))
    assert len(listing.prompts) == 1
    assert [(o.status, o.reason) for o in listing.outcomes] == [
        ("rejected", "duplicate_prompt"),
        ("rejected", "duplicate_prompt"),
        ("rejected", "duplicate_id"),
    ]
    assert len({o.row_id for o in listing.outcomes}) == 3
    assert "line 1" in (listing.outcomes[2].detail or "")


def test_outcomes_are_known_by_what_the_line_says(tmp_path: Path) -> None:
    bad = {"text": "A fox sleeps."}
    [before] = read_prompts(write_jsonl(tmp_path, bad)).outcomes
    [after] = read_prompts(write_jsonl(tmp_path, {"text": TEXT}, "", bad)).outcomes
    assert before.row_id == after.row_id


@pytest.mark.parametrize("name", ["gone.csv", "prompts.txt", "."])
def test_what_is_no_file_of_prompts_says_what_would_be(tmp_path: Path, name: str) -> None:
    (tmp_path / "prompts.txt").write_text("")
    with pytest.raises(ManifestError, match=r"\.csv|file of prompts"):
        read_prompts(tmp_path / name)


def test_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "prompts.parquet").write_bytes(b"no parquet")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_prompts(tmp_path / "prompts.parquet")
