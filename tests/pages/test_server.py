"""The server of reports and snapshots: parts, types, copies that are still right, nothing that is not to be shown."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tasks.engine.snapshots import Snapshot
from tasks.pages.stored_files import BLOCK_BYTES
from tests.support.pages import Page
from tests.support.s3_server import S3Server, bucket, s3, s3_server  # noqa: F401 - fixtures
from tests.support.served import raw, served
from tests.support.toy.flow import CurateToy, curate_toy

FILM = bytes(range(256)) * 8
SECRET = b"nobody's business"


class Site(NamedTuple):
    client: httpx.Client
    root: Path
    snapshot: Snapshot

    @property
    def id(self) -> str:
        return self.snapshot.id


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A published dataset with its report; beside the page a film, and files of every kind that is not to be shown."""
    root = tmp_path_factory.mktemp("a root & more") / "data"
    snapshot = Snapshot(curate_toy.fn(CurateToy(root=root, words="the dog throws a ball", count={"forbidden": "g"})))
    report = root / "reports" / snapshot.id
    (report / "clips").mkdir()
    (report / "clips" / "a film.mp4").write_bytes(FILM)
    (report / "clips" / "EMPTY.MP4").write_bytes(b"")
    (report / "evil.html.svg").write_bytes(b"<svg onload=alert(1)>")
    (root / "work" / "key.json").write_bytes(SECRET)
    (root / "secret.json").write_bytes(SECRET)
    for hidden in (report / ".hidden.json", report / ".aside" / "key.json", root / "reports" / ".draft" / "key.json"):
        hidden.parent.mkdir(exist_ok=True)
        hidden.write_bytes(SECRET)
    (report / "up").symlink_to(root)
    (report / "secret.json").symlink_to(root / "work" / "key.json")
    (report / "shown-as.json").symlink_to(report / ".hidden.json")
    (report / "circle.json").symlink_to("circle.json")
    (report / "inside.mp4").symlink_to(report / "clips" / "a film.mp4")
    os.mkfifo(report / "pipe.mp4")
    (root / "snapshots" / "linked-1").symlink_to(root / "work")
    with served([root.parent / "missing", root]) as client:
        yield Site(client, root, snapshot)


# --- Pages -----------------------------------------------------------------------------------


def test_the_index_leads_to_the_report_and_every_file_of_it_is_there(site: Site) -> None:
    index = Page(site.client.get("/").text)
    assert f"{site.id} LATEST" in index.text
    assert "3 inputs 2 accepted 1 rejected 0 failed" in index.text
    links = index.attributes("a", "href")
    assert links == [f"reports/{site.id}/", f"snapshots/{site.id}/"]
    report = site.client.get(f"/{links[0]}")
    assert report.text == (site.root / "reports" / site.id / "index.html").read_text()
    files = site.client.get(f"/{links[1]}")
    for link in Page(files.text).attributes("a", "href"):
        if not link.startswith("#"):
            assert site.client.get(files.url.join(link)).status_code == 200, link
    parquet = [file.path for file in site.snapshot.manifest.files]
    assert set(parquet) <= set(Page(files.text).attributes("a", "href"))


def test_the_lines_of_python_that_the_index_tells_read_the_snapshot(site: Site) -> None:
    lines, path = re.findall(r'<pre class="copy"><code>(.*?)</code>', site.client.get("/").text, re.DOTALL)
    names: dict[str, Snapshot] = {}
    exec(lines.replace("&#34;", '"').replace("&amp;", "&"), names)
    assert names["snapshot"].manifest == site.snapshot.manifest
    assert Path(path.replace("&amp;", "&")) == site.snapshot.folder


@pytest.mark.parametrize("place", ["reports", "snapshots"])
def test_an_address_without_its_slash_is_mended_wherever_the_server_is_mounted(site: Site, place: str) -> None:
    answer = site.client.get(f"/{place}/{site.id}")
    assert (answer.status_code, answer.headers["location"]) == (308, f"{site.id}/")
    assert site.client.get(answer.url.join(answer.headers["location"])).status_code == 200


