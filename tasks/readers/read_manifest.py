"""A manifest, or a folder of videos with captions beside them -> sources.

    {"video": "dog.mp4", "caption": "A woman throws a red ball to a dog."}
        -> Source(source_id="src-5f0c...", video_sha256="9b1e...", line=1, ...)

Manifests are JSON lines, CSV or Parquet with the columns of schemas.source.ManifestRow; other columns are left out. In
a folder, `dog.mp4` takes its caption from `dog.txt` beside it. An unusable line ends as an outcome that names the line,
whatever it holds; the others go on. Manifest and videos may lie in a store (s3://bucket/captions.jsonl).
"""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from schemas.local_copies import Content, fetch, file_content
from schemas.outcome import Outcome, RowFailed, RowRejected
from schemas.record import Record, column
from schemas.regular_files import NotRegular, open_regular
from schemas.source import ManifestRow, Source
from schemas.storage import REQUESTS_AT_ONCE, AnyPath, ObjectPath, at_once, write_atomic
from tasks.engine.inputs import Inputs
from tasks.engine.progress import counted
from tasks.readers.columns import Columns
from tasks.readers.folders import Folder, list_folder
from tasks.readers.lines import (
    MANIFEST_SUFFIXES,
    VIDEO_SUFFIXES,
    EndedLines,
    InputLine,
    ManifestError,
    bad_line,
    parse_line,
    read_lines,
    require_manifest,
)

STAGE = "read_manifest"
COLUMNS = Columns.of(ManifestRow)
MAX_SIDECAR_BYTES = 2**20  # a caption is far shorter, and a file without end is not read to its end
# What stays as it is until somebody changes it: to run again is no remedy.
_LASTING = frozenset({errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})

logger = logging.getLogger(__name__)

T = TypeVar("T")
U = TypeVar("U")


class ManifestListing(Record):
    """A manifest, read: every line is a source or an outcome."""

    sources: list[Source] = column("Usable lines, in the manifest's order")
    outcomes: list[Outcome] = column("Lines that ended here: unusable, or a repetition of an earlier one")


def read_manifest(
    manifest: AnyPath, limit: int | None = None, *, allow_outside: bool = False, known: AnyPath | None = None
) -> ManifestListing:
    """Read a manifest file or a folder of videos.

    limit: read only this many lines
    known: folder that caches each object's hash: only new objects are fetched
    Raises ManifestError if there is no manifest.
    """
    inputs = Inputs(folder=inputs_folder(manifest), allow_outside=allow_outside)
    lines = list(islice(_lines(manifest), limit))

    def read_line(line: InputLine) -> Source | RowFailed:
        return _read_line(line, inputs, lambda path: content_of(path, known))

    read = read_each(manifest, read_line, lines, "lines")
    sources: dict[str, Source] = {}
    ended = EndedLines(STAGE)
    for line, found in zip(lines, read, strict=True):
        if isinstance(found, Source):
            if found.source_id not in sources:
                sources[found.source_id] = found
                continue
            first = sources[found.source_id].line
            end: RowFailed | RowRejected = RowRejected(
                "duplicate_row", f"line {line.number}: same video, span and caption as line {first}"
            )
        else:
            end = found
        ended.add(line, end)
    return ManifestListing(sources=list(sources.values()), outcomes=ended.outcomes)


def inputs_folder(manifest: AnyPath) -> AnyPath:
    if isinstance(manifest, ObjectPath):  # called often, and asking a store is slow
        return manifest.parent if manifest.suffix.lower() in MANIFEST_SUFFIXES else manifest
    return manifest if manifest.is_dir() else manifest.parent


