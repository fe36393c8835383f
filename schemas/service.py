"""ServiceDown: what no row can be done without is not there."""

from __future__ import annotations


class ServiceDown(Exception):
    """Raised where no further row can be done either: server unreachable, wrong key, full disk.

    The shard fails at once with this message, which says what to do, and is rerun alone.
    """
