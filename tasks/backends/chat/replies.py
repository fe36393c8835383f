r"""What a model replied: the strict model that its JSON must fit, and where in the reply that JSON is.

    '{"count": 1}'                                       -> CountReply(count=1)
    '<think>A boy, a ball.</think>\n{"count": 1}'        -> CountReply(count=1)
    'Here it is:\n```json\n{"count": 1}\n```\nBye.'      -> CountReply(count=1)
    '{"count": "1"}', 'Sure! {"count": 1}', two fences   -> RequestFault("invalid_reply", ...)

The answer is the first of these that is JSON, and then what it says counts:

    1. the whole reply
    2. what is left without a byte order mark and control tokens (<|eot_id|>, </s>) at its ends, and without the
       reasoning before it
    3. the only fenced block in that

JSON among other words is none of these: which of several is meant would be a guess.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeVar

import pydantic_core
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from schemas.usage import Usage
from tasks.backends.chat.faults import RequestFault, beginning, one_line

ReplyT = TypeVar("ReplyT", bound="Reply")


class Reply(BaseModel):
    """A model's answer. Subclasses have required fields only, and neither dict nor set: strict schemas know none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    return text


# Checked here and not in the schema: strict schemas know no minLength.
Text = Annotated[str, AfterValidator(_not_blank)]


class InvalidReply(ValueError):
    """Raised by a check: the reply fits its model, but contradicts itself or the question."""


Check = Callable[[ReplyT], None]


# --- The completion ------------------------------------------------------------------------------


class _Part(BaseModel):
    type: str | None = None
    text: Any = None


class _Message(BaseModel):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: Any = None

    @property
    def text(self) -> str:
        """The content; of one in parts its texts, but for the reasoning, which is a part of another type."""
        if isinstance(self.content, list):
            return "".join(
                p.text for p in self.content if p.type in ("text", "output_text") and isinstance(p.text, str)
            )
        return self.content or ""

    @property
    def thoughts(self) -> str:
        """The reasoning that the server has put into a field of its own."""
        return next((t for t in (self.reasoning_content, self.reasoning) if isinstance(t, str)), "")


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Tokens(BaseModel):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)


class Completion(BaseModel):
    """The fields of a chat completion that are read; servers send many more."""

    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None  # not validated: wrong counts must not cost the reply


def read_completion(text: str) -> Completion | RequestFault:
    try:
        return Completion.model_validate_json(text)
    except ValidationError as error:
        why = _what_else(text) or _summary(error)
        return RequestFault("invalid_response", f"no chat completion: {why}; got {beginning(text)}", "transport")


def _what_else(body: str) -> str | None:
    """What a body is that is no completion, where that says what to do."""
    start = body.lstrip(_BLANKS)[:20].lower()
    if start.startswith(("<!doctype", "<html", "<head", "<?xml")):
        return "a web page; is this the server's address, with its path (often /v1)?"
    if start.startswith(("data:", "event:", ": ")):
        return "a stream, which nobody asked for; turn streaming off in the server or the proxy before it"
    try:
        error = pydantic_core.from_json(body)["error"]
    except (ValueError, TypeError, KeyError):
        return None
    return f"an error with HTTP 200: {error['message'] if isinstance(error, dict) and 'message' in error else error}"


def tokens_of(completion: Completion) -> Usage:
    """The usage of one answered call; tokens that the server does not report are not guessed."""
    try:
        tokens = _Tokens.model_validate(completion.usage, strict=True)
    except ValidationError:
        return Usage(calls=1, uncounted=1)
    return Usage(calls=1, prompt_tokens=tokens.prompt_tokens, completion_tokens=tokens.completion_tokens)


# --- The reply -----------------------------------------------------------------------------------

_STRUCTURED = "serve the model with structured output (json_schema), or turn its reasoning off"
_LONGER = "raise --endpoint.max-tokens"

# The kinds of replies that cannot be read: what is wrong, and what to do about the server.
_UNREADABLE = {
    "empty": ("the reply is empty", _STRUCTURED),
    "tool_call": ("the reply is a tool call instead of text", "start the server without its tool parser"),
    "cut_off": ("the reply was cut off at max_tokens", _LONGER),
    "cut_off_in_reasoning": ("the reply ended inside its reasoning", f"{_LONGER}, or turn the model's reasoning off"),
    "only_reasoning": (
        "the reply is all reasoning, without an answer",
        "turn the model's reasoning off, or start the server without its reasoning parser",
    ),
    "several_blocks": ("the reply holds several fenced blocks, and which one is meant is unknown", _STRUCTURED),
    "not_json": ("Invalid JSON", _STRUCTURED),
    "other_fields": ("other fields than asked for", "use a server that holds replies to the request's json_schema"),
}


def read_reply(completion: Completion, model: type[ReplyT], check: Check[ReplyT] | None) -> ReplyT | RequestFault:
    choice = completion.choices[0]
    message, text = choice.message, choice.message.text
    if message.refusal:
        return RequestFault("refused", message.refusal, "reply", again=False)
    match choice.finish_reason:
        case "length":
            thinking = _is_thinking(text) or (message.thoughts and not text.strip())
            return _unreadable("cut_off_in_reasoning" if thinking else "cut_off", text or message.thoughts)
        case "content_filter":
            return RequestFault("content_filtered", "the server's filter cut the reply", "reply")
    if message.thoughts and not text.strip():
        return _unreadable("only_reasoning", message.thoughts)
    if message.tool_calls and not text.strip():
        return _unreadable("tool_call", json.dumps(message.tool_calls))
    answer = find_answer(text)
    if isinstance(answer, Unread):
        return _unreadable(answer.kind, text, answer.problem)
    reply = validate(answer.encode("utf-8", "replace"), model, check)
    if isinstance(reply, RequestFault):
        return _unreadable("other_fields", text, reply.detail) if reply.alike else reply
    if key := _repeated_key(answer):
        return _unreadable("other_fields", text, f"{key!r} is there twice")
    return reply


