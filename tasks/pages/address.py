"""Where a snapshot and its report are seen in a browser: addresses of `triptych serve`.

TRIPTYCH_REPORTS_URL=http://localhost:8600 -> report_url("matrix11k-3f9c2a71b0de")
                                           -> "http://localhost:8600/reports/matrix11k-3f9c2a71b0de/"

A snapshot's id is a hash of its content: the address needs no root, and is known without asking the server.
"""

from __future__ import annotations

import logging
import os
from urllib.parse import urlsplit

DEFAULT_PORT = 8600

logger = logging.getLogger(__name__)


def reports_url() -> str | None:
    """What TRIPTYCH_REPORTS_URL says, without a slash at its end; None if it is not set, or is no web address."""
    value = os.environ.get("TRIPTYCH_REPORTS_URL", "").strip().rstrip("/")
    if not value:
        return None
    try:
        url = urlsplit(value)
        is_plain = url.scheme in ("http", "https") and bool(url.hostname) and "@" not in url.netloc
    except ValueError:
        is_plain = False
    if not is_plain or url.query or url.fragment or not value.isprintable() or set(value) & set(" <>()\"'`\\"):
        # Not its value: it may hold a password.
        logger.warning("TRIPTYCH_REPORTS_URL is not used: it must be like http://localhost:%d", DEFAULT_PORT)
        return None
    return value


def report_url(snapshot_id: str) -> str | None:
    """Of a report's page; None unless TRIPTYCH_REPORTS_URL names the server."""
    base = reports_url()
    return base and f"{base}/reports/{snapshot_id}/"


def files_url(snapshot_id: str) -> str | None:
    """Of a snapshot's files; None unless TRIPTYCH_REPORTS_URL names the server."""
    base = reports_url()
    return base and f"{base}/snapshots/{snapshot_id}/"
