"""Short real clips whose things have labelled boxes on a few frames, and how a snapshot of them is judged.

    labels = read_labels(folder / "labels.jsonl")
    write_manifest(labels, folder / "manifest.jsonl")    each clip twice: with its true and with a false caption
    judge(track, clip, label)                            Judged(entity="ball", iou=0.71)

A line of labels.jsonl:

    {"video": "dog.mp4", "start_s": 0, "end_s": 5.2, "caption": "...", "false_caption": "...", "source_video": "...",
     "entities": [{"name": "ball", "noun": "a red ball", "boxes": [{"t_s": 0.43, "box_xyxy": [12, 40, 88, 130]},
                                                                   {"t_s": 3.90, "state": "absent"}]}],
     "interactions": [["woman", "throw", "ball"]]}

A false caption names what is not in the picture. A box may have a state instead: absent, occluded, or unclear (which is
not judged). A mask track is right if the boxes around its masks have a mean IoU of at least 0.5 with the labelled ones.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from schemas.candidate import Box, box_iou
from schemas.clip import Clip
from schemas.instance import Instance
from schemas.mask_track import MaskTrack

RIGHT_IOU = 0.5
Z_95 = 1.96


class LabelledBox(NamedTuple):
    """An entity at one moment."""

    t_s: float  # since the start of the video
    box_xyxy: Box | None  # None: not to be seen


class Entity(NamedTuple):
    """A thing that a caption names, and where it is."""

    name: str
    noun: str
    boxes: list[LabelledBox]


class Label(NamedTuple):
    """A clip, what is to be seen in it, and what is not."""

    video: str
    start_s: float
    end_s: float
    caption: str
    false_caption: str
    source_video: str
    entities: list[Entity]
    interactions: list[tuple[str, str, str]]

    def id_of(self, kind: str) -> str:
        """The id of its line in the manifest. kind: "true" or "false", its caption"""
        return f"{self.video}@{self.start_s:g}.{kind}"


class Judged(NamedTuple):
    """A track held against a label."""

    entity: str | None  # None: no labelled entity is of its class, as under a false caption
    iou: float | None  # None: nothing to hold it against

    @property
    def right(self) -> bool:
        return self.iou is not None and self.iou >= RIGHT_IOU


def read_labels(path: Path) -> list[Label]:
    return [_read_label(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _read_label(line: dict) -> Label:
    entities = [
        Entity(
            e["name"],
            e["noun"],
            [
                LabelledBox(box["t_s"], tuple(box["box_xyxy"]) if "box_xyxy" in box else None)
                for box in e["boxes"]
                if box.get("state") != "unclear"
            ],
        )
        for e in line["entities"]
    ]
    plain = {name: line[name] for name in ("video", "start_s", "end_s", "caption", "false_caption")}
    interactions = [(who, verb, whom) for who, verb, whom in line["interactions"]]
    return Label(**plain, source_video=line["source_video"], entities=entities, interactions=interactions)


def write_manifest(labels: Sequence[Label], path: Path) -> Path:
    """Two lines a clip. The videos are to lie beside it."""
    lines = [
        {"id": label.id_of(kind), "video": label.video, "start_s": label.start_s, "end_s": label.end_s, "caption": text}
        for label in labels
        for kind, text in (("true", label.caption), ("false", label.false_caption))
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def judge(track: MaskTrack, clip: Clip, instance: Instance, label: Label) -> Judged:
    """Hold a track of a clip with the true caption against the entity that its instance means."""
    entity = entity_of(instance, label)
    if entity is None:
        return Judged(None, None)
    ious = []
    for labelled in entity.boxes:
        frame = round((labelled.t_s - clip.start_s) * clip.fps.num / clip.fps.den)
        if labelled.box_xyxy is not None and 0 <= frame < len(track.box_xyxy):
            box = track.box_xyxy[frame]
            ious.append(0.0 if box is None else box_iou(box, labelled.box_xyxy))
    return Judged(entity.name, float(np.mean(ious)) if ious else None)


def entity_of(instance: Instance, label: Label) -> Entity | None:
    """The entity of the instance's class; of several, the one whose noun phrase shares the most words."""

    def words(text: str) -> set[str]:
        return set(re.findall(r"[a-z]+", text.lower()))

    alike = [e for e in label.entities if e.name.split(" in ")[0].split()[-1] in words(instance.class_name)]
    return max(alike, key=lambda e: len(words(e.noun) & words(instance.noun)), default=None)


def interval(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share k / n; (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    p, z2 = k / n, Z_95**2
    middle, half = p + z2 / (2 * n), Z_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z2 / n)), min(1.0, (middle + half) / (1 + z2 / n))
