"""The truth about a drawn or simulated video: one Truth per manifest row."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from schemas.outcome import Status
from schemas.record import Rational, Record, column
from schemas.regular_files import open_regular


class TrueInstance(Record):
    """A thing that the caption describes, with its visible pixels in every frame of the video."""

    name: str = column("Its name within this truth: 'boy'", min_length=1)
    class_name: str = column("Base noun: 'boy', 'box'", min_length=1)
    noun: str = column("The caption's phrase for it: 'a boy in a red shirt'", min_length=1)
    colours: list[str] = column("Colour words of the phrase")
    living: bool = column("True for people and animals")
    counts: list[str] = column("One a frame of the video: COCO run lengths of its visible pixels")


class TrueTriplet(Record):
    """Who does what to whom, in which shot."""

    subject: str = column("Name of the instance that acts")
    verb: str = column("Base form: 'push'")
    object: str = column("Name of the instance acted upon")
    shot: int = column("Shot of the video in which it happens, from 0", ge=0)
    optional: bool = column(
        "True if the caption supports it only indirectly (the receiver of a throw): neither missed nor wrong",
        default=False,
    )
    also: list[str] = column("Heads of other verbs that say the same: 'hit' of 'collide with'", default=[])


class Expectation(Record):
    """What should become of a shot, or of a row that gives no shot."""

    shot: int = column("Shot of the video, from 0; 0 for a row that gives none", ge=0)
    status: Status = column("accepted, rejected or failed")
    stage: str | None = column("The stage that should decide; null: any", default=None)
    reason: str | None = column("The reason it should give; null: any", default=None)


class Truth(Record):
    """All that is known of one manifest row."""

    schema_version: ClassVar[int] = 1

    id: str = column("The manifest row's id")
    line: int = column("The manifest's line, from 1", ge=1)
    video: str = column("Path as the manifest writes it")
    caption: str | None = column("The manifest's caption")
    width: int = column("Width of the video", unit="px", ge=1)
    height: int = column("Height of the video", unit="px", ge=1)
    fps: Rational = column("Constant frame rate", unit="frames/s")
    n_frames: int = column("Frames of the video; 0 if it cannot be read", ge=0)
    cuts: list[int] = column("Frames at which a new shot starts, without frame 0")
    instances: list[TrueInstance] = column("What the caption describes and the video shows")
    triplets: list[TrueTriplet] = column("The interactions that happen")
    expect: list[Expectation] = column("One a shot, or one for the row")


def read_truths(folder: Path) -> list[Truth]:
    """The truths that `draw_scenes` or `export_clips` wrote, in the manifest's order. Raises OSError."""
    truths = []
    for path in (folder / "truth").glob("*.json"):
        with open_regular(path) as file:
            truths.append(Truth.from_json(file.read()))
    return sorted(truths, key=lambda truth: truth.line)
