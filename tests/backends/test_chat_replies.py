"""What models and servers put around an answer, by a real server on loopback: it is read, or refused with a remedy."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, SecretStr

from schemas.outcome import RowFailed
from tasks.backends.chat.faults import beginning, one_line
from tasks.backends.chat.replies import InvalidReply, Reply, Unread, find_answer
from tasks.backends.openai.api import ChatClient, EndpointConfig
from tasks.backends.openai.endpoint import Endpoint
from tasks.prompts import Prompt
from tests.support.endpoint import Dress, LocalEndpoint

PROMPT = Prompt(name="rate", text="Rate what the user sends.", sha256="0" * 64)
THOUGHTS = 'The boy kicks. Draft: {"score": 1, "reason": "draft"}\n```json\n{"score": 1, "reason": "draft"}\n```\nHm.'
WHOLE: dict[str, Any] = {"score": 4, "reason": "é < ``` <|end|> { ]"}
OTHER = json.dumps({"score": 1, "reason": "another"})


class Score(Reply):
    """A score, and words that may hold any markup."""

    score: int = Field(ge=1, le=5)
    reason: str


def ask(cache: Path, dress: Dress, answer: dict[str, Any] = WHOLE) -> Score:
    """One question to a server that dresses this answer; tried once."""
    with LocalEndpoint(answers=lambda request: answer, dress=dress) as server:
        client = ChatClient(Endpoint("LLM", server.base_url, "tiny"), EndpointConfig(max_retries=0), cache)
        return client.ask(Score, PROMPT, {"caption": "A boy kicks a ball."})


def refused(cache: Path, dress: Dress, answer: dict[str, Any] = WHOLE) -> RowFailed:
    with pytest.raises(RowFailed) as failed:
        ask(cache, dress, answer)
    assert failed.value.retryable
    assert not list(cache.iterdir())
    return failed.value


# --- Read ----------------------------------------------------------------------------------------

READ: dict[str, Callable[[str], Any]] = {
    "plain": str,
    "bom": lambda text: f"\ufeff{text}",
    "think": lambda text: f"<think>\n{THOUGHTS}\n</think>\n\n{text}",
    "think, a tag in the thoughts": lambda text: f"<think>I am to end with </think> and then JSON.</think>{text}",
    "think, not opened": lambda text: f"{THOUGHTS}\n</think>\n{text}",
    "think, empty": lambda text: f"<think>\n\n</think>\n\n{text}",
    "think, twice": lambda text: f"<think>One.</think><think>Two.</think>{text}",
    "think, fenced": lambda text: f"<think>{THOUGHTS}</think>\nHere:\n```json\n{text}\n```\nBye.",
    "think, bom": lambda text: f"\ufeff<think>Hm.</think>\ufeff{text}",
    "think, end of turn": lambda text: f"<think>Hm.</think>{text}<|im_end|>\n",
    **{
        f"{tag}": (lambda text, tag=tag: f"<{tag}>{THOUGHTS}</{tag}>\n{text}")
        for tag in ("THINK", "thinking", "Thought", "reasoning", "seed:think", "mm:think")
    },
    "attributes": lambda text: f'<think lang="en">Hm.</think >{text}',
    "mistral": lambda text: f"[THINK]{THOUGHTS}[/THINK]{text}",
    "kimi": lambda text: f"◁think▷{THOUGHTS}◁/think▷{text}",
    "gemma": lambda text: f"<|channel>thought\n{THOUGHTS}<channel|>{text}",
    "cohere": lambda text: f"<|START_THINKING|>{THOUGHTS}<|END_THINKING|>{text}",
    "harmony": lambda text: (
        f"<|channel|>analysis<|message|>{THOUGHTS}<|end|><|start|>assistant<|channel|>final<|message|>{text}<|return|>"
    ),
    "harmony, constrained": lambda text: f"<|channel|>final <|constrain|>json<|message|>{text}",
    "harmony, without its tokens": lambda text: f"analysisThe boy kicks.assistantfinal{text}",
    "harmony, without its tokens, constrained": lambda text: f"analysisThe boy kicks.assistantfinal json{text}",
    **{f"ends with {token}": (lambda text, t=token: f"{text}{t}") for token in ("<|eot_id|>", "</s>", "<|end|>\n</s>")},
    "starts with a token": lambda text: f"<s> {text}",
    "glm": lambda text: f"<think>Hm.</think><answer><|begin_of_box|>{text}<|end_of_box|></answer>",
    "fence": lambda text: f"```json\n{text}\n```",
    "fence, on one line": lambda text: f"```json {text}```",
    "fence, crlf": lambda text: f"Here:\r\n```json\r\n{text}\r\n```\r\n",
    "fence, bom": lambda text: f"\ufeff```json\n{text}\n```",
    "fence, indented": lambda text: f"1. Here:\n   ```JSON\n   {text}\n   ```\nBye.",
    "fence, not closed": lambda text: f"Here:\n```json\n{text}",
    **{f"fence {f}": (lambda text, f=f: f"Here:\n{f}\n{text}\n{f[:3]}\nBye.") for f in ("```", "~~~", "```json5")},
    "fence of four": lambda text: f"````\n{text}\n````",
    "fence, words behind": lambda text: f"Sure! `score` is this:\n```json\n{text}\n``` Hope this helps.",
    "parts": lambda text: {"content": [{"type": "text", "text": text[:9]}, {"type": "text", "text": text[9:]}]},
    "parts, one of them thinks": lambda text: {
        "content": [{"type": "thinking", "thinking": [{"type": "text", "text": OTHER}]}, {"type": "text", "text": text}]
    },
    "reasoning in its field": lambda text: {"content": text, "reasoning_content": THOUGHTS, "reasoning": None},
}


@pytest.mark.parametrize("dress", READ.values(), ids=READ)
def test_an_answer_is_read_as_it_is_whatever_is_around_it(tmp_path: Path, dress: Dress) -> None:
    assert ask(tmp_path, dress) == Score(**WHOLE)


@pytest.mark.parametrize("name", ["plain", "think", "think, fenced", "fence", "fence, words behind", "bom", "gemma"])
def test_an_answer_may_quote_the_markup(tmp_path: Path, name: str) -> None:
    answer = {"score": 4, "reason": "</think> <think> ``` </s>"}
    assert ask(tmp_path, READ[name], answer) == Score(**answer)


@pytest.mark.parametrize("dress", READ.values(), ids=READ)
def test_types_stay_strict_wherever_the_answer_is(tmp_path: Path, dress: Dress) -> None:
    failed = refused(tmp_path, dress, WHOLE | {"score": "4"})
    assert "score: Input should be a valid integer" in failed.detail


# --- Refused -------------------------------------------------------------------------------------

STRUCTURED, LONGER, NO_REASONING = "json_schema", r"raise --endpoint\.max-tokens", "reasoning off"
THINKS, ENDS_IN = f"<think>{THOUGHTS}", "ended inside its reasoning"

REFUSED: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "prose": (lambda text: f"Sure! {text}", "Invalid JSON", STRUCTURED),
    "prose behind": (lambda text: f"{text}\nHope this helps.", "trailing characters", STRUCTURED),
    "two fences": (
        lambda text: f"```json\n{OTHER}\n```\nor\n```json\n{text}\n```",
        "several fenced blocks",
        STRUCTURED,
    ),
    "two fences alike": (lambda text: f"```\n{text}\n```\n```\n{text}\n```", "several fenced blocks", STRUCTURED),
    "two fences, one open": (lambda text: f"```\n{OTHER}\n```\n```\n{text}", "several fenced blocks", STRUCTURED),
    "two objects": (lambda text: f"{text}\n{text}", "trailing characters", STRUCTURED),
    "no answer": (lambda text: f"<think>{text}</think>", "all reasoning, without an answer", NO_REASONING),
    "answer before": (lambda text: f"{text}<think>{THOUGHTS}</think>", "all reasoning", NO_REASONING),
    "in its thoughts": (lambda text: f"<think>{text}", ENDS_IN, LONGER),
    "in its thoughts, fenced": (lambda text: f"<think>Draft:\n```json\n{text}\n```\nBut", ENDS_IN, LONGER),
    "in its thoughts, greeting": (lambda text: f"Sure.\n<think>\n```\n{text}\n```\n", "Invalid JSON", NO_REASONING),
    "in its thoughts, draft and prose": (lambda text: f"{THINKS}</think>It is {text}", "Invalid JSON", STRUCTURED),
    "in its thoughts, gpt-oss": (lambda text: f"<|channel|>analysis<|message|>{text}", ENDS_IN, LONGER),
    "cut in its thoughts": (lambda text: {"content": THINKS, "finish_reason": "length"}, ENDS_IN, LONGER),
    "cut in its field": (
        lambda text: {"content": None, "reasoning_content": THOUGHTS, "finish_reason": "length"},
        ENDS_IN,
        LONGER,
    ),
    "cut behind": (
        lambda text: {"content": f"{THINKS}</think>{text[:9]}", "finish_reason": "length"},
        "cut off at max_tokens",
        LONGER,
    ),
    "whole and cut": (lambda text: {"content": text, "finish_reason": "length"}, "cut off at max_tokens", LONGER),
    "all in the field": (lambda text: {"content": "", "reasoning_content": text}, "all reasoning", NO_REASONING),
    "all in vllm's field": (lambda text: {"content": None, "reasoning": text}, "all reasoning", "reasoning parser"),
    "tool call": (
        lambda text: {"content": None, "tool_calls": [{"function": {"name": "Score", "arguments": text}}]},
        "a tool call instead of text",
        "tool parser",
    ),
    "nothing": (lambda text: {"content": None}, "the reply is empty", STRUCTURED),
    "blank": (lambda text: " \n", "the reply is empty", STRUCTURED),
    "only a token": (lambda text: "<|im_end|>", "the reply is empty", STRUCTURED),
    "half": (lambda text: text[:-9], "Invalid JSON: EOF", STRUCTURED),
    "smart quotes": (lambda text: text.replace('"', "“"), "Invalid JSON: key must be a string", STRUCTURED),
    "python": (lambda text: text.replace('"', "'"), "Invalid JSON: key must be a string", STRUCTURED),
    "a comma too many": (lambda text: f"{text[:-1]},}}", "Invalid JSON: trailing comma", STRUCTURED),
    "a comment": (lambda text: f"```jsonc\n{text} // sure\n```", "Invalid JSON: trailing characters", STRUCTURED),
    "nan": (lambda text: text.replace("4", "NaN"), "score: Input should be a valid integer", STRUCTURED),
    "a key twice": (lambda text: text.replace("{", '{"score": 1, ', 1), "'score' is there twice", STRUCTURED),
    "json in json": (lambda text: json.dumps(text), "reply: Input should be an object", STRUCTURED),
    "a list": (lambda text: f"[{text}]", "reply: Input should be an object", STRUCTURED),
    "deep": (lambda text: "[" * 5000, "Invalid JSON: recursion limit", STRUCTURED),
}


@pytest.mark.parametrize(("dress", "why", "remedy"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_answer_says_why_and_what_to_do(tmp_path: Path, dress: Dress, why: str, remedy: str) -> None:
    failed = refused(tmp_path, dress)
    assert failed.reason == "invalid_reply"
    assert failed.suspicion is not None
    for told in (failed.detail, failed.suspicion.told):
        assert why in told
        assert remedy.replace("\\", "") in told
        assert len(told) < 800
    shown = dress(json.dumps(WHOLE))
    if isinstance(shown, str) and shown.strip() and "<|im_end" not in shown:
        assert one_line(shown)[:80] in failed.detail


BODIES: dict[str, tuple[bytes, str]] = {
    "html": (b"\n<!DOCTYPE html><html><body>Log in</body></html>", "a web page; is this the server's address"),
    "stream": (b'data: {"choices": [{"delta": {"content": "4"}}]}\n\ndata: [DONE]\n\n', "turn streaming off"),
    "error": (b'{"error": {"message": "model is loading", "code": 503}}', "an error with HTTP 200: model is loading"),
    "error in words": (b'{"error": "overloaded"}', "an error with HTTP 200: overloaded"),
    "no choices": (b'{"id": "1", "choices": null}', "choices: Input should be a valid array"),
    "list": (b"[]", "Input should be an object"),
    "nothing": (b"", "Invalid JSON: EOF"),
}


@pytest.mark.parametrize(("body", "why"), BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_completion_says_what_it_is(tmp_path: Path, body: bytes, why: str) -> None:
    failed = refused(tmp_path, lambda text: body)
    assert failed.reason == "invalid_response"
    assert why in failed.detail
    assert f"got {beginning(body.decode())}" in failed.detail


# --- Told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nasty", ["\x1b[2J\x1b]0;gone\x07", "\u202egnp.exe", "a\r\nb\u2028c\x85d", "\x00\x9b31m", "\u200b\u2066"]
)
def test_what_is_told_is_one_printable_line(tmp_path: Path, nasty: str) -> None:
    for reply in (f"{nasty} Sure!", json.dumps(WHOLE | {nasty: 1})):
        assert refused(tmp_path, lambda text, reply=reply: reply).detail.isprintable()


def test_the_first_80_characters_are_told(tmp_path: Path) -> None:
    reply = "I see a boy, a ball, and a 'goal' \\o/ " + "0123456789" * 9
    assert f'the reply begins "{reply[:80]}..."; ' in refused(tmp_path, lambda text: reply).detail
    assert f'the reply begins "{reply[:80]}"; ' in refused(tmp_path, lambda text: reply[:80]).detail
    assert 'the reply begins "' + r"\x1b" * 20 + '..."; ' in refused(tmp_path, lambda text: "\x1b" * 200).detail


def test_the_key_is_not_told(tmp_path: Path) -> None:
    key = "sk-test-0123456789abcdef"
    with LocalEndpoint(dress=lambda text: f"Your key {key} is fine.") as server:
        endpoint = Endpoint("LLM", server.base_url, "tiny", key=SecretStr(key))
        client = ChatClient(endpoint, EndpointConfig(max_retries=0), tmp_path)
        with pytest.raises(RowFailed, match=r"Your key \[key\] is fine") as failed:
            client.ask(Score, PROMPT, {})
    assert failed.value.suspicion is not None
    assert key not in failed.value.suspicion.told


def test_a_check_that_fails_is_the_rows_own_matter(tmp_path: Path) -> None:
    def never(reply: Score) -> None:
        raise InvalidReply("it cannot be")

    with LocalEndpoint(answers=lambda request: WHOLE) as server:
        client = ChatClient(Endpoint("LLM", server.base_url, "tiny"), EndpointConfig(max_retries=0), tmp_path)
        with pytest.raises(RowFailed) as failed:
            client.ask(Score, PROMPT, {}, check=never)
    assert (failed.value.detail, failed.value.suspicion) == ("invalid_reply: it cannot be", None)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "</think>" * 50_000,
            "```\n" * 50_000,
            "<s>" * 50_000 + "x",
            " " * 200_000 + "x",
            "```" + "\n" * 200_000 + "<think",
            "<|a|> " * 50_000 + "x",
        ),
        *("<think>" * 50_000, "</" + "a" * 200_000, "<s>" + " " * 200_000 + "x", "`" * 200_000, "~~~" * 50_000 + "x"),
        *("`" * 60_000 + "\nx" + "`" * 59_999, "~" * 60_000 + "\nx" + "~" * 59_999),
        *("<|channel|>final" * 20_000, "[" * 200_000, "```json\n{" * 30_000),
    ],
    ids=lambda text: text[:12].strip(),
)
def test_a_reply_of_endless_markup_takes_no_time(text: str) -> None:
    started_s = time.monotonic()
    assert isinstance(find_answer(text), Unread)
    assert time.monotonic() - started_s < 1
