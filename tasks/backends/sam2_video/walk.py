"""Carry all instances through the clip together: forward from each anchor, then backward.

    anchors on frames 3 and 33 of 48:  forward 3..47, the second from 33 on; backward 32..0, the first from 2 on

Each frame is visited at most once per direction, whatever the number of instances and anchors' frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from tasks.backends.sam2_video.contest import Contest
from tasks.engine.progress import counted

if TYPE_CHECKING:
    import torch


class Tracker(Protocol):
    """The instances anchored on one frame, and the network's memory of them."""

    frame: int
    instance_ids: list[str]

    def logits(self, t: int, *, reverse: bool) -> torch.Tensor:
        """(K, h, w) float: the K instances' mask logits on frame t, positive inside.

        Call it in order: the anchors' frame and those after it, then in reverse those before it.
        """


def walk_clip(trackers: list[Tracker], n_frames: int, contest: Contest) -> None:
    """Enter every instance's logits into the contest, frame by frame."""
    frames = [tracker.frame for tracker in trackers]
    for t in counted(range(min(frames), n_frames), "frames forward"):
        contest.enter(t, _look((x for x in trackers if x.frame <= t), t, reverse=False))
    for t in counted(range(max(frames))[::-1], "frames backward"):
        contest.enter(t, _look((x for x in trackers if x.frame > t), t, reverse=True))


def _look(trackers: Iterable[Tracker], t: int, *, reverse: bool) -> dict[str, torch.Tensor]:
    return {
        instance_id: logits
        for tracker in trackers
        for instance_id, logits in zip(tracker.instance_ids, tracker.logits(t, reverse=reverse), strict=True)
    }


def forget(bank: dict[int, Any], t: int, anchor_frame: int, reach: int) -> None:
    """Drop the frames from a memory bank that no later step can attend to.

    bank:  frame -> its memory; the anchor's own frame is not in it
    t:     the frame just entered
    reach: how many frames back the network looks

    The frames just after the anchor stay: the backward walk starts from them.
    """
    for frame in [f for f in bank if abs(f - t) >= reach and abs(f - anchor_frame) >= reach]:
        del bank[frame]
