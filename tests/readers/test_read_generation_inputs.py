"""tasks.readers.read_generation_inputs: every line is inputs or an outcome that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.readers.lines import ManifestError
from tasks.readers.read_generation_inputs import GenerationListing, Needs, read_generation_inputs

PUSHED = Needs(image=True, arrows=True)
ARROW = {"arrow_px": [0, 0, 9, 0], "speed_mps": 1.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("mug.jpg", "mug.png", "hand.png"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def read(folder: Path, needs: Needs, *lines: dict[str, Any], seeds: list[int] | None = None) -> GenerationListing:
    path = folder / "inputs.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return read_generation_inputs(path, needs, seeds or [0], None)


def why(listing: GenerationListing) -> str:
    (outcome,) = listing.outcomes
    assert listing.inputs == []
    assert outcome.detail is not None
    return outcome.detail


def test_a_line_is_one_input_for_each_seed(folder: Path) -> None:
    line = {"image": "mug.jpg", "prompt": "It  slides.", "name": "mug", "instances": [{"mask": "mug.png", **ARROW}]}
    listing = read(folder, PUSHED, line, {**line, "name": "again", "seeds": [7]}, seeds=[0, 1])
    assert [(one.name, one.seed) for one in listing.inputs] == [("mug", 0), ("mug", 1), ("again", 7)]
    first = listing.inputs[0]
    assert (first.prompt, first.instances[0].instance_id, first.instances[0].arrow_px) == (
        "It slides.",
        "id1",
        [0, 0, 9, 0],
    )
    assert len({one.clip_id for one in listing.inputs}) == 3


def test_ids_follow_bytes_and_no_path(folder: Path) -> None:
    line = {"image": "mug.jpg", "prompt": "It slides.", "name": "mug", "instances": [{"mask": "mug.png", **ARROW}]}
    (before,) = read(folder, PUSHED, line).inputs
    (folder / "renamed.jpg").write_bytes(b"mug.jpg")
    (renamed,) = read(folder, PUSHED, {**line, "image": "renamed.jpg"}).inputs
    (folder / "mug.png").write_bytes(b"another mask")
    (changed,) = read(folder, PUSHED, line).inputs
    assert before.clip_id == renamed.clip_id != changed.clip_id


@pytest.mark.parametrize(
    ("needs", "line", "told"),
    [
        (Needs(), {}, "prompt: there is none"),
        (Needs(), {"prompt": "A fox.", "image": "mug.jpg"}, "from a prompt alone"),
        (PUSHED, {"prompt": "It slides."}, "starts from a picture"),
        (PUSHED, {"prompt": "It slides.", "image": "mug.jpg"}, "give the mask"),
        (PUSHED, {"prompt": "-", "image": "mug.jpg", "instances": [{"mask": "mug.png"}]}, "none has an arrow_px"),
        (
            PUSHED,
            {
                "prompt": "-",
                "image": "mug.jpg",
                "instances": [{"mask": "mug.png", **ARROW}, {"mask": "hand.png", "speed_mps": 1}],
            },
            "number 2 has one of arrow_px and speed_mps",
        ),
        (
            PUSHED,
            {
                "prompt": "-",
                "image": "mug.jpg",
                "instances": [{"mask": "mug.png", "arrow_px": [1, 1, 1, 1], "speed_mps": 1}],
            },
            "two different ends",
        ),
        (
            PUSHED,
            {"prompt": "-", "image": "gone.jpg", "instances": [{"mask": "mug.png", **ARROW}]},
            "'gone.jpg' is not there",
        ),
        (Needs(), {"prompt": "A fox.", "name": "../fox"}, "would name files"),
        (Needs(), {"prompt": "A fox.", "seeds": [1, 1]}, "different whole numbers"),
    ],
)
def test_an_unusable_line_says_why(folder: Path, needs: Needs, line: dict[str, Any], told: str) -> None:
    detail = why(read(folder, needs, line))
    assert told in detail
    assert detail.startswith("line 1: ")


def test_two_lines_may_not_write_one_file(folder: Path) -> None:
    listing = read(folder, Needs(), {"prompt": "A fox.", "name": "a"}, {"prompt": "An owl.", "name": "a"})
    assert [one.prompt for one in listing.inputs] == ["A fox."]
    assert listing.outcomes[0].reason == "duplicate_name"
    assert "is line 1" in (listing.outcomes[0].detail or "")


def test_a_recipe_may_bring_the_prompt(folder: Path) -> None:
    (one,) = read(folder, Needs(prompt="An object moving on a surface"), {"name": "a"}).inputs
    assert one.prompt == "An object moving on a surface"


def test_a_csv_of_prompts_is_enough_for_a_model_of_prompts(tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text("prompt_id,prompt\n7,A fox walks.\n")
    (one,) = read_generation_inputs(tmp_path / "prompts.csv", Needs(), [3], None).inputs
    assert (one.name, one.prompt, one.seed) == ("7", "A fox walks.", 3)


def test_a_folder_is_no_file_of_inputs(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is a folder"):
        read_generation_inputs(tmp_path, Needs(), [0], None)
