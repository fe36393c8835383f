"""A read-only web server of reports, snapshots and training runs: an index, pages, files.

app([Path("data"), parse_path("s3://videos/data")])      an ASGI application; `triptych serve` runs it

    GET /                                   every snapshot, with its tally and links
    GET /reports/matrix11k-3f9c/            its report; /reports/matrix11k-3f9c/clips/clip-81b2.mp4: a film of it
    GET /snapshots/matrix11k-3f9c/          its tables; /snapshots/matrix11k-3f9c/clips/shard-07aa.parquet: a file
    GET /runs/                              training runs, side by side; /runs/matrix-3f9c/: the page of one
    GET /health                             200 while the server answers

Files are given in parts too (Range: videos seek), and not again to a browser that has them (ETag). It answers only to
names that are its own: a page of another site, whose name was made to lead here, reads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import logging
import re
import socket
from collections.abc import Sequence
from email.utils import formatdate, parsedate_to_datetime
from pathlib import PurePosixPath
from urllib.parse import quote, urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.outcome import ServiceDown
from schemas.storage import AnyPath
from tasks.engine.snapshots import ID, SnapshotError
from tasks.pages.address import reports_url
from tasks.pages.page import SCRIPT, environment
from tasks.pages.published import find_entry, look_at
from tasks.pages.stored_files import PLACES, RUNS, StoredFile, find_file
from tasks.training.runs.page import runs_page, shelf_of

logger = logging.getLogger(__name__)

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".mp4": "video/mp4",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".parquet": "application/vnd.apache.parquet",
}
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><g fill="#2b6c8a"><path d="M1 4l3-1v10l-3-1z"/>'
    '<path d="M5 2h6v12H5z"/><path d="M12 3l3 1v8l-3 1z"/></g></svg>'
)
N_OPEN = 20  # snapshots of a root that the index shows unfolded
TEMPLATES = environment()


def app(roots: Sequence[AnyPath], runs: Sequence[AnyPath] = ()) -> ASGIApp:
    """The application over these roots and folders of training runs.

    TRIPTYCH_REPORTS_URL names it to those who come by another name.
    """

    # Endpoints that are no coroutines run in threads: a slow disk or store holds up nobody else.
    def index(request: Request) -> Response:
        return page("index.html.j2", shelves=[look_at(root) for root in roots], n_open=N_OPEN, has_runs=bool(runs))

    def all_runs(request: Request) -> Response:
        if not runs:
            return absent(request)
        return html(runs_page([shelf_of(folder) for folder in runs], home="../"))

    def health(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    def icon(request: Request) -> Response:
        return Response(ICON, media_type="image/svg+xml")

    def snapshot(request: Request) -> Response:
        found = find_entry(roots, request.path_params["id"])
        if found is None:
            return absent(request)
        entry, manifest = found
        return page("snapshot.html.j2", entry=entry, manifest=manifest)

    def file(request: Request) -> Response:
        place, id = request.path_params["place"], request.path_params["id"]
        found = find_file(runs if place == RUNS else roots, place, id, request.path_params.get("name") or "index.html")
        return absent(request) if found is None else send_file(found, request)

    def with_slash(request: Request) -> Response:
        place, id = request.path_params["place"], request.path_params["id"]
        if place not in (*PLACES, RUNS) or not ID.fullmatch(id):
            return absent(request)
        return RedirectResponse(f"{quote(id)}/", 308)  # relative: a proxy may show the server below a path of its own

    routed = Starlette(
        routes=[
            Route("/", index),
            Route("/health", health),
            Route("/favicon.ico", icon),
            Route("/snapshots/{id}/", snapshot),
            Route(f"/{RUNS}/", all_runs),
            Route(f"/{RUNS}/index.html", all_runs),  # as the runs' pages call it, which may be opened as files
            Route("/{place}/{id}/", file),
            Route("/{place}/{id}", with_slash),
            Route("/{place}/{id}/{name:path}", file),
        ],
        exception_handlers={
            404: lambda request, _: absent(request),
            SnapshotError: lambda _, error: PlainTextResponse(f"{error}\n", 404),
            ServiceDown: lambda _, error: PlainTextResponse(f"{error}\n", 503),
            PermissionError: lambda _, error: PlainTextResponse("This server may not read it.\n", 403),
            OSError: lambda _, error: PlainTextResponse(f"It cannot be read: {error}\n", 503),
        },
    )
    return Guarded(routed, urlsplit(reports_url() or "").hostname)


def page(template: str, **values: object) -> Response:
    return html(TEMPLATES.get_template(template).render(**values))


def html(text: str) -> Response:
    return HTMLResponse(text, headers={"cache-control": "no-store"})


def absent(request: Request) -> Response:
    return PlainTextResponse("There is no such snapshot, report, run or file here. / lists what there is.\n", 404)


# --- Files -----------------------------------------------------------------------------------


def send_file(file: StoredFile, request: Request) -> Response:
    """A file, the part of it that is asked for, or that the browser's copy is still right."""
    etag = f'"{file.stamp}"'
    headers = {
        "accept-ranges": "bytes",
        "etag": etag,
        "cache-control": "private, no-cache",  # kept, and asked after: a report may be written again
        "content-type": TYPES.get(PurePosixPath(file.name).suffix.lower(), "application/octet-stream"),
    }
    if file.written_s is not None:
        headers["last-modified"] = formatdate(file.written_s, usegmt=True)
    start, end, status = 0, file.n_bytes, 200
    if is_unchanged(request, etag, file.written_s):
        status = 304
    elif (asked := request.headers.get("range")) and request.method == "GET" and is_same(request, headers):
        match span_of(asked, file.n_bytes):
            case None:
                pass
            case (first, last) if first < last:
                start, end, status = first, last, 206
                headers["content-range"] = f"bytes {start}-{end - 1}/{file.n_bytes}"
            case _:
                status = 416
                headers["content-range"] = f"bytes */{file.n_bytes}"
    if status in (304, 416) or request.method == "HEAD":
        file.close()
        if status == 200:
            headers["content-length"] = str(file.n_bytes)
        return Response(None, status, headers)
    headers["content-length"] = str(end - start)
    return Blocks(file.blocks(start, end), status, headers)


