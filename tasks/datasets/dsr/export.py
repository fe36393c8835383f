"""a snapshot of curate-dsr -> what trains a model on its pairs: the authors' metadata, one row a pair, the videos.

    out/metadata.csv   LR,1099_LR,fox,stump,"In a quiet wood,",on the left of,to the right of,"In a quiet wood, a ...",
                       "['1099_LR_F81_seed00.mp4', '1099_LR_F81_seed01.mp4']","[0.8125, -100]"
    out/eval.csv       the test prompts, likewise, without videos and rewards
    out/pairs.jsonl    {"pair_id": "pair-3f9c...", "winner_video": "videos/1099_LR_F81_seed00.mp4", ...}
    out/videos/        every valid video of a training prompt, named as the authors name them

metadata.csv has each training prompt, with a reward for each seed in their order. The authors' loader leaves out what
makes no pair, and splits the rest itself: winners are rewards from 0.7 on, whatever tau the pairs were made with.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from schemas.dsr import ANIMAL, OBJECT, DsrPrompt, DsrSample, PairRow, PromptRow, SampleRow, TrackRow, VideoRow
from schemas.relation import RELATIONS
from schemas.storage import write_atomic
from tasks.engine.export import ExportOptions, Layout
from tasks.engine.progress import counted
from tasks.engine.snapshots import ClipVideo, Snapshot, SnapshotError
from tasks.exports.clips import Tracked, TrackedClip, TrackedInstance
from tasks.metrics.correctness import reaches, rounded_scores

logger = logging.getLogger(__name__)

INVALID = -100  # the authors' reward of a video that is invalid, or is not there
OFFICIAL_TAU = 0.7  # where the authors' loader splits, and
OFFICIAL_N_FRAMES = 81  # how many frames their videos have: it is part of the names

# The authors', and the verb, which they have not: without it a free rewording could not be read back with its labels.
PROMPT_COLUMNS = ("type", "prompt_id", "animal", "object", "scene", "initial_SR", "final_SR", "prompt", "verb")
METADATA_COLUMNS = (*PROMPT_COLUMNS, "video", "reward")


@dataclass(frozen=True)
class Preferences:
    """What a snapshot holds of prompts and pairs, but for the videos themselves."""

    prompts: Sequence[PromptRow]
    samples: Sequence[SampleRow]  # valid ones
    pairs: Sequence[PairRow]


def write_pairs(snapshot: Snapshot, folder: Path, options: ExportOptions) -> str:
    """Write everything and say what was written."""
    require_whole(options)
    metadata = export_pairs(snapshot, folder)
    return f"{metadata} lists the training prompts of {snapshot.id}; its pairs: {metadata.parent / 'pairs.jsonl'}"


def require_whole(options: ExportOptions) -> None:
    """Raises SnapshotError if only some clips are asked for."""
    if options.limit is not None:
        raise SnapshotError("a snapshot of dsr is exported whole: pairs need all samples of their prompts")


def export_pairs(snapshot: Snapshot, folder: Path) -> Path:
    """Write everything; return the path of metadata.csv, which is written last.

    Raises SnapshotError if it is no snapshot of curate-dsr, or another video of the same name lies in the folder;
    SchemaError if its tables are of another version.
    """
    preferences = read_preferences(snapshot)
    warn_of_pairs(preferences.pairs)
    name_of = video_names(preferences.samples)
    train = {sample.clip_id for sample in preferences.samples if sample.split == "train"}
    for shard in counted(snapshot.manifest.shards, "shards"):  # a shard's videos at a time
        for row in snapshot.rows(VideoRow, [clip_id for clip_id in shard.clip_ids if clip_id in train]):
            write_new(folder / "videos" / name_of[row.clip_id], row.video)
    write_atomic(folder / "pairs.jsonl", pairs_jsonl(preferences.pairs, name_of).encode())
    write_atomic(folder / "eval.csv", eval_csv(preferences.prompts).encode())
    metadata = folder / "metadata.csv"
    write_atomic(metadata, metadata_csv(preferences).encode())
    return metadata


def read_preferences(snapshot: Snapshot) -> Preferences:
    """Raises SnapshotError if it is no snapshot of curate-dsr."""
    snapshot.require_flow("curate-dsr")
    return Preferences(snapshot.rows(PromptRow), snapshot.rows(SampleRow), snapshot.rows(PairRow))


def warn_of_pairs(pairs: Sequence[PairRow]) -> None:
    """Log what the authors' loader would make of them otherwise."""
    if not pairs:
        logger.warning("there is no pair: no training prompt has both a winner and a loser")
        return
    winners = reaches([pair.winner_reward for pair in pairs], OFFICIAL_TAU)
    losers = ~reaches([pair.loser_reward for pair in pairs], OFFICIAL_TAU)
    if n_others := int((~(winners & losers)).sum()):
        logger.warning(
            "%d of %d pairs are none to the authors' loader, which splits rewards at %g: train on pairs.jsonl",
            n_others,
            len(pairs),
            OFFICIAL_TAU,
        )


