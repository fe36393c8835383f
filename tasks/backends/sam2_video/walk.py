"""Carry all instances through the clip together, forward from each anchor, then backward, and decide who owns a pixel.

    anchors on frames 3 and 33 of 48:  forward 3..47, the second from 33 on; backward 32..0, the first from 2 on

Each frame is visited at most once per direction, whatever the number of instances and anchors' frames. A pixel claimed
by several instances goes to the one with the highest logit: SAM2's own rule for objects that must not overlap.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from schemas.candidate import Anchor
from schemas.mask_track import encode_mask
from tasks.engine.progress import counted

if TYPE_CHECKING:
    import torch
log = logging.getLogger(__name__)

MAX_UNENCODED = 16  # frames whose masks wait for the encoder: 2 bytes a pixel


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


class Contest:
    """Decides a frame as soon as the logits of all instances are there.

    Between anchors' frames, some instances come in the forward and some in the backward walk. Until then logits wait
    in main memory at the network's own size in half precision: 128 KiB per instance and frame.
    """

    def __init__(self, anchors: list[Anchor], n_frames: int, height: int, width: int, encoder: Executor) -> None:
        """encoder: where masks become run lengths while the network goes on"""
        self._anchor_frame = {anchor.instance_id: anchor.frame for anchor in anchors}
        self._size = (height, width)
        self._waiting: dict[int, dict[str, torch.Tensor]] = {}
        self._given_up: set[str] = set()
        empty = encode_mask(np.zeros(self._size, bool))
        self._counts = {anchor.instance_id: [empty] * n_frames for anchor in anchors}
        self._encoder = encoder
        self._unencoded: deque[Future[None]] = deque()

    def counts(self) -> dict[str, list[str]]:
        """{instance_id: COCO run lengths, one a frame} of the frames that are decided."""
        while self._unencoded:
            self._unencoded.popleft().result()
        return self._counts

    def enter(self, t: int, logits: dict[str, torch.Tensor]) -> None:
        """Add instances' logits (h, w) on frame t.

        An instance without a mask on its anchor's own frame gets empty masks in all frames, which check_tracks
        rejects, and takes no pixel from the others.
        """
        for instance_id, of_it in logits.items():
            if self._anchor_frame[instance_id] == t and not self._at_full_size([of_it]).gt(0).any():
                log.warning("%s: its box on frame %d holds no mask, so it gets none", instance_id, t)
                self._given_up.add(instance_id)
        known = self._waiting.pop(t, {})
        if len(known) + len(logits) == len(self._counts):
            device = next(iter(logits.values())).device
            self._decide(t, {i: of_it.to(device) for i, of_it in (known | logits).items()})
        else:
            self._waiting[t] = {i: of_it.half().cpu() for i, of_it in logits.items()}

    def _decide(self, t: int, logits: dict[str, torch.Tensor]) -> None:
        found = [instance_id for instance_id in self._counts if instance_id not in self._given_up]
        if not found:
            return
        scores = self._at_full_size([logits[instance_id] for instance_id in found])
        best, winner = scores.max(dim=0)
        # Run lengths go down the columns: turned here, it costs the encoder no copy.
        owner = winner.where(best > 0, -1).short().T.contiguous().cpu().numpy().T
        self._unencoded.append(self._encoder.submit(self._encode, t, owner, found))
        if len(self._unencoded) > MAX_UNENCODED:
            self._unencoded.popleft().result()

    def _encode(self, t: int, owner: np.ndarray, found: list[str]) -> None:
        """owner: (H, W) int16, the place in `found` of the instance that has the pixel; -1: none has"""
        for place, instance_id in enumerate(found):
            self._counts[instance_id][t] = encode_mask(owner == place)

    def _at_full_size(self, logits: list[torch.Tensor]) -> torch.Tensor:
        """K (h, w) -> (K, H, W) float32."""
        import torch

        small = torch.stack([of_it.float() for of_it in logits])[:, None]
        return torch.nn.functional.interpolate(small, self._size, mode="bilinear", align_corners=False)[:, 0]