# --- Files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-1", 206, 0, 2),  # Safari's first question
        ("bytes=0-", 206, 0, 2048),  # Chrome's
        ("bytes=100-199", 206, 100, 200),
        ("bytes=2047-", 206, 2047, 2048),
        ("bytes=-5", 206, 2043, 2048),
        ("bytes=-9999", 206, 0, 2048),
        ("bytes=5-99999999999", 206, 5, 2048),
        ("Bytes = 1-2", 206, 1, 3),
        ("bytes=2048-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=5-2", 200, 0, 2048),  # malformed or of several parts: the whole file
        ("bytes=-", 200, 0, 2048),
        ("bytes=0-1,5-6", 200, 0, 2048),
        ("bytes=a-b", 200, 0, 2048),
        ("bytes=" + 30 * "9" + "-", 200, 0, 2048),
        ("bytes=1\xb2-", 200, 0, 2048),
        ("lines=0-1", 200, 0, 2048),
    ],
)
def test_a_part_of_a_file(site: Site, asked: str, status: int, start: int, end: int) -> None:
    headers = {"range": asked.encode("latin-1")}
    answer = site.client.get(f"/reports/{site.id}/clips/a%20film.mp4", headers=headers)
    assert answer.status_code == status
    assert answer.content == FILM[start:end]
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers.get("content-range") == {206: f"bytes {start}-{end - 1}/2048", 416: "bytes */2048"}.get(
        status
    )
    assert answer.headers["accept-ranges"] == "bytes"


def test_of_an_empty_file_there_is_no_part(site: Site) -> None:
    url = f"/reports/{site.id}/clips/EMPTY.MP4"
    assert site.client.get(url).content == b""
    assert site.client.get(url, headers={"range": "bytes=0-"}).status_code == 416


def test_head_tells_what_get_would(site: Site) -> None:
    for url in ("/", f"/reports/{site.id}/", f"/snapshots/{site.id}/manifest.json", "/nothing", "/health"):
        head, get = site.client.head(url), site.client.get(url)
        assert head.content == b""
        assert head.status_code == get.status_code
        changing = {"date"}
        assert {k: v for k, v in head.headers.items() if k not in changing} == {
            k: v for k, v in get.headers.items() if k not in changing
        }
    part = site.client.head(f"/reports/{site.id}/clips/a%20film.mp4", headers={"range": "bytes=0-1"})
    assert (part.status_code, part.headers["content-length"]) == (200, "2048")  # a Range is of GET alone


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("reports/{id}/", "text/html; charset=utf-8"),
        ("reports/{id}/clips/a%20film.mp4", "video/mp4"),
        ("reports/{id}/clips/EMPTY.MP4", "video/mp4"),
        ("reports/{id}/inside.mp4", "video/mp4"),
        ("reports/{id}/evil.html.svg", "application/octet-stream"),
        ("snapshots/{id}/README.md", "text/plain; charset=utf-8"),
        ("snapshots/{id}/manifest.json", "application/json"),
        ("snapshots/{id}/{parquet}", "application/vnd.apache.parquet"),
    ],
)
def test_types(site: Site, path: str, kind: str) -> None:
    answer = site.client.get("/" + path.format(id=site.id, parquet=site.snapshot.manifest.files[0].path))
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_a_browser_has_is_not_sent_again(site: Site) -> None:
    report = site.root / "reports" / site.id / "told.json"
    report.write_bytes(b"1")
    url = f"/reports/{site.id}/told.json"
    first = site.client.get(url)
    etag, date = first.headers["etag"], first.headers["last-modified"]
    assert "no-cache" in first.headers["cache-control"]
    for headers in ({"if-none-match": etag}, {"if-none-match": f'"x", W/{etag}'}, {"if-none-match": "*"}):
        again = site.client.get(url, headers=headers)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert site.client.get(url, headers={"if-modified-since": date}).status_code == 304
    for headers in (
        {"if-none-match": '"x"', "if-modified-since": date},  # the ETag decides
        {"if-modified-since": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"if-modified-since": "yesterday"},
        {"if-modified-since": "Thu, 01 Jan 99999 00:00:00 GMT"},
    ):
        assert site.client.get(url, headers=headers).status_code == 200
    report.write_bytes(b"2")  # at once, of the same length
    os.utime(report, ns=(1, report.stat().st_mtime_ns + 1))
    assert site.client.get(url, headers={"if-none-match": etag}).content == b"2"


def test_a_part_is_not_of_another_file_than_the_parts_before(site: Site) -> None:
    url = f"/reports/{site.id}/clips/a%20film.mp4"
    first = site.client.get(url)
    for known, status in ((first.headers["etag"], 206), (first.headers["last-modified"], 206), ('"x"', 200)):
        assert site.client.get(url, headers={"range": "bytes=0-1", "if-range": known}).status_code == status


