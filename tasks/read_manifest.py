"""A manifest, or a folder of videos with side-car captions -> sources.

    {"video": "dog.mp4", "caption": "A woman throws a red ball to a dog."}
        -> Source(source_id="src-5f0c...", video_sha256="9b1e...", line=1, ...)

Manifests are JSON lines, CSV or Parquet with the columns of schemas.source.ManifestRow. In a folder,
`dog.mp4` takes its caption from `dog.txt` beside it. A line that cannot be used ends as an outcome that
names the line; the others go on. Manifest and videos may lie in a store (s3://bucket/captions.jsonl).
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.local_copies import Content, ContentChanged, fetch, file_sha256, local_copy
from schemas.outcome import Outcome, RowFailed, RowRejected
from schemas.record import Record, column, content_hash
from schemas.source import ManifestRow, Source
from schemas.storage import AnyPath, DataPath, ObjectPath, at_once, list_files, write_atomic

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts"})
MANIFEST_SUFFIXES = frozenset({".jsonl", ".ndjson", ".csv", ".parquet"})
KINDS = ".jsonl, .csv or .parquet"
STAGE = "read_manifest"

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)


class ManifestError(ValueError):
    """The manifest as a whole cannot be read."""


class Inputs(BaseModel):
    """Where the videos lie, and how far out of there a manifest may point."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: DataPath
    allow_outside: bool = False

    def locate(self, video: str) -> AnyPath:
        """The file that a manifest's `video` names. Raises RowFailed if it may not be, or cannot be, read.

        A manifest reaches only what lies in the same kind of storage as itself.
        """
        if "\0" in video:
            raise RowFailed("bad_path", f"{video!r} holds a zero byte", retryable=False)
        path: AnyPath
        if isinstance(self.folder, ObjectPath):
            path = _locate_object(self.folder, video)
            is_inside = path.is_relative_to(self.folder)
        else:
            path = _locate_file(self.folder, video)
            is_inside = path.is_relative_to(self.folder.resolve())
        if not self.allow_outside and not is_inside:
            raise RowFailed(
                "outside_folder",
                f"{video!r} leads out of the manifest's folder; move it there or set allow_outside",
                retryable=False,
            )
        return path

    def verified(self, video: str, sha256: str) -> Path:
        """A file with the bytes that the row was planned with: the located one, or a copy of the located object."""
        path = self.locate(video)
        changed = RowFailed("input_changed", f"{video!r} was rewritten while it was curated; run again", retryable=True)
        try:
            if isinstance(path, ObjectPath):
                return local_copy(path, sha256)
            if file_sha256(path) != sha256:
                raise changed
        except ContentChanged as error:
            raise changed from error
        except OSError as error:
            raise RowFailed("missing_file", f"{video!r}: {error.strerror}", retryable=True) from error
        return path


def _locate_file(folder: Path, video: str) -> Path:
    parts = urlsplit(video)
    if parts.scheme == "file":
        path = Path(unquote(parts.path))
    elif "://" in video:
        raise RowFailed("unsupported_uri", f"{video!r}: only paths and file:// URIs are read", retryable=False)
    else:
        path = Path(video)
    return (folder.resolve() / path).resolve()


def _locate_object(folder: ObjectPath, video: str) -> ObjectPath:
    own = f"{folder.scheme}://"
    if video.startswith(own):
        path = ObjectPath(folder.scheme, PurePosixPath(video.removeprefix(own)))
    elif "://" in video or video.startswith("/"):
        raise RowFailed(
            "unsupported_uri", f"{video!r}: only keys below {folder} and {own} addresses are read", retryable=False
        )
    else:
        path = folder / video
    try:
        return path.checked()
    except ValueError as error:  # asked for it, the store would not answer: that looks like a store in trouble
        raise RowFailed("bad_path", str(error), retryable=False) from error


class Listing(Record):
    """A manifest, read: every line is a source or an outcome."""

    sources: list[Source] = column("Usable lines, in the manifest's order")
    outcomes: list[Outcome] = column("Lines that ended here: unusable, or a repetition of an earlier one")


def read_manifest(manifest: AnyPath, *, allow_outside: bool = False, known: AnyPath | None = None) -> Listing:
    """Read a manifest file or a folder of videos.

    known: folder that remembers what each object holds, so that only new ones are fetched to be hashed
    Raises ManifestError if there is nothing there that could be a manifest at all.
    """
    inputs = Inputs(folder=inputs_folder(manifest), allow_outside=allow_outside)
    lines = list(_lines(manifest))

    def read_line(line: Line) -> Source | RowFailed:
        return _read_line(line, inputs, lambda path: content_of(path, known))

    if isinstance(manifest, ObjectPath):
        read = at_once(manifest, read_line, lines)
    else:
        with ThreadPoolExecutor(max_workers=4) as pool:  # reading and hashing release the GIL
            read = list(pool.map(read_line, lines))

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
    return Listing(sources=list(sources.values()), outcomes=ended.outcomes)


