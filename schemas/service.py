"""ServiceDown: a required service is unavailable."""

from __future__ import annotations


class ServiceDown(Exception):
    """Raised if no other row can succeed either: server unreachable, wrong key, full disk.

    The shard fails at once with this message, which says what to do, and is rerun alone.
    """