def _unreadable(kind: str, text: str, problem: str = "") -> RequestFault:
    told, remedy = _UNREADABLE[kind]
    shown = f"; the reply begins {beginning(text)}" if text.strip() else ""
    return RequestFault("invalid_reply", f"{one_line(problem or told, 160)}{shown}; {remedy}", "reply", alike=kind)


def validate(text: bytes, model: type[ReplyT], check: Check[ReplyT] | None) -> ReplyT | RequestFault:
    """Validate strictly: "5" is not 5, 1 is not true."""
    try:
        reply = model.model_validate_json(text, strict=True)
        if check:
            check(reply)
    except ValidationError as error:
        return RequestFault("invalid_reply", _summary(error), "reply", alike="other_fields")
    except InvalidReply as error:
        return RequestFault("invalid_reply", str(error), "reply")
    return reply


def _summary(error: ValidationError) -> str:
    """The first three errors, without the values."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'reply'}: {e['msg']}" for e in errors[:3])


def _repeated_key(text: str) -> str | None:
    """A key that an object names twice: parsers take one of its values, and which one is meant is unknown."""
    repeated: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        repeated.extend(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)

    # It is JSON and fits its model; the rest keeps this parser from minding what the other one does not.
    json.loads(text, object_pairs_hook=look, parse_int=str, strict=False)
    return repeated[0] if repeated else None


# --- The answer in a reply -----------------------------------------------------------------------

_BLANKS = "\ufeff \t\r\n"
_TAG = r"(?:[a-z]{1,9}:)?(?:think|thinking|thoughts?|reason|reasoning|reflection|analysis)"
_OPENING = re.compile(
    rf"""<{_TAG}\b[^<>]{{0,80}}> | \[THINK\] | ◁think▷ | <\|(?:begin_of_thought|start_thinking)\|>
    | <\|channel\|?>\s{{0,8}}(?:analysis|thought)""",  # Harmony (gpt-oss), Gemma
    re.IGNORECASE | re.VERBOSE,
)
_CLOSING = re.compile(
    rf"""</{_TAG}\s*> | \[/THINK\] | ◁/think▷ | <\|(?:end_of_thought|end_thinking)\|>
    | <channel\|> | <\|channel\|>\s{{0,8}}final\b[^{{}}]{{0,60}}?<\|message\|>
    | assistantfinal(?:\s{{0,8}}json\b)?""",  # Harmony, decoded without its tokens
    re.IGNORECASE | re.VERBOSE,
)
_TOKEN = r"(?:<\|[^\s<>|]{1,40}\|>|</?s>|<(?:bos|eos|pad|end_of_turn)>|</?(?:answer|response)>)"
_EDGES = re.compile(rf"\A(?:{_TOKEN}|[\s\ufeff])+|(?:{_TOKEN}\s*){{1,4}}\Z", re.IGNORECASE)
# A fence has at most 12 signs: a model that repeats one sign without end would be read in quadratic time.
_BLOCK = re.compile(
    r"^[ \t]*(?P<fence>`{3,12}|~{3,12})[ \t]*[\w.+-]*(?P<inside>.*?)(?:^[ \t]*(?P=fence)|(?P=fence)[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)


class Unread(NamedTuple):
    """Why a reply holds no answer: a kind of _UNREADABLE, and what the parser says."""

    kind: str
    problem: str = ""


def find_answer(text: str) -> str | Unread:
    """The part of a reply that is its JSON; the module says where it is looked for."""
    ends = [closing.end() for closing in _CLOSING.finditer(text)]
    # After the first, as the answer may quote such a tag, and after the last, as the reasoning may.
    rests = [text, *(text[end:] for end in (*ends[:1], *ends[-1:]))]
    blocks = [block for rest in rests if (block := _only_block(rest)) is not None]
    for place in (text, *map(_bare, rests), *blocks):
        if _json_fault(place) is None:
            return place
    rest = _bare(rests[-1])
    if not rest:
        return Unread("only_reasoning" if ends else "empty")
    if _is_thinking(text):
        return Unread("cut_off_in_reasoning")
    if len(_BLOCK.findall(rest)) > 1:
        return Unread("several_blocks")
    return Unread("not_json", f"Invalid JSON: {_json_fault(blocks[-1] if blocks else rest)}")


def _only_block(text: str) -> str | None:
    """What the only fenced block holds; None if there are several or none, or if it is part of the reasoning."""
    text = text.strip(_BLANKS)
    blocks = list(_BLOCK.finditer(text))
    if len(blocks) != 1:
        return None
    around = text[: blocks[0].start()] + text[blocks[0].end() :]
    return None if _OPENING.search(around) or _CLOSING.search(around) else _bare(blocks[0]["inside"])


def _is_thinking(text: str) -> bool:
    """True if the text opens its reasoning and never ends it."""
    return _OPENING.match(text.lstrip(_BLANKS)) is not None and _CLOSING.search(text) is None


def _bare(text: str) -> str:
    """The text without what servers leave at its ends: a byte order mark, control tokens, the tags of an answer."""
    return _EDGES.sub("", text).strip(_BLANKS)


def _json_fault(text: str) -> str | None:
    """What the parser says; None if the text is JSON."""
    try:
        pydantic_core.from_json(text.encode("utf-8", "replace"))
    except ValueError as error:
        return str(error)
    return None
