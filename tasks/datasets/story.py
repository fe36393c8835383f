"""Lines that the stories of several datasets share: what `triptych ask` prints of a row.

candidate  id2 frame 16 [12, 40, 88, 130] score 0.71 accepted: a red ball in the box
made by    ground_instances.detector: colour, OpenCV 4.14 people detector
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from schemas.outcome import printable
from schemas.provenance import MadeBy
from schemas.tables import CandidateRow

SHOWN_REFUSALS = 3


def one_line(text: str | None) -> str:
    """Untrusted text on one line: control characters would write to the terminal."""
    escaped = json.dumps(text or "", ensure_ascii=False)[1:-1]
    # JSON leaves DEL, 8-bit controls, line separators and turns of the writing direction as they are.
    return printable(escaped)


def box_text(box_xyxy: Sequence[float]) -> str:
    return f"[{', '.join(f'{v:.0f}' for v in box_xyxy)}]"


def candidate_lines(candidates: Sequence[CandidateRow]) -> Iterator[str]:
    """What the verifier was asked: every yes, and the first refusals of each instance."""
    refusals: Counter[str] = Counter()
    for c in candidates:
        if c.verdict == "not_asked":
            continue
        if c.verdict != "accepted":
            refusals[c.instance_id] += 1
            if refusals[c.instance_id] > SHOWN_REFUSALS:
                continue
        said = f"{c.verdict}: {one_line(c.rationale)}"
        yield f"  candidate  {c.instance_id} frame {c.frame} {box_text(c.box_xyxy)} score {c.score:.2f} {said}"
    for instance_id, n in refusals.items():
        if n > SHOWN_REFUSALS:
            yield f"  candidate  {instance_id}: {n - SHOWN_REFUSALS} more refused or excluded"


def maker_lines(made_by: Sequence[MadeBy]) -> Iterator[str]:
    for maker in made_by:
        yield f"  made by    {maker.stage}: {maker.backend}, {maker.model}"
