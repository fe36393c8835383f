"""Why a question got no reply, and how that is told.

RequestFault("rate_limited", "HTTP 429: Rate limit reached", "transport", retry_after_s=2.0)
RequestFault("invalid_reply", "reply: Invalid JSON: ...; it begins with \"Sure!\"", "reply", alike="not_json")
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.outcome import printable


@dataclass(frozen=True)
class RequestFault:
    """Why a request gave no reply.

    at_fault:      service: no row can succeed. transport: the server failed this request. reply: the model's reply
    again:         True if asking again now may help
    retry_after_s: the wait that the server asks for
    alike:         the kind of an unreadable reply: if the first rows of a shard all fail like this, the server is at
                   fault; None for what says nothing of other rows
    """

    reason: str
    detail: str
    at_fault: Literal["service", "transport", "reply"]
    again: bool = True
    retry_after_s: float | None = None
    alike: str | None = None


def one_line(text: str, max_chars: int = 400) -> str:
    """White space as single blanks, and no character that a terminal obeys."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= max_chars else f"{line[: max_chars - 3]}..."


def beginning(text: str, n_chars: int = 80) -> str:
    """A text's first characters in quotes: "Sure! Here is..." """
    line = one_line(text.strip()[: 2 * n_chars])
    return f'"{line[:n_chars]}..."' if len(line) > n_chars else f'"{line}"'