# --- What it does not show --------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/work/key.json",
        "/snapshots",
        "/reports/",
        "/work/{id}/",
        "/secret.json",
        "/reports/{id}/../../work/key.json",
        "/reports/{id}/..%2f..%2fwork%2fkey.json",
        "/reports/{id}/%2e%2e/%2e%2e/work/key.json",
        "/reports/{id}/%252e%252e/%252e%252e/work/key.json",
        "/reports/{id}/..\\..\\work\\key.json",
        "/reports/../work/key.json",
        "/reports/%2e%2e/work/key.json",
        "/reports/..",
        "/snapshots/..%2fwork/key.json",
        "//etc/passwd",
        "/reports/{id}//etc/passwd",
        "/reports/{id}/%2fetc%2fpasswd",
        "/reports//{id}/index.html",
        "/reports/{id}/clips/./a%20film.mp4",
        "/reports/{id}/index.html%00.mp4",
        "/reports/{id}/%00",
        "/reports/{id}/%ff%fe",
        "/reports/{id}/%0aindex.html",
        "/reports/{id}%0a/index.html",
        "/reports/{id}/" + 300 * "a",
        "/reports/{id}/" + 2000 * "a/",
        "/reports/{id}/index.html/x",
        "/reports/{id}/clips",
        "/reports/{id}/clips/",
        "/reports/{id}/.hidden.json",
        "/reports/{id}/.aside/key.json",
        "/reports/.draft/key.json",
        "/reports/{id}/up/work/key.json",
        "/reports/{id}/up/secret.json",
        "/reports/{id}/secret.json",
        "/reports/{id}/shown-as.json",
        "/reports/{id}/circle.json",
        "/reports/{id}/pipe.mp4",
        "/snapshots/linked-1/key.json",
        "/snapshots/linked-1/",
        "/snapshots/LATEST",
        "/snapshots/LATEST/",
        "/snapshots/none-1/",
        "/reports/" + 300 * "a" + "/",
    ],
)
def test_nothing_else_is_shown(site: Site, path: str) -> None:
    request = f"GET {path.format(id=site.id)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    head, _, body = raw(site.client, request).partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 308 "):  # to itself with a slash
        target = re.search(rb"location: (\S+)", head)
        assert target is not None
        assert (
            site.client.get(httpx.URL(str(site.client.base_url)).join(path).join(target[1].decode())).status_code == 404
        )
        return
    assert re.match(rb"HTTP/1.1 (404|400) ", head), head
    assert SECRET not in body
    assert b"root:" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_it_only_reads(site: Site, method: str) -> None:
    for path in ("/", f"/reports/{site.id}/", f"/snapshots/{site.id}/manifest.json"):
        answer = site.client.request(method, path, content=b"x" if method in ("POST", "PUT") else None)
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8600", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8600", 200),
        ("192.168.1.7:8600", 200),
        (socket.gethostname(), 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        ("[::1", 421),
    ],
)
def test_a_name_that_was_made_to_lead_here_reads_nothing(site: Site, host: str, status: int) -> None:
    """DNS rebinding: a page of evil.example, whose address has become this machine's, asks its own server."""
    request = f"GET /snapshots/{site.id}/manifest.json HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    head, _, body = raw(site.client, request).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), head
    assert (b"snapshot_id" in body) == (status == 200)


def test_the_name_that_workers_link_to_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_REPORTS_URL", "https://Reports.Example:8443/triptych/")
    with served([tmp_path]) as client:
        assert client.get("/", headers={"host": "reports.example:8443"}).status_code == 200
        assert client.get("/", headers={"host": "example"}).status_code == 421


def test_every_answer_keeps_browsers_from_harm(site: Site) -> None:
    answers = [
        site.client.get(path) for path in ("/", f"/reports/{site.id}/", "/none", f"/snapshots/{site.id}/README.md")
    ]
    answers += [site.client.post("/"), site.client.get("/", headers={"host": "evil.example"})]
    for answer in answers:
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert re.fullmatch(r"'sha256-[\w+/=]+'", policy["script-src"])
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers


# --- Many and large --------------------------------------------------------------------------


