"""valid samples -> is the animal initially, is it finally where the prompt says? yes or no (SpatialAlign 3.5).

    "a fox is on the right of a stump, then the fox walks to the left of the stump"
        is the fox initially on the right of the stump?   yes
        is it finally on the left of it?                  no

The paper puts these two questions to a VLM and finds that it says yes too often (figure 4). The answers are held
against the SSR-Scores, and are a reward to compare with (4.3).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from pydantic import Field

from schemas.config import StageConfig
from schemas.dsr import DsrSample
from schemas.generation import Generated
from schemas.provenance import MadeBy
from schemas.scores import Answers, Judgement, Scored
from schemas.storage import AnyPath
from tasks import generate_samples, score_dsr
from tasks.backends.openai.api import EndpointConfig
from tasks.engine.stage import Stage
from tasks.engine.work import Work


class AskConfig(StageConfig):
    """Who answers the questions."""

    judge: Literal["boxes", "openai"] = Field(
        "boxes", description="boxes: by the SSR-Scores, embedded; openai: any compatible VLM that sees the video"
    )
    min_ssr: float = Field(0.5, ge=-1, le=1, description="boxes: least mean SSR-Score of a yes")
    n_frames: int = Field(8, ge=2, description="openai: frames that are seen, the first and the last among them")


class Judge(Protocol):
    """Answers both questions about a sample."""

    identity: dict[str, str]
    concurrency: int
    watches_video: bool  # does it look at the video and the prompt's labels, or at the scores only?

    def judge(self, sample: DsrSample, generated: Generated, scored: Scored) -> Judgement:
        """Raises RowFailed or ServiceDown: what could not be asked is no "no"."""


def load_backend(config: AskConfig, endpoint: EndpointConfig, cache: AnyPath) -> Judge:
    match config.judge:
        case "boxes":
            from tasks.backends.box_answers import BoxAnswers

            return BoxAnswers(config.min_ssr)
        case "openai":
            from tasks.backends.openai.relations import OpenAIRelations

            return OpenAIRelations(endpoint, cache, config.n_frames)


class Asked(NamedTuple):
    """What is read of a valid sample."""

    sample: DsrSample
    generated: Generated
    scored: Scored


def stage(work: Work, config: AskConfig, endpoint: EndpointConfig) -> Stage[DsrSample, Asked, Answers]:
    judge = load_backend(config, endpoint, work.root / "llm")
    made_by = [MadeBy.of(Answers.stage_name, judge.identity)]

    def key_of(asked: Asked) -> list[object]:
        sample, generated, scored = asked
        if judge.watches_video:
            return [sample.animal, sample.object, sample.initial, sample.final, generated.video_sha256]
        return [scored.r_initial, scored.r_final]

    return Stage(
        version=1,
        result=Answers,
        config=config,
        made_by=made_by,
        read=lambda row: Asked(row.payload, generate_samples.result_of(work, row), score_dsr.result_of(work, row)),
        key_of=key_of,
        compute=lambda asked: Answers(**judge.judge(*asked)._asdict(), made_by=made_by),
        concurrency=judge.concurrency,
    )
