"""A model hub on loopback, and a process of its own that asks it: huggingface_hub reads its settings at import.

with served({"owner/name": folder}) as endpoint:
    fetch(endpoint, tmp_path / "cache", "from tasks... import ...; print(...)").stdout
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


@contextmanager
def served(repositories: dict[str, Path], commit: str = "c" * 40) -> Iterator[str]:
    """The address of a model hub that has these repositories, OWNER/NAME -> folder, their branches at one commit."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.wfile.write(self.answer())

        def answer(self) -> bytes:
            asked = urlsplit(self.path).path.strip("/").split("/")
            if asked[0] == "api":  # /api/models/OWNER/NAME/revision/REVISION
                name, revision, file = "/".join(asked[2:4]), asked[-1], None
            else:  # /OWNER/NAME/resolve/REVISION/FILE
                name, revision, file = "/".join(asked[:2]), asked[3], "/".join(asked[4:])
            folder = repositories.get(name, Path("/nowhere"))
            body, lacking = b"", None
            if not folder.exists():
                lacking = "RepoNotFound"
            elif revision not in ("main", commit):
                lacking = "RevisionNotFound"
            elif file is None:
                files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
                told = [{"rfilename": str(p.relative_to(folder)), "size": p.stat().st_size} for p in files]
                body = json.dumps({"id": name, "sha": commit, "siblings": told}).encode()
            elif (folder / file).is_file():
                body = (folder / file).read_bytes()
            else:
                lacking = "EntryNotFound"
            self.send_response(404 if lacking else 200)
            if lacking:
                self.send_header("X-Error-Code", lacking)
            self.send_header("ETag", f'"{name.split("/")[1]}-{file}"'.replace("/", "-"))
            self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return body

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def fetch(endpoint: str, cache: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A new process that runs this code with this hub and this cache."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean | settings | environment
    )
