"""A file of what to generate with a trained model -> inputs, or a reason for each unusable line.

    {"image": "mug.jpg", "prompt": "A blue mug slides ...", "seeds": [0, 1],
     "instances": [{"mask": "mug.png", "arrow_px": [120, 200, 260, 180], "speed_mps": 1.2}]}
        -> two GenerationInputs, mug-1 with seed 0 and mug-1 with seed 1

JSON lines, Parquet, or CSV where there are prompts alone. Paths are read from the file's own folder. Which of the
columns a line must have, its recipe says (`Needs`): MATRIX a picture with masks, KineMask also an arrow and a speed,
SpatialAlign a prompt and nothing else.
"""

from __future__ import annotations

import math
import re
from itertools import islice
from typing import NamedTuple

from pydantic import AliasChoices, field_validator

from schemas.generated_videos import MAX_INSTANCES, NAME, GenerationInput, GivenInstance
from schemas.outcome import Outcome, RowFailed, RowRejected
from schemas.record import Record, column, content_hash
from schemas.source import id_as_text
from schemas.storage import AnyPath
from tasks.engine.inputs import Inputs
from tasks.readers.columns import Columns
from tasks.readers.lines import (
    EndedLines,
    InputLine,
    ManifestError,
    at_line,
    bad_line,
    parse_line,
    read_lines,
    require_manifest,
)
from tasks.readers.read_manifest import content_of

STAGE = "read_inputs"


class Needs(NamedTuple):
    """What a recipe's model is given beside the prompt."""

    image: bool = False  # the first frame, and a mask of every instance in it
    arrows: bool = False  # and where an instance is pushed to, and how fast
    prompt: str | None = None  # for lines without one; None: a line must have one


class GivenLine(Record):
    """An instance of a line."""

    mask: str = column("Path of its mask, bright on black, as large as the picture")
    arrow_px: list[float] = column("x0, y0, x1, y1 in the picture", unit="px", default=[])
    speed_mps: float | None = column("How fast it is pushed", unit="m/s", gt=0, default=None)

    @field_validator("arrow_px")
    @classmethod
    def _has_a_direction(cls, arrow: list[float]) -> list[float]:
        if arrow and (len(arrow) != 4 or not math.hypot(arrow[2] - arrow[0], arrow[3] - arrow[1])):
            raise ValueError("four numbers x0, y0, x1, y1, and two different ends")
        return arrow


class GenerationLine(Record):
    """One line of the file."""

    prompt: str | None = column("What happens", default=None, validation_alias=AliasChoices("prompt", "text"))
    name: str | None = column(
        "It names the videos; empty: the picture's name, or one derived from the prompt",
        default=None,
        validation_alias=AliasChoices("name", "prompt_id"),
    )
    seeds: list[int] | None = column("Seeds of the noise; empty: those of the command", default=None)
    image: str | None = column("Path of the first frame", default=None)
    instances: list[GivenLine] = column("The things in it", default=[], max_length=MAX_INSTANCES)

    @field_validator("name", mode="before")
    @classmethod
    def _integers_are_names(cls, value: object) -> object:
        return id_as_text(value)


COLUMNS = Columns.of(GenerationLine)


class GenerationListing(Record):
    """A file of inputs, read: every line is an input or an outcome."""

    inputs: list[GenerationInput] = column("Usable lines with each of their seeds, in the file's order")
    outcomes: list[Outcome] = column("Lines that ended here")
    n_lines: int = column("Lines that were read", ge=0)


def read_generation_inputs(
    path: AnyPath, needs: Needs, seeds: list[int], known: AnyPath | None, limit: int | None = None
) -> GenerationListing:
    """Read a file, or its first `limit` lines.

    seeds: of lines that name none
    known: folder that caches each object's hash: only new objects are fetched
    Raises ManifestError if the file is missing or of another kind.
    """
    require_manifest(path)
    if path.is_dir():
        raise ManifestError(f"{path} is a folder; give the file of inputs in it")
    inputs, files = [], Inputs(folder=path.parent, allow_outside=True)
    ended, taken = EndedLines(STAGE), dict[tuple[str, int], int]()
    n_lines = 0
    for n_lines, line in enumerate(islice(read_lines(path, COLUMNS), limit), start=1):  # noqa: B007 - the last counts
        try:
            of_line = _read_line(line, needs, seeds, files, known)
            for one in of_line:
                if first := taken.get((one.name, one.seed)):
                    detail = f"{one.name!r} with seed {one.seed} is line {first}; give each a name of its own"
                    raise RowRejected("duplicate_name", detail)
        except (RowFailed, RowRejected) as end:
            ended.add(line, at_line(line, end))
            continue
        taken |= {(one.name, one.seed): line.number for one in of_line}
        inputs += of_line
    return GenerationListing(inputs=inputs, outcomes=ended.outcomes, n_lines=n_lines)


def _read_line(
    line: InputLine, needs: Needs, seeds: list[int], files: Inputs, known: AnyPath | None
) -> list[GenerationInput]:
    row = parse_line(line, GenerationLine)
    prompt = " ".join((row.prompt or needs.prompt or "").split())
    if not prompt:
        raise bad_line("prompt: there is none, and this model has no other")
    if needs.image != (row.image is not None):
        raise bad_line("image: it is missing; this model starts from a picture" if needs.image else _NO_IMAGE)
    if needs.image and not row.instances:
        raise bad_line("instances: there are none; give the mask of each thing that acts or is acted upon")
    if needs.arrows and not any(one.arrow_px for one in row.instances):
        raise bad_line("instances: none has an arrow_px; give one to what is pushed")
    for number, one in enumerate(row.instances, start=1):
        if bool(one.arrow_px) != (one.speed_mps is not None):
            raise bad_line(f"instances: number {number} has one of arrow_px and speed_mps; they go together")
    given = {
        "prompt": prompt,
        "image": row.image,
        "image_sha256": row.image and _sha256(row.image, files, known),
        "instances": [
            GivenInstance(
                instance_id=f"id{number}",
                mask_sha256=_sha256(one.mask, files, known),
                **one.model_dump(include={"mask", "arrow_px", "speed_mps"}),
            )
            for number, one in enumerate(row.instances, start=1)
        ],
    }
    name = row.name or _name_of(row.image, prompt)
    chosen = seeds if row.seeds is None else row.seeds
    if not chosen or min(chosen) < 0 or len(set(chosen)) < len(chosen):
        raise bad_line(f"seeds: {chosen}; give different whole numbers from 0")
    return [GenerationInput.of(name=_checked(name), seed=seed, **given) for seed in chosen]


_NO_IMAGE = "image: this model makes videos from a prompt alone; leave it out"


def _name_of(image: str | None, prompt: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", image.rpartition("/")[2].rpartition(".")[0]).strip("-.") if image else ""
    return f"{stem or 'prompt'}-{content_hash(prompt, length=8)}"


def _checked(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise bad_line(f"name: {name!r} would name files; use letters, digits, '-', '_' and '.'")
    return name


def _sha256(file: str, files: Inputs, known: AnyPath | None) -> str:
    path = files.locate(file)
    try:
        return content_of(path, known).sha256
    except FileNotFoundError as error:
        raise RowFailed("missing_file", f"{file!r} is not there", retryable=False) from error
    except OSError as error:
        raise RowFailed("unreadable_file", f"{file!r}: {error.strerror}", retryable=False) from error
