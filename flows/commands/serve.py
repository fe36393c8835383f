"""Look at snapshots, their reports and training runs in a browser: a small web server that reads and never writes.

triptych serve --root data                                   http://127.0.0.1:8600/
triptych serve --root data --root s3://videos/data           several roots, each a flow's --root
triptych serve --root data --runs runs                       training runs as well: http://127.0.0.1:8600/runs/
triptych serve --root data --host 0.0.0.0                    for other machines, too: whoever reaches it can read all
                                                             snapshots and reports of these roots

Where the workers of deployed runs have TRIPTYCH_REPORTS_URL=http://HOST:8600, Prefect's pages link to the reports here.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn

import uvicorn

from flows.engine.process import at_stop
from schemas.outcome import ServiceDown
from schemas.storage import AnyPath, parse_path
from tasks.pages.address import DEFAULT_PORT
from tasks.pages.server import app


def main(arguments: list[str] | None = None) -> None:
    try:
        asked = parser().parse_args(arguments)
    except ServiceDown as error:  # an address that holds a key
        sys.exit(f"ServiceDown: {error}")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    runs = absolute(asked.runs or [])
    roots = absolute(asked.root or ([] if runs else [Path("data")]))
    listener = listen(asked.host, asked.port)
    print(f"{address_of(listener)} shows {', '.join(map(str, [*roots, *runs]))}; Ctrl-C ends it", flush=True)
    # Beside the main thread, in which alone uvicorn takes signals for itself and then waits for open connections.
    serving = threading.Thread(target=make_server(roots, runs).run, args=([listener],), daemon=True)
    with at_stop(end):
        serving.start()
        serving.join()
    sys.exit("the server has ended")


def absolute(paths: Sequence[AnyPath]) -> list[AnyPath]:
    """Each once."""
    return list(dict.fromkeys(path.absolute() if isinstance(path, Path) else path for path in paths))


def end(stop: signal.Signals) -> NoReturn:
    """At once and without a word: it has nothing to put in order. SIGTERM is how a service is ended."""
    os._exit(0 if stop == signal.SIGTERM else 128 + stop)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="triptych serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root", type=parse_path, action="append", help="a flow's --root; again for more (default: data)"
    )
    parser.add_argument("--runs", type=parse_path, action="append", help="a folder of training runs; again for more")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine)")
    parser.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help=f"default: {DEFAULT_PORT}; 0: any that is free"
    )
    return parser


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections. Exits with one line if there can be none."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:  # UnicodeError: what can be no name
        match getattr(error, "errno", None):
            case errno.EADDRINUSE:
                why = "the port is taken, perhaps by another `triptych serve`; name another with --port"
            case errno.EACCES:
                why = "ports below 1024 are the administrator's; name another with --port"
            case _:
                told = getattr(error, "strerror", "no name of a host")
                why = f"{told}; --host is an address of this machine, such as 127.0.0.1 or 0.0.0.0"
        sys.exit(f"cannot listen at {host!r}, port {port}: {why}")
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio's own way misses it: 40 ms an answer
    return listener


def address_of(listener: socket.socket) -> str:
    """Where a browser on this machine finds it."""
    host, port = listener.getsockname()[:2]
    name = "localhost" if ip_address(host).is_unspecified else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def make_server(roots: Sequence[AnyPath], runs: Sequence[AnyPath] = ()) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app(roots, runs),
            lifespan="off",
            ws="none",
            http="h11",
            log_config=None,
            access_log=False,
            server_header=False,
        )
    )


def _port(text: str) -> int:
    if not 0 <= (number := int(text)) < 2**16:
        raise ValueError("a port is below 65536")
    return number
