"""a snapshot of curate-dsr -> what SpatialAlign's own training reads: metadata, and each prompt's videos as latents.

    out/metadata.csv, eval.csv, pairs.jsonl, videos/    as tasks/datasets/dsr/export.py writes them
    out/tensors/1099_LR.tensors.pth                     torch.load(..., weights_only=True):
        "prompt_id"     "1099_LR": the row of metadata.csv that has the rewards
        "latents_data"  (N, 16, 21, 60, 104): one a seed, in the order of the rewards; zeros where a video is invalid
        "prompt_emb"    {"context": (1, 512, 4096)}: the prompt's embedding
    out/skipped.csv                                     prompts whose videos cannot be encoded, and why

The authors' train.py takes out/tensors as its dataset path and out/metadata.csv as its metadata. Names and shapes are
those that this public code reads; it was not run here. Only prompts that it trains on have tensors: those with a winner
and a loser, split at 0.7. Latents are normalised as Wan's network is trained on them, and in bfloat16, which that
training computes in.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.dsr import PromptRow, SampleRow, VideoRow
from schemas.outcome import RowRejected
from schemas.record import content_hash
from tasks.backends.torch_runtime import TorchConfig
from tasks.datasets.dsr.export import (
    OFFICIAL_TAU,
    eval_csv,
    metadata_csv,
    pairs_jsonl,
    read_preferences,
    require_whole,
    video_names,
    warn_of_pairs,
)
from tasks.engine.export import SKIPPED, ExportOptions, Layout, Skipped, open_export
from tasks.engine.progress import counted
from tasks.engine.snapshots import ClipVideo, Snapshot, SnapshotError
from tasks.media.video import read_video
from tasks.metrics.correctness import reaches
from tasks.training.encoders import Encoder

if TYPE_CHECKING:
    import torch

NAME = "spatialalign"


def write_spatialalign(snapshot: Snapshot, folder: Path, options: ExportOptions) -> str:
    """Encode with the model that the options name."""
    require_whole(options)
    if options.model is None:
        raise SnapshotError("latents are made by Wan2.1's own encoders: give its folder, --model FOLDER")
    from tasks.training.encoders import EncoderConfig
    from tasks.training.models.encoder import load_encoder

    config = EncoderConfig(family="wan", model=options.model)
    return export_tensors(snapshot, folder, load_encoder(config, TorchConfig(device=options.device)))


def export_tensors(snapshot: Snapshot, folder: Path, encoder: Encoder) -> str:
    """Write everything and say what was written."""
    preferences, skipped = read_preferences(snapshot), Skipped()
    prompts = [prompt for prompt in preferences.prompts if prompt.split == "train"]
    require_names(prompts)
    warn_of_pairs(preferences.pairs)
    name_of, n_encoded = video_names(preferences.samples), 0
    of_prompt: dict[str, list[SampleRow]] = {prompt.prompt_id: [] for prompt in prompts}
    for sample in preferences.samples:
        of_prompt.get(sample.prompt_id, []).append(sample)
    with open_export(folder, NAME) as export:
        for prompt in counted(prompts, "prompts"):
            samples = of_prompt[prompt.prompt_id]
            shas, videos = [sample.sha256 for sample in samples], _Videos(snapshot, samples)
            paths = [f"videos/{name_of[sample.clip_id]}" for sample in samples]
            if export.known(f"videos of {prompt.prompt_id}", key := content_hash(shas)) is None:
                with export.unit(f"videos of {prompt.prompt_id}", key, paths) as aside:
                    for path, sample in zip(paths, samples, strict=True):
                        (aside / path).write_bytes(videos[sample.clip_id])
            if not is_trained_on(prompt):
                continue
            path, key = f"tensors/{prompt.prompt_id}.tensors.pth", content_hash(prompt, shas, dict(encoder.identity))
            with skipped.judged(prompt.prompt_id):
                if export.known(prompt.prompt_id, key) is None:
                    with export.unit(prompt.prompt_id, key, [path]) as aside:
                        (aside / path).write_bytes(tensors(prompt, samples, videos, encoder))
                n_encoded += 1
        with export.lists(["pairs.jsonl", "eval.csv", "metadata.csv", SKIPPED]) as aside:
            (aside / "pairs.jsonl").write_text(pairs_jsonl(preferences.pairs, name_of))
            (aside / "eval.csv").write_bytes(eval_csv(preferences.prompts).encode())
            (aside / "metadata.csv").write_bytes(metadata_csv(preferences).encode())
            (aside / SKIPPED).write_bytes(skipped.csv)
    left_out = f", {len(skipped.rows)} left out ({SKIPPED})" if skipped.rows else ""
    return f"{folder}/metadata.csv lists {len(prompts)} training prompts; {n_encoded} have tensors{left_out}"


class _Videos:
    """A prompt's videos, read when the first one is asked for."""

    def __init__(self, snapshot: Snapshot, samples: Sequence[SampleRow]) -> None:
        self._snapshot, self._ids = snapshot, [sample.clip_id for sample in samples]
        self._bytes: dict[str, bytes] = {}

    def __getitem__(self, clip_id: str) -> bytes:
        if not self._bytes:
            self._bytes = {row.clip_id: row.video for row in self._snapshot.rows(VideoRow, self._ids)}
        return self._bytes[clip_id]


def is_trained_on(prompt: PromptRow) -> bool:
    """Does the authors' loader make a pair of it?"""
    rewards = [reward for reward in prompt.rewards if reward is not None]
    return len(set(reaches(rewards, OFFICIAL_TAU).tolist())) == 2


def require_names(prompts: Sequence[PromptRow]) -> None:
    """Raises SnapshotError if the authors' loader would take the ids for numbers, and then find no tensors by them."""
    if prompts and all(prompt.prompt_id.isdecimal() for prompt in prompts):
        raise SnapshotError(
            f"every prompt's id is a number, such as {prompts[0].prompt_id}: the authors' loader needs ids with letters"
        )


def tensors(prompt: PromptRow, samples: Sequence[SampleRow], videos: _Videos, encoder: Encoder) -> bytes:
    """A prompt's file. samples: its valid ones

    Raises RowRejected if its videos differ in size or length, what the encoder raises of one.
    """
    import torch

    latents: dict[int, torch.Tensor] = {}
    for sample in samples:
        frames = read_video(ClipVideo(videos[sample.clip_id]))
        latents[sample.seed] = encoder.encode_video(frames)
    shapes = {tuple(of_seed.shape) for of_seed in latents.values()}
    if len(shapes) > 1:
        raise RowRejected("shapes_differ", f"latents of {sorted(shapes)}: the trainer stacks a prompt's videos")
    invalid = torch.zeros_like(next(iter(latents.values())))
    kept = {
        "prompt_id": prompt.prompt_id,
        "latents_data": torch.stack([latents.get(seed, invalid) for seed in prompt.seeds]).to(torch.bfloat16),
        "prompt_emb": {"context": encoder.encode_text(prompt.text).embedding[None]},
    }
    sink = io.BytesIO()
    torch.save(kept, sink)
    return sink.getvalue()


SPATIALALIGN = Layout(
    "what SpatialAlign's own training reads: metadata.csv and each prompt's latents",
    write_spatialalign,
    frozenset({"limit", "model", "device"}),
)