def is_unchanged(request: Request, etag: str, written_s: float | None) -> bool:
    """Does the browser have the file as it is? Its ETag decides; without one, its date (RFC 9110, 13.2.2)."""
    if (known := request.headers.get("if-none-match")) is not None:
        return known.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in known.split(",")}
    since = _seconds(request.headers.get("if-modified-since"))
    return since is not None and written_s is not None and int(written_s) <= since


def is_same(request: Request, headers: dict[str, str]) -> bool:
    """May a part be sent? Not if the browser has other parts of an older file."""
    known = request.headers.get("if-range")
    return known is None or known.strip() in (headers["etag"], headers.get("last-modified"))


def span_of(asked: str, n_bytes: int) -> tuple[int, int] | None:
    """(start, end) without end of a Range header; empty if the file has no such bytes.

    None if it is to be ignored: malformed, or of several parts, which a server need not give (RFC 9110, 14.2).
    """
    found = re.fullmatch(r"\s*bytes\s*=\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*", asked, re.IGNORECASE)
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return max(0, n_bytes - int(last)), n_bytes
    if last and int(last) < int(first):
        return None
    return int(first), min(n_bytes, int(last) + 1) if last else n_bytes


def _seconds(date: str | None) -> float | None:
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


class Blocks(StreamingResponse):
    """A body, block by block. If a block cannot be read, the connection ends in its midst, with a line in the log."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except (OSError, ServiceDown) as error:
            logger.warning("%s was not sent whole: %s", scope["path"], error)


# --- What every answer has -------------------------------------------------------------------


def policy() -> str:
    """The Content-Security-Policy of every answer.

    Of scripts, only the one of the report pages runs, known by its hash: whatever a caption smuggled in would not.
    """
    script = TEMPLATES.get_template(SCRIPT).render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src 'self'; "
        "media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


HEADERS = {
    "content-security-policy": policy(),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guarded:
    """Puts HEADERS on every answer, and answers only to names that are this server's own.

    name: one more than those that it knows
    """

    def __init__(self, app: ASGIApp, name: str | None) -> None:
        self.app = app
        self.names = {"localhost", socket.gethostname().lower(), name}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            await send(message)

        host = Request(scope).headers.get("host", "")
        answer = self.app if self.is_own(host) else refused(host)
        await answer(scope, receive, send_with_headers)

    def is_own(self, host: str) -> bool:
        """Is a Host header one of this server's? Another name may have been made to lead here (DNS rebinding)."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            return name in self.names or bool(ipaddress.ip_address(name))
        except ValueError:
            return False


def refused(host: str) -> Response:
    return PlainTextResponse(
        f"This server answers to localhost, to IP addresses and to the name in TRIPTYCH_REPORTS_URL, not to "
        f"{host[:80]!r}. To open it by that name: TRIPTYCH_REPORTS_URL=http://NAME:PORT triptych serve ...\n",
        421,
    )
