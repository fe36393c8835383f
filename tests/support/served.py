"""Roots behind a running server of reports, on a loopback port: one that was free, or the one that is named.

with served([tmp_path / "data"]) as client:
    client.get("/").text
    raw(client, "GET /snapshots/../work HTTP/1.1\\r\\n...")     what no HTTP library would send
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

import httpx

from flows.commands.serve import address_of, listen, make_server
from schemas.storage import AnyPath


@contextlib.contextmanager
def served(roots: Sequence[AnyPath], port: int = 0, runs: Sequence[AnyPath] = ()) -> Iterator[httpx.Client]:
    listener = listen("127.0.0.1", port)
    server = make_server(roots, runs)
    thread = threading.Thread(target=server.run, args=([listener],), name="served")
    thread.start()
    try:
        with httpx.Client(base_url=address_of(listener), timeout=60, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
    assert not thread.is_alive()


def raw(client: httpx.Client, request: str) -> bytes:
    """The whole answer to a request as it stands, at the end of which the connection is closed."""
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=30) as connection:
        connection.sendall(request.encode("latin-1"))
        return b"".join(iter(lambda: connection.recv(2**16), b""))
