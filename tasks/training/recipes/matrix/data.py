"""Samples -> batches: latents, text, and where and in which words every role is (MATRIX 4.2, 5).

    clips = MatrixSamples(snapshot, config)          the training clips
    clips.batch([0, 7])                              Batch(latents=(2, 13, 16, 60, 90), ..., roles=((Role, ...), ...))
    clips.role_rows("clip-81b2...")                  their rows, in the order of the batch's roles

Roles stand in the table's order: instances as the clip has them, then verbs. Masks are decoded when a batch is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from schemas.encoded_sample import EncodedSample
from schemas.scene import Split
from schemas.training_samples import EncodingRow, RoleRow, SampleMaskRow, SampleRow, SampleVideoRow
from tasks.backends.torch_runtime import Checkpoint
from tasks.engine.snapshots import Snapshot, SnapshotError
from tasks.training.recipes.matrix.config import MatrixTraining
from tasks.training.recipes.matrix.loss import Batch, Role
from tasks.training.samples import RowsByClip, require_size, tensor

if TYPE_CHECKING:
    import torch

MAX_INSTANCES = 5  # of a clip (A.3), and colours of the ID map


class MatrixSamples:
    """The clips of one split."""

    def __init__(self, snapshot: Snapshot, config: MatrixTraining, split: Split = "train") -> None:
        """Raises SnapshotError for another dataset, no such clips, or samples that do not fit the config."""
        snapshot.require_flow("prepare-matrix-samples")
        self.samples = [row for row in snapshot.rows(SampleRow) if row.split == split]
        if not self.samples and split == "train":
            raise SnapshotError(f"{snapshot.id} has no {split} samples; prepare clips, or a smaller test_share")
        require_size(snapshot, self.samples, config.n_frames, config.width, config.height)
        require_encoder(snapshot, self.samples, config.model)
        self._roles = snapshot.rows_by_clip(RoleRow, [row.clip_id for row in self.samples])
        require_roles(snapshot, self._roles.values(), config.alignment.words)
        self._snapshot = snapshot
        self._encodings = RowsByClip(snapshot, EncodingRow)
        self._masks = RowsByClip(snapshot, SampleMaskRow)

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, indices: Sequence[int]) -> Batch:
        """On the CPU, in float32."""
        import torch

        ids = [self.samples[index].clip_id for index in indices]
        rows = [self._encodings.one(clip_id) for clip_id in ids]
        return Batch(
            latents=torch.stack([tensor(row.latents).float() for row in rows]),
            image_latents=torch.stack([_first(row, "image_latents") for row in rows]),
            id_latents=torch.stack([_first(row, "id_latents") for row in rows]),
            text=torch.stack([tensor(row.text).float() for row in rows]),
            roles=tuple(self._roles_of(clip_id) for clip_id in ids),
        )

    def role_rows(self, clip_id: str) -> list[RoleRow]:
        return self._roles[clip_id]

    def video(self, clip_id: str) -> SampleVideoRow:
        """The pictures that were encoded."""
        return self._videos.one(clip_id)

    @cached_property
    def _videos(self) -> RowsByClip[SampleVideoRow]:
        return RowsByClip(self._snapshot, SampleVideoRow)

    def _roles_of(self, clip_id: str) -> tuple[Role, ...]:
        """A verb's mask is the union of its instances' (4.2)."""
        import torch

        masks = {row.instance_id: row.masks() for row in self._masks[clip_id]}
        roles = []
        for row in self._roles[clip_id]:
            if missing := [instance_id for instance_id in row.instance_ids if instance_id not in masks]:
                raise SnapshotError(
                    f"{row.role_id} of {clip_id} is where {missing[0]} is, which has no masks in {self._snapshot.id}"
                )
            union = np.logical_or.reduce([masks[instance_id] for instance_id in row.instance_ids])
            roles.append(Role(row.kind, tuple(row.tokens), torch.from_numpy(np.ascontiguousarray(union))))
        return tuple(roles)


# --- Samples that do not fit -----------------------------------------------------------------


def require_encoder(snapshot: Snapshot, samples: Iterable[SampleRow], model: str) -> None:
    """Raises SnapshotError for latents of another model's encoder than the one that is trained.

    A folder is known by its bytes, a repository by its name and, where both are told, its commit: a branch may have
    been either's.
    """
    mine = Checkpoint.of(model).identity
    # Rows of one flow's run have the same maker, most often.
    makers = {made.model: row for row in samples for made in row.made_by if made.stage == EncodedSample.stage_name}
    for theirs, row in makers.items():
        if not _same_model(mine, theirs):
            raise SnapshotError(
                f"{row.clip_id} of {snapshot.id} was encoded by {theirs}, but the model to train is {mine}; prepare "
                "samples with encoder.model of that model, or train the other"
            )


def _same_model(one: str, other: str) -> bool:
    """
    _same_model("THUDM/CogVideoX-5b-I2V@main", "THUDM/CogVideoX-5b-I2V@a6f0f483...")  ->  True
    _same_model("cogvideox sha256:8d5d01ad...", "copy-of-it sha256:8d5d01ad...")      ->  True
    """
    (name, _, revision), (other_name, _, other_revision) = (text.partition("@") for text in (one, other))
    if not (revision or other_revision):
        return one.rpartition(" ")[2] == other.rpartition(" ")[2]
    commits = {text for text in (revision, other_revision) if len(text) == 40}
    return name == other_name and len(commits) < 2


def require_roles(snapshot: Snapshot, roles: Iterable[Sequence[RoleRow]], words: str) -> None:
    """Raises SnapshotError for roles of more instances than there are colours, or of the other kind of words."""
    for rows in roles:
        instances = [row for row in rows if row.kind != "verb"]
        if len(instances) > MAX_INSTANCES:
            raise SnapshotError(
                f"{rows[0].clip_id} of {snapshot.id} has {len(instances)} instances; MATRIX takes at most "
                f"{MAX_INSTANCES} (A.3)"
            )
        for row in instances:
            if row.words.startswith("<id") != (words == "id"):
                wanted = "id" if words == "id" else "noun"
                raise SnapshotError(
                    f"alignment.words is {words!r}, but the words of {row.role_id} of {row.clip_id} of {snapshot.id} "
                    f"are {row.words!r}; prepare samples with place.words={wanted}"
                )


def _first(row: EncodingRow, column: str) -> torch.Tensor:
    """(F, C, h, w): the latents of one picture, then zeros, as CogVideoX takes its first frame."""
    import torch

    stored = getattr(row, column)
    if stored is None:
        raise SnapshotError(f"{row.clip_id} has no {column}: these samples were not prepared for MATRIX")
    first = tensor(stored).float()
    return torch.cat([first, first.new_zeros(len(tensor(row.latents)) - 1, *first.shape[1:])])
