"""Grounding for real video by agreement: a box is proposed, and accepted, where two independent sources support it.

    AgreementDetector().propose(frames, [<"a man in a blue shirt">, <"a white ball">, <"a frisbee">])
        ->  {"id1": [Proposal(frame=3, ...), ...], "id2": [...], "id3": NotFound("no detector here knows ...")}
    AgreementVerifier().verify(frame, box, <"a white ball">, caption)
        ->  Answer(match=True, confidence=0.9, rationale="0.71 likely 'ball' in its surroundings, 0.02 without it; ...")

A person: the pose network and the mask of people see the same body, and the clothes have the colours of the words.
A thing or an animal: a patch of its colour, or what stands out, lies where the classifier sees its class; on another
look, the class goes when the box is painted over. Each in several frames. What no network here can see is refused.

    nouns      which classes a noun means        masks      geometry
    bodies     people                            clothes    their colours        faces      of portraits
    things     things and animals                covering   whether the class goes with the box
    balls      those too small for the classifier
    detector   over all frames: boxes, or why there are none
    verifier   one box: a yes or a no, with reasons
"""

from tasks.backends.agreement.detector import AgreementDetector
from tasks.backends.agreement.verifier import AgreementVerifier

__all__ = ["AgreementDetector", "AgreementVerifier"]
