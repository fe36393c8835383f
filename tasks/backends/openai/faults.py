"""What a server's errors say, and what to do about them.

status_fault(error, endpoint) -> RequestFault("rate_limited", "HTTP 429: Rate limit reached", "transport", ...)
"""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tasks.backends.chat.faults import RequestFault
from tasks.backends.openai.endpoint import Endpoint, variable

if TYPE_CHECKING:
    import openai


def unreachable(endpoint: Endpoint, cause: str) -> RequestFault:
    address = variable(endpoint.role, "BASE_URL")
    return RequestFault(
        "unreachable",
        f"{cause}. Start the server or export its address in {address}, then rerun the shard.",
        "service",
    )


def status_fault(error: openai.APIStatusError, endpoint: Endpoint) -> RequestFault:
    """A 4xx or 5xx answer."""
    status, code, told = error.status_code, error.code or "", f"HTTP {error.status_code}: {_error_text(error)}"
    key, model, base_url = (variable(endpoint.role, what) for what in ("API_KEY", "MODEL", "BASE_URL"))
    if status in (401, 403):
        return RequestFault("key_refused", f"Export a valid {key} and rerun the shard. {told}", "service", again=False)
    if status == 402 or "insufficient_quota" in (code, error.type):
        return RequestFault(
            "quota_used_up", f"Top up the account or export another {key}, then rerun. {told}", "service", again=False
        )
    if status in (404, 405):
        return RequestFault(
            "no_such_model",
            f"No {endpoint.model!r} here. Check {model}, and that {base_url} has the path that the server needs "
            f"(often /v1), then rerun. {told}",
            "service",
            again=False,
        )
    if status == 429:
        return RequestFault("rate_limited", told, "transport", retry_after_s=_retry_after_s(error.response.headers))
    if status >= 500 or status in (408, 409, 425):
        return RequestFault("server_error", told, "transport", retry_after_s=_retry_after_s(error.response.headers))
    if status == 413 or code == "context_length_exceeded":
        return RequestFault("request_too_large", told, "reply", again=False)
    if code == "content_filter":
        return RequestFault("refused", told, "reply", again=False)
    # The cause may be this row or an unknown parameter: if every row fails, the breaker opens.
    return RequestFault("request_refused", told, "transport", again=False)


def _error_text(error: openai.APIStatusError) -> str:
    message = error.body.get("message") if isinstance(error.body, dict) else None
    return str(message or error.response.text)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds, from either of its forms; None if it is missing or invalid."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