def inputs_folder(manifest: AnyPath) -> AnyPath:
    if isinstance(manifest, ObjectPath):  # asked often, and a store takes its time to tell
        return manifest.parent if manifest.suffix.lower() in MANIFEST_SUFFIXES else manifest
    return manifest if manifest.is_dir() else manifest.parent


def content_of(path: AnyPath, known: AnyPath | None) -> Content:
    """What a video holds; `known` as in read_manifest. Raises OSError."""
    if isinstance(path, Path):
        return Content(file_sha256(path), path.stat().st_size)
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


def _read_line(line: Line, inputs: Inputs, read_content: Callable[[AnyPath], Content]) -> Source | RowFailed:
    try:
        row = parse_line(line, ManifestRow)
        content = read_content(inputs.locate(row.video))
    except RowFailed as error:
        return RowFailed(error.reason, f"line {line.number}: {error.detail}", retryable=error.retryable)
    except OSError as error:
        return RowFailed("missing_file", f"line {line.number}: {row.video!r}: {error.strerror}", retryable=True)
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


# --- Kinds of manifest -----------------------------------------------------------------------


def require_manifest(manifest: AnyPath) -> None:
    """Raises ManifestError unless it is a folder, or a file of a kind that is read."""
    if manifest.is_dir():
        return
    if not manifest.is_file():
        raise ManifestError(f"{manifest} does not exist; give a {KINDS} manifest or a folder of videos")
    if manifest.suffix.lower() not in MANIFEST_SUFFIXES:
        raise ManifestError(f"{manifest}: {manifest.suffix or 'no suffix'} is no manifest; use {KINDS}")


def _lines(manifest: AnyPath) -> Iterator[Line]:
    require_manifest(manifest)
    if manifest.is_dir():
        yield from (Line(number, values) for number, values in enumerate(_folder_rows(manifest), start=1))
    else:
        yield from read_lines(manifest)


def _folder_rows(folder: AnyPath) -> list[dict[str, Any]]:
    files = list_files(folder)
    there = set(files)
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if not videos:
        raise ManifestError(f"{folder} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))})")

    def row(video: Any) -> dict[str, Any]:
        sidecar = video.with_suffix(".txt")
        caption = sidecar.read_text("utf-8", errors="replace").strip() if sidecar in there else None
        return {"video": os.fspath(video.relative_to(folder)), "caption": caption or None}

    return at_once(folder, row, videos)


# --- Lines of a table ------------------------------------------------------------------------


class Line(NamedTuple):
    number: int  # in the file, from 1
    raw: bytes | dict[str, Any]  # JSON text, or column values


def read_lines(table: AnyPath) -> Iterator[Line]:
    """The lines of a JSON lines, CSV or Parquet file. Raises ManifestError if the file as a whole is none."""
    try:
        match table.suffix.lower():
            case ".jsonl" | ".ndjson":
                # Not splitlines(): a caption may hold U+2028, which ends no line of JSON.
                lines = enumerate(table.read_bytes().split(b"\n"), start=1)
                yield from (Line(number, raw) for number, raw in lines if raw.strip())
            case ".csv":
                reader = csv.DictReader(io.StringIO(table.read_text("utf-8-sig"), newline=""), strict=True)
                yield from (Line(reader.line_num, _csv_values(row)) for row in reader)
            case ".parquet":
                rows = pq.read_table(pa.BufferReader(table.read_bytes())).to_pylist()
                yield from (Line(number, row) for number, row in enumerate(rows, start=1))
    except (csv.Error, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise ManifestError(f"{table} cannot be read: {error}") from error


def _csv_values(row: dict[Any, Any]) -> dict[str, Any]:
    """CSV knows no null and no numbers: an empty cell is no value, the rest Pydantic converts."""
    return {str(name): value for name, value in row.items() if value not in ("", None)}


def parse_line(line: Line, record: type[R]) -> R:
    """A line as a record. Raises RowFailed("bad_line") with every column that is not as the record wants it."""
    try:
        values = json.loads(line.raw.decode("utf-8-sig")) if isinstance(line.raw, bytes) else line.raw
        row = record.model_validate(values)
        row.model_dump_json()  # a lone surrogate cannot be stored
        return row
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'row'}: {e['msg']}" for e in error.errors())
        raise RowFailed("bad_line", problems, retryable=False) from error
    except (ValueError, RecursionError) as error:
        raise RowFailed("bad_line", f"not a JSON object: {error}", retryable=False) from error


class EndedLines:
    """Outcomes of the lines of which nothing came."""

    def __init__(self, stage: str) -> None:
        self.outcomes: list[Outcome] = []
        self._stage = stage
        self._occurrences: Counter[str] = Counter()

    def add(self, line: Line, end: RowFailed | RowRejected) -> None:
        # Such a line is known by its text, and by how often that text came before.
        text = content_hash(str(line.raw), length=16)
        self._occurrences[text] += 1
        self.outcomes.append(
            Outcome(
                row_id=f"line-{text}-{self._occurrences[text]}",
                kind="source",
                status="rejected" if isinstance(end, RowRejected) else "failed",
                stage=self._stage,
                reason=end.reason,
                detail=end.detail,
                retryable=isinstance(end, RowFailed) and end.retryable,
            )
        )