def write_new(path: Path, data: bytes) -> None:
    """Write a file unless it is there already.

    Raises SnapshotError if another file has its name: it may be somebody's only copy.
    """
    try:
        if path.read_bytes() == data:
            return
    except FileNotFoundError:
        write_atomic(path, data)
        return
    raise SnapshotError(f"{path} is there and is another video; export to an empty folder")


# --- The files -------------------------------------------------------------------------------


def video_names(samples: Iterable[SampleRow]) -> dict[str, str]:
    """{clip_id: the authors' name of its video}"""
    return {sample.clip_id: sample.official_name.format(n_frames=sample.n_frames) for sample in samples}


def metadata_csv(preferences: Preferences) -> str:
    """The training prompts with their videos and rewards: lists as Python literals, one entry a seed."""
    samples = preferences.samples
    name_of = video_names(samples)
    valid = {(sample.prompt_id, sample.seed): name_of[sample.clip_id] for sample in samples}
    # An invalid sample has a name in the list all the same; how long its video was is in no table.
    usual = Counter(sample.n_frames for sample in samples).most_common(1)
    n_frames = usual[0][0] if usual else OFFICIAL_N_FRAMES

    def name(prompt: DsrPrompt, seed: int) -> str:
        return valid.get((prompt.prompt_id, seed)) or DsrSample.of(prompt, seed).official_name.format(n_frames=n_frames)

    def columns(row: PromptRow) -> dict[str, str]:
        prompt = DsrPrompt(**row.model_dump(include=set(DsrPrompt.model_fields)))
        videos = [name(prompt, seed) for seed in row.seeds]
        rewards = [INVALID if reward is None else float(rounded_scores(reward)) for reward in row.rewards]
        return prompt_columns(row) | {"video": repr(videos), "reward": repr(rewards)}

    return _csv(METADATA_COLUMNS, [columns(prompt) for prompt in preferences.prompts if prompt.split == "train"])


def eval_csv(prompts: Sequence[PromptRow]) -> str:
    """The test prompts."""
    return _csv(PROMPT_COLUMNS, [prompt_columns(prompt) for prompt in prompts if prompt.split == "test"])


def prompt_columns(prompt: PromptRow) -> dict[str, str]:
    """A prompt in the authors' columns, with its verb."""
    return {
        "type": prompt.type,
        "prompt_id": prompt.prompt_id,
        "animal": prompt.animal,
        "object": prompt.object,
        "scene": f"{prompt.scene}," if prompt.scene else "",
        "initial_SR": RELATIONS[prompt.initial].at,
        "final_SR": RELATIONS[prompt.final].to,
        "prompt": prompt.text,
        "verb": prompt.verb,
    }


def pairs_jsonl(pairs: Sequence[PairRow], name_of: dict[str, str]) -> str:
    """A pair a line. name_of: {clip_id: its video's name}"""

    def line(pair: PairRow) -> dict[str, Any]:
        videos = {
            "winner_video": f"videos/{name_of[pair.winner_id]}",
            "loser_video": f"videos/{name_of[pair.loser_id]}",
        }
        return pair.model_dump(mode="json") | videos

    return "".join(json.dumps(line(pair)) + "\n" for pair in pairs)


def _csv(columns: Sequence[str], rows: Iterable[dict[str, str]]) -> str:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, columns)  # lines end with \r\n: with \n alone, a \r in a prompt would go unquoted
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue()


# --- For trainers of other tasks -----------------------------------------------------------------


def read_tracked(snapshot: Snapshot, clip_ids: Sequence[str]) -> Iterator[TrackedClip]:
    """Valid samples with the tracks of the animal and the thing."""
    videos, tracks = snapshot.rows_by_clip(VideoRow, clip_ids), snapshot.rows_by_clip(TrackRow, clip_ids)
    for sample in snapshot.rows(SampleRow, clip_ids):
        (video,) = videos[sample.clip_id]
        name_of = {"animal": sample.animal, "object": sample.object}
        moves = {"subject_id": ANIMAL, "verb": sample.verb, "object_id": OBJECT}
        yield TrackedClip(
            clip_id=sample.clip_id,
            caption=sample.text,
            fps=Fraction(sample.fps).limit_denominator(1001),
            n_frames=sample.n_frames,
            width=sample.width,
            height=sample.height,
            instances=[TrackedInstance(name_of[t.role], name_of[t.role], t) for t in tracks[sample.clip_id]],
            interactions=[moves | {"initial": sample.initial, "final": sample.final, "dsr_score": sample.dsr_score}],
            find_video=partial(ClipVideo, video.video),
            file=video.video,
        )


def class_names(snapshot: Snapshot) -> set[str]:
    named = snapshot.scan("samples").select("animal", "object").unique().collect()
    return {*named["animal"], *named["object"]}


TRACKED = Tracked(read_tracked, class_names)
PAIRS = Layout("the authors' metadata.csv, one row a prompt; pairs.jsonl; videos", write_pairs)
