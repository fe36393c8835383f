"""How right the accepted rows are, by the backends that made them, as measured on labelled real clips.

    accuracy_of(made_by).told
    ->  "on 8 labelled real clips, 8 of 8 accepted instances were right, 8 of 20 labelled things were found and 0 of 8
         false captions were accepted"

`python -m benchmarks.bench_precision LABELLED` measures it. Eight clips prove little: the
intervals are in benchmarks/README.md. What is not here was not measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from schemas.provenance import MadeBy

STAGES = ("ground_instances.detector", "ground_instances.verifier", "propagate_masks")


class Accuracy(NamedTuple):
    """Of so many, so many."""

    right: int  # accepted instances whose boxes have a mean IoU of at least 0.5 with the labelled ones
    accepted: int
    found: int  # labelled things with such an instance
    labelled: int
    false_accepted: int  # clips that were accepted with a caption of things that are not in the picture
    clips: int

    @property
    def told(self) -> str:
        return (
            f"on {self.clips} labelled real clips, {self.right} of {self.accepted} accepted instances were right, "
            f"{self.found} of {self.labelled} labelled things were found and {self.false_accepted} of {self.clips} "
            "false captions were accepted"
        )


EMBEDDED = ("packaged", "packaged", "flow")
ACCURACY: Mapping[tuple[str, str, str], Accuracy] = {
    EMBEDDED: Accuracy(8, 8, 8, 20, 0, 8),
    ("nanodet", "packaged", "flow"): Accuracy(4, 4, 4, 20, 0, 8),
    ("colour", "rules", "flow"): Accuracy(5, 6, 5, 20, 1, 8),
}


def accuracy_of(made_by: Iterable[MadeBy]) -> Accuracy | None:
    """None if these backends were not measured together."""
    backends = {maker.stage: maker.backend for maker in made_by}
    return ACCURACY.get(tuple(backends.get(stage, "") for stage in STAGES))  # type: ignore[arg-type]