def test_many_are_answered_at_once_and_a_slow_one_holds_up_nobody(site: Site) -> None:
    url = f"/reports/{site.id}/clips/a%20film.mp4"
    large = site.root / "reports" / site.id / "large.mp4"
    with large.open("wb") as file:
        file.truncate(64 * BLOCK_BYTES)
    slow = [socket.create_connection(("127.0.0.1", site.client.base_url.port)) for _ in range(60)]
    try:
        for connection in slow:  # asks for all of it and reads nothing; or has not even asked
            connection.sendall(f"GET /reports/{site.id}/large.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        started_s = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            spans = [(n, n + 9) for n in range(200)]
            parts = pool.map(lambda s: site.client.get(url, headers={"range": f"bytes={s[0]}-{s[1]}"}).content, spans)
            assert list(parts) == [FILM[first : last + 1] for first, last in spans]
        assert time.monotonic() - started_s < 30
    finally:
        for connection in slow:
            connection.close()
    with site.client.stream("GET", f"/reports/{site.id}/large.mp4") as answer:
        assert sum(map(len, answer.iter_raw())) == 64 * BLOCK_BYTES


def test_an_answer_does_not_wait_for_the_one_before_to_be_acknowledged(site: Site) -> None:
    """Nagle's algorithm with delayed acknowledgements: 40 ms for each of the hundreds of parts of a page."""
    durations_s = []
    for _ in range(30):
        started_s = time.monotonic()
        site.client.get(f"/reports/{site.id}/clips/a%20film.mp4", headers={"range": "bytes=0-9"})
        durations_s.append(time.monotonic() - started_s)
    assert sorted(durations_s)[5] < 0.03  # the machine may be busy with other things


@pytest.mark.logs_errors  # uvicorn's, that an answer is not complete
@pytest.mark.parametrize("how", ["replaced", "cut"])
def test_a_file_that_changes_while_it_is_sent(site: Site, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Replaced, as reports are: the old one is sent whole. Cut: the connection ends, and nobody takes it for whole."""
    path = site.root / "reports" / site.id / f"{how}.mp4"
    path.write_bytes(bytes(32 * BLOCK_BYTES))
    with site.client.stream("GET", f"/reports/{site.id}/{how}.mp4") as answer:
        blocks = answer.iter_raw()
        n_bytes = len(next(blocks))
        if how == "replaced":
            path.with_name("aside").write_bytes(b"new")
            path.with_name("aside").replace(path)
            assert n_bytes + sum(map(len, blocks)) == 32 * BLOCK_BYTES
            return
        os.truncate(path, 10)
        with pytest.raises(httpx.RemoteProtocolError):
            list(blocks)
    assert "became shorter" in caplog.text


# --- In a store ------------------------------------------------------------------------------


@pytest.mark.slow
def test_reports_in_a_bucket_are_served_as_those_on_a_disk(
    site: Site,
    bucket,  # noqa: F811
    s3: S3Server,  # noqa: F811
) -> None:
    s3.upload(site.root / "snapshots" / site.id, "videos", f"data/snapshots/{site.id}")
    s3.upload(site.root / "reports" / site.id / "clips", "videos", f"data/reports/{site.id}/clips")
    for name, body in (
        (f"reports/{site.id}/index.html", (site.root / "reports" / site.id / "index.html").read_bytes()),
        (f"reports/{site.id}/.hidden.json", SECRET),
        ("work/key.json", SECRET),
        ("snapshots/LATEST", site.id.encode()),
        ("snapshots/cut-1/clips/a.parquet", b"x"),
        ("snapshots/bad-1/manifest.json", b"{"),
    ):
        s3.client.put_object(Bucket="videos", Key=f"data/{name}", Body=body)
    with served([bucket / "data", bucket / "nothing", bucket.parent / "no-bucket" / "data"]) as client:
        index = Page(client.get("/").text).text
        assert f"{site.id} LATEST" in index
        assert "3 inputs 2 accepted 1 rejected 0 failed" in index
        assert "cut-1 cannot be read" in index
        assert "bad-1 cannot be read" in index
        assert "Nothing was published here yet: there is no s3://videos/nothing/snapshots." in index
        assert "there is no such bucket" in index
        assert "s3://videos/data" in index
        assert client.get(f"/reports/{site.id}/").text == site.client.get(f"/reports/{site.id}/").text
        film = f"/reports/{site.id}/clips/a%20film.mp4"
        s3.asked.clear()
        part = client.get(film, headers={"range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, FILM[100:200])
        assert part.headers["content-range"] == "bytes 100-199/2048"
        assert s3.count("GET", "film") == 1
        assert client.get(film, headers={"if-none-match": part.headers["etag"]}).status_code == 304
        assert client.head(film).headers["content-length"] == "2048"
        assert client.get(f"/snapshots/{site.id}/").status_code == 200
        assert client.get("/snapshots/bad-1/").status_code == 404
        assert client.get("/snapshots/none-1/").status_code == 503  # a root that cannot be read may have it
    with served([bucket / "data"]) as client:
        for path in (
            "work/key.json",
            f"reports/{site.id}/.hidden.json",
            f"reports/{site.id}/clips",
            "snapshots/none-1/",
        ):
            assert client.get(f"/{path}").status_code == 404
        s3.refuse("HEAD", "film", 403)
        refused = client.get(film)
        assert refused.status_code == 503
        assert "AWS_ACCESS_KEY_ID" in refused.text
