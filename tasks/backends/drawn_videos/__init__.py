"""A text-to-video generator without weights: it draws the prompt's animal and object, right or wrong on purpose.

    DrawnVideos(GenerateConfig(width=416, height=240, n_frames=41)).generate(sample)
        ->  Generation(video=..., looks={"id1": "an orange fox", "id2": "a blue stump"},
                       boxes={"id1": [(76.0, 148.0, 161.0, 202.0), ...], ...}, drawn="as_asked")

Each seed gives another video of the same two things, with other sizes, places, shades and speeds and one of the
BEHAVIOURS. One is warm, the other cold in colour, the world is grey: the embedded detectors find both by the colour
words of `looks`. The boxes show what is drawn, not what was asked for.

    looks      colour words
    plots      what happens: behaviours, and the animal's path
    animals    four-legged animals, birds, creepers
    things     a handful of shapes, by noun
    world      units for any picture size, and backdrops
    animation       puts them together: frames and boxes
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from schemas.candidate import Box
from schemas.dsr import ANIMAL, OBJECT, DsrLabels, DsrSample
from schemas.generation import Generation, VideoFormat
from schemas.record import content_hash
from tasks.backends.drawn_videos.animation import Animation
from tasks.backends.drawn_videos.looks import choose_colours, looks_of
from tasks.backends.drawn_videos.plots import BEHAVIOURS, choose_behaviour
from tasks.backends.drawn_videos.world import World
from tasks.engine.progress import counted
from tasks.media.encoding import encode_video

__all__ = ["BEHAVIOURS", "DrawnVideos", "sample_rng"]


class DrawnVideos:
    """Draws the two things (`Generator`)."""

    def __init__(self, config: VideoFormat) -> None:
        self.identity = {"backend": "drawn", "model": "picture-book-1", "opencv": cv2.__version__}
        self.concurrency = 1
        self._config = config

    def generate(self, sample: DsrSample) -> Generation:
        """Same sample, same bytes. Unknown nouns are drawn as a dog and a box."""
        colours = choose_colours(content_rng(sample))  # the same for all seeds of a prompt
        rng = sample_rng(sample)
        drawn = choose_behaviour(rng)
        plot = BEHAVIOURS[drawn].plot(sample.initial, sample.final)
        animation = Animation(sample, plot, colours, World(self._config.width, self._config.height), rng)
        boxes: dict[str, list[Box | None]] = {ANIMAL: [], OBJECT: []}

        def frames() -> Iterator[np.ndarray]:
            for frame, seen in counted(animation.frames(self._config.n_frames), total=self._config.n_frames):
                for instance_id, box in seen.items():
                    boxes[instance_id].append(box)
                yield frame

        video = encode_video(frames(), self._config.fps, self._config.crf)
        return Generation(video, looks_of(sample, colours), boxes, drawn)


def sample_rng(sample: DsrSample) -> np.random.Generator:
    """The random numbers of a sample; the first one chooses its behaviour."""
    return content_rng(sample, sample.text, sample.seed)


def content_rng(labels: DsrLabels, *more: str | int) -> np.random.Generator:
    """A generator seeded by the labels (and more): the same in every process."""
    said = labels.model_dump(mode="json", include=set(DsrLabels.model_fields))
    return np.random.default_rng([int(content_hash("drawn-video", said, *more), 16)])
