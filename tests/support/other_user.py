"""Programs that must not run as root."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any


def as_other_user(*paths: Path) -> dict[str, Any]:
    """Options of `subprocess` that run a program as nobody, who now owns these paths; none unless this is root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    for path in paths:
        os.chown(path, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