def read_each(place: AnyPath, read: Callable[[T], U], items: Sequence[T], unit: str) -> list[U]:
    """[read(item), ...], several at a time, with progress. place: their storage."""
    n_at_once = REQUESTS_AT_ONCE if isinstance(place, ObjectPath) else 4  # reading and hashing release the GIL
    size = max(1, min(64, len(items) // 1000))  # a task of the pool for each of many lines takes longer than to read it
    batches = [items[first : first + size] for first in range(0, len(items), size)]
    with ThreadPoolExecutor(n_at_once) as pool:
        read_batches = pool.map(lambda batch: [read(item) for item in batch], batches)
        return list(counted(chain.from_iterable(read_batches), unit, len(items)))


def content_of(path: AnyPath, known: AnyPath | None) -> Content:
    """A video's hash and size; `known` as in read_manifest. Raises OSError."""
    if isinstance(path, Path):
        return file_content(path)
    note = known / f"{path.stamp()}.json" if known is not None else None
    if note is not None:
        try:
            return Content(**json.loads(note.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            logger.debug("%s is new", path)
    content = fetch(path)
    if note is not None:
        write_atomic(note, json.dumps(content._asdict()).encode())
    return content


def _read_line(line: InputLine, inputs: Inputs, read_content: Callable[[AnyPath], Content]) -> Source | RowFailed:
    try:
        row = parse_line(line, ManifestRow)
        content = read_content(inputs.locate(row.video))
    except RowFailed as error:
        return RowFailed(error.reason, f"line {line.number}: {error.detail}", retryable=error.retryable)
    except OSError as error:
        return unreadable(f"line {line.number}: {row.video!r}", error)
    return Source(
        source_id=Source.id_of(content.sha256, row.caption, row.start_s, row.end_s),
        external_id=row.id,
        line=line.number,
        video=row.video,
        video_sha256=content.sha256,
        n_bytes=content.n_bytes,
        caption=row.caption,
        start_s=row.start_s,
        end_s=row.end_s,
    )


def unreadable(what: str, error: OSError) -> RowFailed:
    """The end of a line whose file cannot be opened or read."""
    if isinstance(error, NotRegular):
        return RowFailed("not_a_file", f"{what}: {error.strerror}", retryable=False)
    said = error.strerror or str(error)
    return RowFailed("missing_file", f"{what}: {said}", retryable=error.errno not in _LASTING)


# --- Kinds of manifest -----------------------------------------------------------------------


def _lines(manifest: AnyPath) -> Iterator[InputLine]:
    require_manifest(manifest)
    if manifest.is_dir():
        yield from _folder_lines(manifest, list_folder(manifest))
    else:
        yield from read_lines(manifest, COLUMNS)


def _folder_lines(place: Any, folder: Folder) -> Iterator[InputLine]:
    """A line for each video; then one for all that may be a video, or hold some, and cannot be read."""
    there = set(folder.files)
    videos = [path for path in folder.files if path.suffix.lower() in VIDEO_SUFFIXES]
    # A pipe or a link that does not end in .mp4 is none of ours; what cannot be looked at may hold videos.
    others = {
        path: error
        for path, error in folder.others.items()
        if path.suffix.lower() in VIDEO_SUFFIXES or not _leads_nowhere(error)
    }
    if not videos and not others:
        manifests = [path.name for path in folder.files if path.suffix.lower() in MANIFEST_SUFFIXES]
        remedy = f"give {manifests[0]} in it" if manifests else "give one that does"
        raise ManifestError(f"{place} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))}); {remedy}")

    def line(numbered: tuple[int, Any]) -> InputLine:
        number, video = numbered
        name = os.fspath(video.relative_to(place))
        values = {"video": name, "caption": None}
        try:
            _require_text(name)
            values["caption"] = _caption_beside(video, there)
        except RowFailed as error:
            return InputLine.of(number, values, error)
        return InputLine.of(number, values, values)

    yield from at_once(place, line, list(enumerate(videos, start=1)))
    for number, (path, error) in enumerate(others.items(), start=len(videos) + 1):
        name = os.fspath(path.relative_to(place))
        yield InputLine.of(number, {"video": name}, unreadable(repr(name), error))


def _leads_nowhere(error: OSError) -> bool:
    return isinstance(error, NotRegular | FileNotFoundError) or error.errno == errno.ELOOP


def _require_text(name: str) -> None:
    """Raises RowFailed if a file's name holds bytes that are no text in this machine's encoding."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        encoding = sys.getfilesystemencoding()
        detail = f"{name!r} is no name in {encoding}; rename it, or set a locale in UTF-8 (LC_ALL=C.UTF-8)"
        raise RowFailed("bad_path", detail, retryable=False) from error


def _caption_beside(video: Any, there: set[Any]) -> str | None:
    """The text of `dog.txt` beside `dog.mp4`, None if there is none. Raises RowFailed if it cannot be read."""
    sidecar = video.with_suffix(".txt")
    try:
        if isinstance(sidecar, ObjectPath):
            data = sidecar.read_bytes() if sidecar in there else b""
        elif os.path.lexists(sidecar):  # not `there`: a pipe and a link to nothing are no files, but meant as captions
            with open_regular(sidecar) as file:
                data = file.read(MAX_SIDECAR_BYTES + 1)
        else:
            return None
    except OSError as error:
        end = unreadable(f"its caption {sidecar.name!r}", error)
        raise RowFailed("unreadable_caption", end.detail, retryable=end.retryable) from error
    if len(data) > MAX_SIDECAR_BYTES:
        raise bad_line(f"its caption {sidecar.name!r} has more than {MAX_SIDECAR_BYTES} bytes")
    if b"\0" in data:
        raise bad_line(f"its caption {sidecar.name!r} is no text in UTF-8: it holds zero bytes; save it as UTF-8")
    try:  # line ends as text files have them
        return io.TextIOWrapper(io.BytesIO(data), "utf-8-sig").read().strip() or None
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x}"
        raise bad_line(f"its caption {sidecar.name!r} is not UTF-8 ({byte}); save it as UTF-8") from error
