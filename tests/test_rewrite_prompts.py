"""tasks.rewrite_prompts and its rewriters: other words, the same labels, or no text at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.dsr import DsrLabels, DsrPrompt, Rewritten
from schemas.outcome import RowFailed, ServiceDown
from schemas.provenance import MadeBy
from tasks.backends.openai.api import EndpointConfig
from tasks.backends.openai.rewriter import OpenAIRewriter, RewriteReply
from tasks.backends.template_rewriter import TemplateRewriter, fill
from tasks.datasets.dsr.grammar import PromptConfig, generate_prompts
from tasks.datasets.dsr.wording import from_to_text, structured_text
from tasks.engine.inputs import Inputs
from tasks.engine.shards import Row, Shard, load_shard
from tasks.engine.stage import run_stage
from tasks.engine.work import Work
from tasks.prompts import load_prompt
from tasks.readers.parse_prompts import parse_prompt
from tasks.rewrite_prompts import (
    RewriteConfig,
    load_backend,
    rewording_fault,
    rewrite_prompt,
    rewritten_prompt,
    stage,
    word_prompt,
)
from tests.support.endpoint import LocalEndpoint

QUICK = EndpointConfig(deadline_s=10, backoff_s=0.01, max_retry_after_s=0.1, max_retries=1)
LABELS = DsrLabels(scene="In a wood", animal="fox", object="chair", verb="sprints", initial="left", final="right")
PROMPT = DsrPrompt(
    **LABELS.model_dump(), prompt_id="7_LR", split="test", form="structured", text=structured_text(LABELS)
)
KEPT = "In a wood, a fox to the left of a chair sprints to its right."
LOST = "In a wood, a fox sprints to the left of a chair."


class Scripted:
    """Says one text after the other."""

    identity = {"backend": "scripted", "model": "none"}  # noqa: RUF012
    concurrency = 1

    def __init__(self, *texts: str) -> None:
        self.texts, self.attempts = texts, list[int]()

    def rewrite(self, prompt: DsrPrompt, attempt: int) -> str:
        self.attempts.append(attempt)
        return self.texts[attempt]


class Served:
    """A server with the environment that leads to it; its answers one after the other."""

    def __init__(self, root: Path) -> None:
        self.texts: list[Any] = []
        self.cache = root / "llm"
        self.server = LocalEndpoint(answers=lambda request: {"text": self.texts.pop(0)})

    def rewriter(self, config: EndpointConfig = QUICK) -> OpenAIRewriter:
        return OpenAIRewriter(config, self.cache)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    served = Served(tmp_path)
    monkeypatch.setenv("TRIPTYCH_LLM_BASE_URL", served.server.base_url)
    monkeypatch.setenv("TRIPTYCH_LLM_MODEL", "tiny-llm")
    monkeypatch.delenv("TRIPTYCH_LLM_API_KEY", raising=False)
    with served.server:
        yield served


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(root=tmp_path / "work", inputs=Inputs(folder=tmp_path))


# --- The pure forms ------------------------------------------------------------------------------


def test_the_forms_that_are_functions_of_the_labels() -> None:
    from_to = word_prompt(PROMPT, "from_to")
    assert (from_to.form, from_to.text) == ("from_to", from_to_text(LABELS))
    assert word_prompt(from_to, "structured") == PROMPT
    assert from_to.prompt_id == PROMPT.prompt_id
    assert parse_prompt(from_to.text) == ("from_to", LABELS)
    with pytest.raises(ValueError, match="stage rewrite_prompts"):
        word_prompt(PROMPT, "rewritten")


def test_a_prompt_that_is_in_its_form_keeps_its_very_words() -> None:
    given = PROMPT.model_copy(update={"text": "in a wood,a fox is ..."})
    assert word_prompt(given, "structured") == given


# --- Asking again --------------------------------------------------------------------------------


def test_a_text_that_loses_the_labels_is_asked_for_again() -> None:
    rewriter = Scripted(LOST, PROMPT.text.lower(), f" {KEPT}\n")
    made_by = [MadeBy.of("rewrite_prompts", rewriter.identity)]
    rewritten = rewrite_prompt(PROMPT, rewriter, attempts=3, made_by=made_by)
    assert (rewritten.text, rewritten.made_by, rewriter.attempts) == (KEPT, made_by, [0, 1, 2])


def test_labels_lost_every_time_fail_the_prompt() -> None:
    with pytest.raises(RowFailed, match=r"2 times: .*it says left, not left -> right.*worded as before") as failed:
        rewrite_prompt(PROMPT, Scripted(LOST, PROMPT.text), attempts=2, made_by=[])
    assert (failed.value.reason, failed.value.retryable) == ("labels_lost", False)


# --- Sentence patterns ---------------------------------------------------------------------------


def test_every_pattern_says_every_kind_of_prompt() -> None:
    rewriter = TemplateRewriter()
    for prompt in generate_prompts(PromptConfig(n_train=300, n_test=60)):
        texts = [rewriter.rewrite(prompt, attempt) for attempt in range(5)]
        assert len(set(texts)) == 5
        for text in texts:
            assert rewording_fault(text, prompt) is None, text
            assert text[0].isupper()
            assert text.endswith(".")


def test_patterns_follow_from_the_labels_alone() -> None:
    other = PROMPT.model_copy(update={"prompt_id": "x", "split": "train", "text": "whatever"})
    assert TemplateRewriter().rewrite(PROMPT, 0) == TemplateRewriter().rewrite(other, 0)
    prompts = generate_prompts(PromptConfig(n_train=60, n_test=0))
    openings = {TemplateRewriter().rewrite(p.model_copy(update={"scene": ""}), 0).split()[2] for p in prompts}
    assert len(openings) >= 5


def test_a_pattern_without_a_scene_and_with_braces_in_the_words() -> None:
    labels = LABELS.model_copy(update={"scene": "", "object": "{verb}"})
    assert fill("{an_animal} waits {at} {an_object}{scene}.", labels) == "A fox waits on the left of a {verb}."


# --- A server ------------------------------------------------------------------------------------


def test_the_prompt_is_known_by_its_hash_and_names_every_field() -> None:
    prompt = load_prompt("rewrite_prompt")
    assert "never an instruction" in prompt.text
    assert all(f"`{name}`" in prompt.text for name in RewriteReply.model_fields)
    assert RewriteReply.model_json_schema()["required"] == ["text"]


def test_a_server_is_told_the_prompt_and_its_labels(served: Served) -> None:
    served.texts = [KEPT]
    assert served.rewriter().rewrite(PROMPT, 0) == KEPT
    [request] = served.server.requests
    assert json.loads(request["messages"][1]["content"]) == {
        "prompt": PROMPT.text,
        "scene": "In a wood",
        "animal": "fox",
        "object": "chair",
        "verb": "sprints",
        "initial": "on the left of",
        "final": "to the right of",
    }
    assert request["messages"][0]["content"].startswith(load_prompt("rewrite_prompt").text[:100])


def test_another_attempt_asks_past_the_cache(served: Served) -> None:
    served.texts = [LOST, KEPT]
    for _ in range(2):
        assert rewrite_prompt(PROMPT, served.rewriter(), attempts=3, made_by=[]).text == KEPT
    assert served.server.calls == 2
    assert served.server.requests[0]["seed"] != served.server.requests[1]["seed"]


@pytest.mark.parametrize("fault", ["500", "not_json", "wrong_types", "refusal", "length", "html200"])
def test_a_fault_is_no_text(served: Served, fault: str) -> None:
    served.server.always, served.texts = fault, [KEPT] * 5
    with pytest.raises(RowFailed):
        served.rewriter(QUICK.model_copy(update={"max_retries": 0})).rewrite(PROMPT, 0)


def test_a_blank_text_is_asked_for_again(served: Served) -> None:
    served.texts = ["  ", KEPT]
    assert served.rewriter().rewrite(PROMPT, 0) == KEPT


def test_no_server_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIPTYCH_LLM_BASE_URL", raising=False)
    with pytest.raises(ServiceDown, match="export TRIPTYCH_LLM_BASE_URL"):
        load_backend(RewriteConfig(rewriter="openai"), QUICK, tmp_path)


# --- The stage -----------------------------------------------------------------------------------


def test_a_shard_of_prompts(work: Work) -> None:
    prompts = generate_prompts(PromptConfig(n_train=6, n_test=0))
    rewriting = stage(work, RewriteConfig(form="rewritten"), QUICK)
    rows = load_shard(run_stage(work, Shard[DsrPrompt].of(prompts), rewriting), DsrPrompt).rows
    for prompt, row in zip(prompts, rows, strict=True):
        worded = rewritten_prompt(work, row)
        assert (worded.form, worded.prompt_id) == ("rewritten", prompt.prompt_id)
        assert rewording_fault(worded.text, prompt) is None
        [made_by] = work.result(row, Rewritten).made_by
        assert (made_by.stage, made_by.backend) == ("rewrite_prompts", "template")


def test_a_prompt_whose_labels_get_lost_ends_alone(served: Served, work: Work) -> None:
    other = PROMPT.model_copy(update={"prompt_id": "8_LR", "animal": "dog", "text": "x"})
    config = RewriteConfig(form="rewritten", rewriter="openai", attempts=2)
    served.texts = [LOST, LOST, KEPT.replace("fox", "dog")]
    one_by_one = QUICK.model_copy(update={"concurrency": 1})
    shard = Shard[DsrPrompt].of([PROMPT, other])
    lost, kept = load_shard(run_stage(work, shard, stage(work, config, one_by_one)), DsrPrompt).rows
    assert lost.outcome is not None
    assert (lost.outcome.status, lost.outcome.reason, lost.outcome.row_id) == ("failed", "labels_lost", "7_LR")
    assert rewritten_prompt(work, kept).text == KEPT.replace("fox", "dog")


@pytest.mark.parametrize(
    ("changes", "again"),
    [({"prompt_id": "x"}, False), ({"split": "train"}, False), ({"text": "x"}, False), ({"animal": "cat"}, True)],
)
def test_what_a_rewriting_depends_on(work: Work, changes: dict[str, str], again: bool) -> None:
    rewriting = stage(work, RewriteConfig(), QUICK)
    keys = {rewriting.key(Row[DsrPrompt](payload=p)) for p in (PROMPT, PROMPT.model_copy(update=changes))}
    assert len(keys) == 1 + again
