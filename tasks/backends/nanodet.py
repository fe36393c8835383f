"""Boxes of COCO's 80 classes as proposals. An option: the weights need npm at the first use.

    NanoDetDetector().propose(frames, [<"a man in a blue shirt">, <"a white mug">, <"a harness">])
        ->  {"id1": [Proposal(frame=0, box_xyxy=(313.0, 33.1, 430.2, 340.0), score=0.87)], "id2": [...],
             "id3": NotFound("no detector here knows 'harness'; see --profile local")}

It sees classes and no colours: the verifier tells which of them is meant.
"""

from __future__ import annotations

import os
from functools import cache

import cv2
import numpy as np

from schemas.grounding import Found, NotFound, Proposal
from schemas.instance import Instance
from tasks.backends.agreement.nouns import forms_of
from tasks.backends.colour.phrases import PERSON_WORDS
from tasks.backends.packaged.coco import CLASSES, CocoDetector
from tasks.engine.progress import counted

# Other nouns for COCO's classes, a comma after each.
NOUNS = {
    "person": ", ".join(sorted(PERSON_WORDS)),
    "bicycle": "bike",
    "motorcycle": "motorbike",
    "airplane": "plane, aeroplane",
    "dog": "puppy, hound",
    "cat": "kitten, kitty",
    "horse": "pony",
    "sports ball": "ball, football, soccer ball, basketball, baseball, volleyball, tennis ball, golf ball",
    "backpack": "rucksack",
    "handbag": "purse",
    "suitcase": "luggage",
    "cup": "mug, teacup, coffee cup, coffee mug",
    "wine glass": "goblet",
    "couch": "sofa, settee",
    "dining table": "table",
    "potted plant": "plant",
    "tv": "television, monitor",
    "laptop": "computer, notebook",
    "cell phone": "phone, smartphone, cellphone",
    "refrigerator": "fridge",
    "teddy bear": "teddy",
    "donut": "doughnut",
    "hot dog": "hotdog",
}


class NanoDetDetector:
    """Proposes what NanoDet sees (`Detector`)."""

    def __init__(self) -> None:
        self._detect = CocoDetector()
        self.identity = {"backend": "nanodet", "model": self._detect.identity, "opencv": cv2.__version__}
        self.concurrency, self.look_ahead = os.cpu_count() or 1, 0

    def propose(self, frames: np.ndarray, instances: list[Instance]) -> dict[str, Found]:
        """frames (T, H, W, 3) uint8 RGB -> {instance_id: proposals over all frames, or why there are none}."""
        wanted = {instance.instance_id: coco_class(instance.class_name) for instance in instances}
        found: dict[str, list[Proposal]] = {key: [] for key in wanted}
        if any(wanted.values()):
            for index, rgb in enumerate(counted(frames, "frames searched")):
                for seen in self._detect(rgb):
                    for key in (key for key, name in wanted.items() if name == seen.class_name):
                        found[key].append(Proposal(frame=index, box_xyxy=seen.box_xyxy, score=round(seen.score, 4)))
        unknown = {
            instance.instance_id: NotFound.unknown(instance.class_name)
            for instance in instances
            if wanted[instance.instance_id] is None
        }
        return found | unknown


def coco_class(class_name: str) -> str | None:
    """The class of COCO that a noun means: "coffee mug" and "mug" -> "cup"; None if there is none."""
    words = class_name.lower().split()
    nouns = (noun for text in (" ".join(words), *words[-1:]) for noun in forms_of(text))
    return next((_classes()[noun] for noun in nouns if noun in _classes()), None)


@cache
def _classes() -> dict[str, str]:
    other = {noun: name for name, nouns in NOUNS.items() for noun in nouns.split(", ")}
    return other | {name: name for name in CLASSES}
