"""A model server that reads: `LocalEndpoint` whose replies come from the caption rules, under the LLM's own schemas.

    with LocalEndpoint(answers=read_caption) as server: ...
    python -m tests.support.reader --port 8000            the same as a program, until it is stopped

    with holding_endpoint(port, read_caption) as (server, answering): ...   silent until answering.set()

The client, the prompts, the HTTP and the checks are those of a run with a real LLM; only the model is rules.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from schemas.extraction import Mention, Relation, Subjects
from tasks.backends.caption_rules import CaptionRules
from tests.support.endpoint import Answers, LocalEndpoint


def answers_of(subjects: Subjects) -> Answers:
    """The answers of rules that let these subjects act."""
    rules = CaptionRules(subjects)
    return lambda request: _answer(rules, request)


def _answer(rules: CaptionRules, request: dict[str, Any]) -> dict[str, Any] | None:
    """The reply to one of the four turns; None (a sampled reply) to any other question."""
    asked = json.loads(request["messages"][-1]["content"])
    caption = asked["caption"]
    match request["response_format"]["json_schema"]["name"]:
        case "CountReply":
            return {"count": rules.count_interactions(caption, 0)}
        case "ListReply":
            listing = rules.list_interactions(caption, 0)
            return {
                "entities": [
                    {"id": m.instance_id, "class_name": m.class_name, "living": m.living} for m in listing.mentions
                ],
                "interactions": [r.model_dump() for r in listing.relations],
            }
        case "RatingReply":
            rating = rules.rate(caption, Relation(**asked["interaction"]), _mentions(asked))
            return rating.model_dump()
        case "DescribeReply":
            relations = [Relation(**r) for r in asked["interactions"]]
            return {
                "descriptions": [
                    {"id": i.instance_id, "noun": i.noun, "appearance": i.appearance, "spatial": i.spatial}
                    for i in rules.describe(caption, relations, _mentions(asked))
                ]
            }
    return None


read_caption = answers_of("living")


@contextmanager
def holding_endpoint(port: int, answers: Answers) -> Iterator[tuple[LocalEndpoint, threading.Event]]:
    """A server that answers nothing before its event is set: it keeps a shard in the middle of its work."""
    answering = threading.Event()

    def answer(request: dict[str, Any]) -> dict[str, Any] | str | None:
        answering.wait()
        return answers(request)

    with LocalEndpoint(answers=answer, port=port) as server:
        try:
            yield server, answering
        finally:
            answering.set()


def _mentions(asked: dict[str, Any]) -> list[Mention]:
    return [Mention(instance_id=e["id"], class_name=e["class_name"], living=e["living"]) for e in asked["entities"]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.reader", description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=8000)
    with LocalEndpoint(answers=read_caption, port=parser.parse_args().port) as server:
        print(server.base_url, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
