"""Grounding without weights: colour words become boxes, and measured colours, sizes and shapes a verdict.

    ColourDetector().propose(frames, [<"a red ball">])  ->  {"id2": [Proposal(frame=3, box_xyxy=..., score=0.8), ...]}
    AttributeVerifier().verify(frame, box, <"a red ball">, caption)
        ->  Answer(match=True, confidence=0.9, rationale="87% of the box's middle is red (needs 35%); ...")

A thing is a connected patch of its colour that stands out from its surroundings. A person is a figure with garments of
the described colours in the right places; the people detector finds it, or it is grown from the garments over the
foreground. Both read the caption's words only through `describe`. If no word can be checked, the verifier says so.

    phrases     what a noun phrase says that can be measured
    palette     what a colour word looks like
    foreground  what is not the scenery
    patches     connected components of a colour, and the whole thing that one is part of
    figures     people, by what they wear
    detector    puts them together: boxes
    verifier    puts them together: a yes or a no, with reasons
    boxes       geometry
"""

from tasks.backends.colour.detector import ColourDetector
from tasks.backends.colour.verifier import AttributeVerifier

__all__ = ["AttributeVerifier", "ColourDetector"]
