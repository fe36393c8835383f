"""Samples -> batches: latents, text and the velocity masks that a stage shows (KineMask 3.2).

    clips = KinemaskSamples(snapshot, config)            the training clips of the config's set
    clips.read(0)                                        Clip(latents=..., masks=(49, 480, 720, 3) m/s)
    clips.batch([0, 7], epoch=3, stage="second")         CogVideoXBatch

Masks are painted from `objects` when a batch is read: stored, they would take 203 MB a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from schemas.record import content_hash
from schemas.scene import Split
from schemas.training_samples import EncodingRow, SampleObjectRow, SampleRow, SampleSceneRow, SampleVideoRow
from tasks.datasets.kinemask.condition_clips import CONSTANT_PROMPT, frame_weights
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.media.velocity_masks import velocity_masks_of
from tasks.training.recipes.kinemask.config import KinemaskTraining
from tasks.training.recipes.kinemask.model import CogVideoXBatch, WanBatch, stage_masks
from tasks.training.samples import RowsByClip, require_size, tensor

if TYPE_CHECKING:
    import torch

Stage = Literal["first", "second"]


class KinemaskSamples:
    """The clips of one split of the config's set."""

    def __init__(self, snapshot: Snapshot, config: KinemaskTraining, split: Split = "train") -> None:
        """Raises SnapshotError for another dataset, no such clips, another size or other prompts than the config's."""
        snapshot.require_flow("prepare-kinemask-samples")
        self._config = config
        scenes = [row for row in snapshot.rows(SampleSceneRow) if (row.set, row.split) == (config.set, split)]
        rows = {row.clip_id: row for row in snapshot.rows(SampleRow) if row.split == split}
        self.samples = [rows[scene.clip_id] for scene in scenes if scene.clip_id in rows]
        if not self.samples and split == "train":
            raise SnapshotError(f"{snapshot.id} has no {split} samples of {config.set}; prepare clips of that set")
        require_size(snapshot, self.samples, config.n_frames, config.width, config.height)
        self._require_prompts(snapshot)
        collisions = [frame for scene in scenes for frame in scene.collision_frames]
        counts = np.bincount(collisions, minlength=config.n_frames).tolist()
        self.weights = frame_weights(config.n_frames, config.dropout, counts)
        self._snapshot = snapshot
        self._encodings = RowsByClip(snapshot, EncodingRow)
        self._objects = RowsByClip(snapshot, SampleObjectRow)

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, indices: Sequence[int], epoch: int, stage: Stage) -> CogVideoXBatch | WanBatch:
        """On the CPU, in float32. Mask dropout is each sample's own: keyed by seed, epoch and its id."""
        import torch

        ids = [self.samples[index].clip_id for index in indices]
        rows = [self._encodings.one(clip_id) for clip_id in ids]
        shown = (self._shown(clip_id, epoch, stage) for clip_id in ids)
        masks = torch.stack([torch.from_numpy(one).movedim(-1, 1) for one in shown])
        latents = torch.stack([tensor(row.latents).float() for row in rows])
        text = torch.stack([tensor(row.text).float() for row in rows])
        if self._config.backbone == "wan":
            return WanBatch(latents, text, masks)
        return CogVideoXBatch(latents, torch.stack([_first_frame(row) for row in rows]), text, masks)

    def text(self, clip_id: str) -> torch.Tensor:
        """(L, D) float32"""
        return tensor(self._encodings.one(clip_id).text).float()

    def masks(self, clip_id: str) -> np.ndarray:
        """(F, H, W, 3) float32, m/s: all of a clip's."""
        return velocity_masks_of(self._objects[clip_id], encoding=self._config.encoding)

    def objects(self, clip_id: str) -> list[SampleObjectRow]:
        return self._objects[clip_id]

    def video(self, clip_id: str) -> bytes:
        return self._videos.one(clip_id).video

    @cached_property
    def _videos(self) -> RowsByClip[SampleVideoRow]:
        return RowsByClip(self._snapshot, SampleVideoRow)

    def _shown(self, clip_id: str, epoch: int, stage: Stage) -> np.ndarray:
        rng = np.random.default_rng([self._config.seed, epoch, int(content_hash("mask dropout", clip_id), 16)])
        return stage_masks(self.masks(clip_id), stage, self._config.dropout, self.weights, rng)

    def _require_prompts(self, snapshot: Snapshot) -> None:
        constant = self._config.prompt == "constant"
        wrong = [row for row in self.samples if (row.prompt == CONSTANT_PROMPT) != constant]
        if wrong:
            raise SnapshotError(
                f"prompt is {self._config.prompt!r}, but {wrong[0].clip_id} of {snapshot.id} says "
                f"{wrong[0].prompt[:80]!r}; prepare samples with prompt={self._config.prompt!r}"
            )


def _first_frame(row: EncodingRow) -> Any:
    """The first frame's latents, then zeros for the others, as CogVideoX takes them."""
    import torch

    if row.image_latents is None:
        raise SnapshotError(f"{row.clip_id} has no image_latents: these samples were encoded for another backbone")
    first = tensor(row.image_latents).float()
    n_latents = len(tensor(row.latents))
    return torch.cat([first, first.new_zeros(n_latents - 1, *first.shape[1:])])
