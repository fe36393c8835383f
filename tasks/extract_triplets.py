"""caption -> interaction triplets with scored verbs and described instances (MATRIX 3.1, A.1).

    "A boy in a red shirt kicks a ball." ->
        Interaction(subject_id="id1", verb="kick", object_id="id2", contactness=5, dynamism=5, ...)
        Instance("id1", "boy", "a boy in a red shirt", ...), Instance("id2", "ball", "a ball", ...)

Four turns: count the interactions, list them, rate each, describe each instance. The first two must
agree. Then the thresholds, the pruning of instances that no kept interaction names, and the cap.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from pydantic import Field

from schemas.clip import Clip
from schemas.config import StageConfig
from schemas.extraction import Extraction, Listing, Mention, Rating, Relation, Subjects, listing_trouble
from schemas.instance import Instance
from schemas.interaction import Interaction
from schemas.outcome import RowFailed, RowRejected
from schemas.provenance import MadeBy
from schemas.storage import AnyPath
from tasks.backends.local_models import LocalConfig
from tasks.backends.openai.api import EndpointConfig
from tasks.backends.torch_runtime import TorchConfig
from tasks.engine.shards import Row
from tasks.engine.stage import Stage
from tasks.engine.work import Work


class ExtractConfig(StageConfig):
    """How triplets are extracted."""

    llm: Literal["rules", "openai", "transformers"] = Field(
        "rules",
        description="rules: embedded; openai: any compatible server; transformers: an LLM in this process",
    )
    subjects: Subjects = Field(
        "living",
        description="Who may act. living: people and animals (MATRIX A.1); any: things too, as in simulated clips, "
        "where cubes hit cylinders",
    )
    min_contactness: int = Field(3, ge=1, le=5, description="Keep interactions at or above (MATRIX 3.1: thresholds)")
    min_dynamism: int = Field(2, ge=1, le=5, description="Keep interactions at or above (MATRIX 3.1: thresholds)")
    min_confidence: float = Field(0.5, ge=0, le=1, description="Discard ratings less certain than this (MATRIX A.1)")
    max_instances: int = Field(5, ge=2, description="Instances a clip, |K| = 5 in MATRIX A.3")
    over_cap: Literal["keep_salient", "split", "reject"] = Field(
        "keep_salient",
        description="A clip with more instances: keep the most salient, cut it into parts, or reject it (MATRIX A.3)",
    )
    recounts: int = Field(2, ge=0, description="How often turns that disagree are asked again before the row fails")


class CaptionReader(Protocol):
    """Reads interactions out of a caption: an LLM, or rules. The four turns of MATRIX figures 21 to 23.

    Every method raises RowFailed when there is no usable answer for this caption and ServiceDown when
    there would be none for any. No answer is ever made up.
    """

    identity: dict[str, str]  # backend, model, prompts' hashes: part of the stage's key and of the row
    concurrency: int  # how many captions it reads at once

    def count_interactions(self, caption: str, attempt: int) -> int | None:
        """How many valid interactions the caption states; None (the paper's null) if there is none.

        attempt is 0 at first, then 1, 2, ...: the same question is to be asked afresh, past any cache.
        """

    def list_interactions(self, caption: str, attempt: int) -> Listing:
        """The valid interactions and the entities that take part in them."""

    def rate(self, caption: str, relation: Relation, mentions: list[Mention]) -> Rating:
        """Contactness and dynamism of one interaction; mentions are its subject and object."""

    def describe(self, caption: str, relations: list[Relation], mentions: list[Mention]) -> list[Instance]:
        """Noun, appearance and place of each mention: exactly one Instance a mention, same ids, same order."""


def extract_triplets(
    caption: str | None, reader: CaptionReader, config: ExtractConfig, part: int = 0, n_parts: int = 1
) -> Extraction:
    """Triplets of one caption, or of one part of a clip that was cut because it is crowded.

    Raises RowRejected (no_caption, no_interaction, below_thresholds, over_cap, crowded) and RowFailed
    (turns_disagree, and whatever the reader raises).
    """
    if not caption or not caption.strip():
        raise RowRejected("no_caption", "nothing is said about this video")
    listing = agreed_listing(caption, reader, config)
    mentions = {m.instance_id: m for m in listing.mentions}
    interactions = []
    for relation in listing.relations:
        rating = reader.rate(caption, relation, [mentions[relation.subject_id], mentions[relation.object_id]])
        interactions.append(judge(relation, rating, config))
    interactions = keep_part(interactions, config, part) if n_parts > 1 else keep_salient(interactions, config)
    extraction = Extraction(interactions=interactions, instances=[], made_by=makers(reader))
    kept_ids = {i for pair in extraction.pairs for i in pair}
    if len(kept_ids) > config.max_instances:
        crowd = f"{len(kept_ids)} instances, at most {config.max_instances} are tracked"
        raise RowRejected("crowded" if config.over_cap == "split" else "over_cap", crowd, evidence=extraction)
    if not kept_ids:
        why = "; ".join(f"{i.verb}: {i.drop_reason}" for i in interactions)
        raise RowRejected("below_thresholds", why, evidence=extraction)
    kept_mentions = [m for m in listing.mentions if m.instance_id in kept_ids]
    kept_relations = [r for r, i in zip(listing.relations, interactions, strict=True) if i.kept]
    instances = reader.describe(caption, kept_relations, kept_mentions)
    return extraction.model_copy(update={"instances": instances})


def agreed_listing(caption: str, reader: CaptionReader, config: ExtractConfig) -> Listing:
    """The listing, once the count of the first turn and the list of the second agree."""
    seen = []
    for attempt in range(1 + config.recounts):
        count = reader.count_interactions(caption, attempt)
        if count is None:
            subject = "living subject" if config.subjects == "living" else "subject"
            raise RowRejected("no_interaction", f"no {subject} acts on something else in this caption")
        listing = reader.list_interactions(caption, attempt)
        trouble = listing_trouble(listing, config.subjects)
        if count == len(listing.relations) and not trouble:
            return listing
        seen.append(trouble or f"counted {count}, listed {len(listing.relations)}")
    # Final: the replies are in the cache, so that the same questions would be answered alike again.
    raise RowFailed("turns_disagree", f"{len(seen)} times: {'; '.join(seen)}", retryable=False)


def judge(relation: Relation, rating: Rating, config: ExtractConfig) -> Interaction:
    """A rated interaction, kept or dropped by the thresholds (MATRIX 3.1)."""
    reason = None
    if rating.confidence < config.min_confidence:
        reason = f"confidence {rating.confidence:g} < {config.min_confidence:g}"
    elif rating.contactness < config.min_contactness:
        reason = f"contactness {rating.contactness} < {config.min_contactness}"
    elif rating.dynamism < config.min_dynamism:
        reason = f"dynamism {rating.dynamism} < {config.min_dynamism}"
    return Interaction(**relation.model_dump(), **rating.model_dump(), kept=reason is None, drop_reason=reason)


def keep_salient(interactions: list[Interaction], config: ExtractConfig) -> list[Interaction]:
    """Drop interactions until at most `max_instances` ids are named (MATRIX A.3).

    Salience of an id: contactness + dynamism of its interactions, weighted by confidence. Ids join in
    that order through their interactions, so what is kept stays connected as triplets.
    """
    if config.over_cap != "keep_salient":
        return interactions
    salience: dict[str, float] = {}
    for it in interactions:
        for i in (it.subject_id, it.object_id) if it.kept else ():
            salience[i] = salience.get(i, 0.0) + (it.contactness + it.dynamism) * it.confidence
    if len(salience) <= config.max_instances:
        return interactions
    result = list(interactions)
    kept_ids: set[str] = set()
    places = [place for place, it in enumerate(interactions) if it.kept]
    places.sort(key=lambda p: -salience[interactions[p].subject_id] - salience[interactions[p].object_id])
    for place in places:
        it = interactions[place]
        widened = kept_ids | {it.subject_id, it.object_id}
        if len(widened) <= config.max_instances:
            kept_ids = widened
        else:
            reason = f"over_cap: {config.max_instances} instances are more salient"
            result[place] = it.model_copy(update={"kept": False, "drop_reason": reason})
    return result


def crowd_groups(interactions: list[Interaction], max_instances: int) -> list[list[int]]:
    """Places of the kept interactions in the caption's order, in groups that name few enough instances.

    A crowded clip is cut into as many parts in time: captions tell what happens in its order.
    """
    groups: list[list[int]] = []
    named: set[str] = set()
    for place, it in enumerate(interactions):
        if not it.kept:
            continue
        widened = named | {it.subject_id, it.object_id}
        if groups and len(widened) <= max_instances:
            groups[-1].append(place)
            named = widened
        else:
            groups.append([place])
            named = {it.subject_id, it.object_id}
    return groups


def keep_part(interactions: list[Interaction], config: ExtractConfig, part: int) -> list[Interaction]:
    """Drop the interactions that belong to the other parts of a crowded clip."""
    mine = crowd_groups(interactions, config.max_instances)[part]
    return [
        it.model_copy(update={"kept": False, "drop_reason": "told of another part of the clip"})
        if it.kept and place not in mine
        else it
        for place, it in enumerate(interactions)
    ]


def n_parts_of(work: Work, row: Row[Clip], config: ExtractConfig) -> int:
    """Into how many parts a clip is to be cut: 1 unless it was found crowded."""
    if row.outcome is None or row.outcome.reason != "crowded":
        return 1
    extraction = result_of(work, row)
    return len(crowd_groups(extraction.interactions, config.max_instances))


def makers(reader: CaptionReader) -> list[MadeBy]:
    return [MadeBy.of(Extraction.stage_name, reader.identity)]


def load_backend(
    config: ExtractConfig, endpoint: EndpointConfig, cache: AnyPath, local: LocalConfig, torch: TorchConfig
) -> CaptionReader:
    match config.llm:
        case "rules":
            from tasks.backends.caption_rules import CaptionRules

            return CaptionRules(config.subjects)
        case "openai":
            from tasks.backends.chat.captions import ChatCaptions
            from tasks.backends.openai.api import ChatClient
            from tasks.backends.openai.endpoint import Endpoint

            return ChatCaptions(ChatClient(Endpoint.from_env("LLM"), endpoint, cache), config.subjects)
        case "transformers":
            from tasks.backends.chat.captions import ChatCaptions
            from tasks.backends.local_models.chat import LocalChat

            return ChatCaptions(LocalChat("LLM", local, torch, cache), config.subjects)


class Told(NamedTuple):
    """What is read of a clip: no picture."""

    caption: str | None
    part: int
    n_parts: int


def stage(
    work: Work, config: ExtractConfig, endpoint: EndpointConfig, local: LocalConfig, torch: TorchConfig
) -> Stage[Clip, Told, Extraction]:
    reader = load_backend(config, endpoint, work.root / "llm", local, torch)
    return Stage(
        version=1,
        result=Extraction,
        config=config,
        made_by=makers(reader),
        read=lambda row: Told(row.payload.caption, row.payload.part, row.payload.n_parts),
        compute=lambda told: extract_triplets(told.caption, reader, config, told.part, told.n_parts),
        concurrency=reader.concurrency,
    )


def result_of(work: Work, row: Row[Clip]) -> Extraction:
    return work.result(row, Extraction)
