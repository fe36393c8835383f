"""prompts x seeds -> samples, with their videos if these exist already (SpatialAlign 4.1).

    prompt 1099_RL, seed 3                              -> DsrSample(prompt_id="1099_RL", seed=3, video=None, ...)
    and a file 1099_RL_F81_seed03.mp4 in the folder     -> DsrSample(..., video="1099_RL_F81_seed03.mp4", ...)

Given videos lie side by side in one folder, on a disk or in a store, under the authors' names. A sample without a file
is planned too, and fails where its video is needed; a file of no planned sample ends as an outcome.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from schemas.dsr import DsrPrompt, DsrSample
from schemas.outcome import Outcome, RowFailed, RowRejected
from schemas.record import Record, column, content_hash
from schemas.regular_files import NotRegular
from schemas.scene import Split
from schemas.storage import AnyPath
from tasks.engine.inputs import Inputs
from tasks.readers.folders import list_folder
from tasks.readers.lines import VIDEO_SUFFIXES, ManifestError, input_outcome
from tasks.readers.read_manifest import content_of, read_each

STAGE = "read_samples"
NAMING = "{prompt_id}_F{frames}_seed{NN}.mp4"
# Greedy: a prompt's id may itself contain such a suffix.
_STEM = re.compile(r"(.+)_F[0-9]+_seed([0-9]+)")

Seeds = Mapping[Split, Sequence[int]]


class SampleListing(Record):
    """A folder of videos, read: every requested sample, and outcomes of files that belong to none."""

    samples: list[DsrSample] = column("Every prompt with every seed of its split, in that order")
    outcomes: list[Outcome] = column("Files that ended here")


class SampleKey(NamedTuple):
    """A sample's key, as in a file's name."""

    prompt_id: str
    seed: int


class Video(NamedTuple):
    """A sample's file."""

    name: str
    sha256: str


End = RowRejected | RowFailed


def plan_samples(prompts: Sequence[DsrPrompt], seeds: Seeds) -> list[DsrSample]:
    """Every prompt with every seed of its split, to be generated."""
    return [DsrSample.of(prompt, seed) for prompt in prompts for seed in seeds[prompt.split]]


def read_samples(folder: AnyPath, prompts: Sequence[DsrPrompt], seeds: Seeds, known: AnyPath | None) -> SampleListing:
    """Every prompt with every seed of its split, and its video in the folder, if any.

    known: folder that caches each object's hash: only new objects are fetched
    Raises ManifestError if there is no such folder.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder} is not a folder; give the one that holds the videos")
    files, others = list_folder(folder)
    # A link to nothing is no file: its sample fails where its video is needed.
    there = files + [path for path, error in others.items() if not isinstance(error, FileNotFoundError)]
    asked = {SampleKey(prompt.prompt_id, seed): prompt for prompt in prompts for seed in seeds[prompt.split]}
    chosen, ends = choose_files([os.fspath(path.relative_to(folder)) for path in there], set(asked))
    inputs = Inputs(folder=folder)
    read = read_each(folder, lambda name: _read_file(inputs, name, known), list(chosen.values()), "files")
    videos = {sample: found for sample, found in zip(chosen, read, strict=True) if isinstance(found, Video)}
    ends |= {name: end for name, end in zip(chosen.values(), read, strict=True) if not isinstance(end, Video)}
    samples = [DsrSample.of(prompt, sample.seed, *videos.get(sample, ())) for sample, prompt in asked.items()]
    outcomes = [input_outcome(f"video-{content_hash(name, length=16)}", STAGE, ends[name]) for name in sorted(ends)]
    return SampleListing(samples=samples, outcomes=outcomes)


def choose_files(names: Sequence[str], asked: set[SampleKey]) -> tuple[dict[SampleKey, str], dict[str, End]]:
    """(the file of each sample that has one, the reason for each other file)

    names: of files, within the folder
    """
    claims: dict[SampleKey, list[str]] = defaultdict(list)
    ends: dict[str, End] = {}
    prompt_ids = {sample.prompt_id for sample in asked}
    for name in names:
        try:
            claims[_asked_by(name, asked, prompt_ids)].append(name)
        except RowRejected as end:
            ends[name] = end
    chosen = {}
    for sample, rivals in claims.items():
        if len(rivals) == 1:
            chosen[sample] = rivals[0]
            continue
        # Do not guess which of them is meant.
        listed = ", ".join(repr(name) for name in sorted(rivals))
        rejected = RowRejected(
            "several_videos", f"{listed} are all of {sample.prompt_id}, seed {sample.seed}; keep one"
        )
        ends |= dict.fromkeys(rivals, rejected)
    return chosen, ends


def _asked_by(name: str, asked: set[SampleKey], prompt_ids: set[str]) -> SampleKey:
    """The sample that a file is named after. Raises RowRejected if it was not requested."""
    stem, suffix = os.path.splitext(name)
    if "/" in name:
        raise RowRejected("in_subfolder", f"{name!r}: the videos lie side by side; move it up")
    match = _STEM.fullmatch(stem)
    if match is None or suffix.lower() not in VIDEO_SUFFIXES:
        raise RowRejected("not_named_as_video", f"{name!r} is not named like {NAMING}")
    sample = SampleKey(match[1], int(match[2]))
    if sample.prompt_id not in prompt_ids:
        raise RowRejected("unknown_prompt", f"{name!r}: there is no prompt {sample.prompt_id!r}")
    if sample not in asked:
        raise RowRejected("unasked_seed", f"{name!r}: seed {sample.seed} of {sample.prompt_id} is not asked for")
    return sample


def _read_file(inputs: Inputs, name: str, known: AnyPath | None) -> Video | RowFailed:
    try:
        return Video(name, content_of(inputs.locate(name), known).sha256)
    except RowFailed as error:  # a link out of the folder
        return error
    except OSError as error:
        return RowFailed("unreadable_file", f"{name!r}: {error.strerror}", retryable=not isinstance(error, NotRegular))
