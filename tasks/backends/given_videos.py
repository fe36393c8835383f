"""Videos that were generated elsewhere, found in a folder by tasks/readers/read_samples.py."""

from __future__ import annotations

from schemas.dsr import DsrSample
from schemas.generation import Generation
from schemas.outcome import RowFailed
from tasks.engine.inputs import Inputs


class GivenVideos:
    """Returns the given video of a sample (`Generator`)."""

    def __init__(self, inputs: Inputs) -> None:
        self.identity = {"backend": "folder", "model": "given"}
        self.concurrency = 4  # reading waits for disks and stores
        self._inputs = inputs

    def generate(self, sample: DsrSample) -> Generation:
        """The sample's file, byte for byte.

        Raises RowFailed: "no_video" if there is none, "input_changed" or "missing_file" if the file differs from the
        planned one.
        """
        if sample.video is None or sample.video_sha256 is None:
            looked_for = sample.official_name.format(n_frames="*")
            raise RowFailed("no_video", f"there is no {looked_for}", retryable=False)
        path = self._inputs.verified(sample.video, sample.video_sha256)
        return Generation(path.read_bytes())
