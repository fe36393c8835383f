"""Published snapshots, read: rows as records, tables as lazy frames, masks as arrays, videos.

    snapshot = Snapshot.open("data")                             the latest of a flow's --root, on a disk or s3://
    snapshot.rows(InteractionRow)                                [InteractionRow(verb="kick", ...), ...]
    snapshot.scan("interactions")                                a polars.LazyFrame of the table
    snapshot.masks("clip-81b2c3d4e5f60718")                      {"id1": (49, 480, 720) bool, "id2": ...}
    snapshot.video("clip-81b2c3d4e5f60718")                      its bytes, or its span of an input video

Trainers, evaluations, exports, pages and users read datasets through this class and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from pydantic import ValidationError

from schemas.clip import Clip
from schemas.local_copies import ContentChanged, local_copy
from schemas.mask_track import decode_masks
from schemas.outcome import ServiceDown
from schemas.record import Record, require_columns
from schemas.snapshot import SnapshotManifest
from schemas.storage import AnyPath, ObjectPath, at_once, parse_path, read_whole
from tasks.engine.inputs import Inputs

LATEST = "LATEST"
MANIFEST = "manifest.json"
ID = re.compile(r"[\w-][\w.-]{0,254}")
MASK_COLUMNS = frozenset({"clip_id", "instance_id", "height", "width", "counts"})

R = TypeVar("R", bound=Record)


class SnapshotError(ValueError):
    """There is no such snapshot, or it does not hold what is asked of it."""


class ClipVideo(NamedTuple):
    """A clip's pictures: tasks.media.video.read_video decodes them."""

    source: Path | bytes  # a file, or the bytes of one
    start: Fraction | None = None  # s since the first frame; None: from the beginning
    end: Fraction | None = None  # s; None: to the end
    size: tuple[int, int] | None = None  # (width, height) in px that frames are stretched to; None: the file's own

    def __repr__(self) -> str:
        source = f"{len(self.source)} bytes" if isinstance(self.source, bytes) else self.source
        return f"ClipVideo({source}, start={self.start}, end={self.end})"


@dataclass(frozen=True)
class Snapshot:
    """A published snapshot.

    folder: where it lies
    inputs: the folder that its clips' input videos are found in, if their bytes are not stored with it
    """

    folder: AnyPath
    inputs: AnyPath | None = None

    @classmethod
    def open(cls, root: AnyPath | str, id: str = "latest", inputs: AnyPath | str | None = None) -> Snapshot:
        """A snapshot of a flow's root, by its id. Raises SnapshotError if there is none, ServiceDown."""
        snapshots = parse_path(root) / "snapshots"
        if not ID.fullmatch(id):
            raise SnapshotError(f"{id[:80]!r} is no id of a snapshot; give its name, as `triptych ask` lists it")
        found = cls.latest(snapshots) if id == "latest" else cls(snapshots / id)
        if found is None and (ids := ids_in(snapshots)):
            raise SnapshotError(
                f"no snapshot in {snapshots} is LATEST: too few rows were accepted; "
                f"name one (--snapshot): {', '.join(ids)}"
            )
        if found is None:
            raise SnapshotError(f"nothing was published in {snapshots}: run the flow first, or is the root another?")
        if not found.exists:
            raise SnapshotError(f"{found.folder} is no snapshot; there are {', '.join(ids_in(snapshots)) or 'none'}")
        return cls(found.folder, None if inputs is None else parse_path(inputs))

    @classmethod
    def given(cls, place: AnyPath, inputs: AnyPath | None = None) -> Snapshot:
        """What somebody named: a snapshot's own folder, or a flow's root, whose latest one is taken.

        Raises SnapshotError if there is none, or its manifest cannot be read; ServiceDown.
        """
        found = cls(place, inputs) if cls(place).exists else cls.open(place, inputs=inputs)
        _ = found.manifest  # a damaged one is told here
        return found

    @classmethod
    def latest(cls, snapshots: AnyPath) -> Snapshot | None:
        """What LATEST names in a folder of snapshots, be it there or not; None if nothing was published there.

        Raises SnapshotError if LATEST is damaged.
        """
        try:
            id = read_whole(snapshots / LATEST).decode().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise SnapshotError(f"{snapshots / LATEST} cannot be read: {error}; name a snapshot by its id") from error
        if not ID.fullmatch(id):  # cut off, or a path: it may lead anywhere
            raise SnapshotError(f"{snapshots / LATEST} is damaged: {id[:80]!r} is no id; name a snapshot by its id")
        return cls(snapshots / id)

    @classmethod
    def latest_readable(cls, snapshots: AnyPath) -> Snapshot | None:
        """As latest, but None if LATEST is damaged: for those who only tell of it."""
        with suppress(SnapshotError):
            return cls.latest(snapshots)
        return None

    @property
    def exists(self) -> bool:
        """A folder without a manifest is no snapshot: its upload was cut off."""
        return (self.folder / MANIFEST).is_file()

    @property
    def id(self) -> str:
        return self.folder.name

    @cached_property
    def manifest(self) -> SnapshotManifest:
        """Raises SnapshotError if it is damaged, or of a version that this one does not know."""
        try:
            return SnapshotManifest.from_json(read_whole(self.folder / MANIFEST))
        except (ValidationError, OSError) as error:
            what = f"{error.error_count()} faults" if isinstance(error, ValidationError) else str(error)
            raise SnapshotError(
                f"{self.folder / MANIFEST} cannot be read ({what}): it is damaged, or a newer version wrote it"
            ) from error

    def statistics(self, record: type[R]) -> R:
        """What the accepted clips are like, as its flow counts it. Raises SnapshotError if another flow made it."""
        try:
            return record.model_validate(self.manifest.statistics)
        except ValidationError as error:
            raise SnapshotError(f"{self.id} is of {self.manifest.flow}: it has no {record.__name__}") from error

    def require_flow(self, flow: str) -> None:
        """Raises SnapshotError unless this flow made it."""
        if not self.exists:
            raise SnapshotError(f"{self.folder} is no snapshot: give its folder, .../snapshots/NAME-...")
        if self.manifest.flow != flow:
            raise SnapshotError(f"{self.folder} was made by {self.manifest.flow}; give a snapshot of {flow}")

    # --- Tables ------------------------------------------------------------------------------

    def files(self, table: str, clip_ids: Collection[str] | None = None) -> list[Path]:
        """The Parquet files of a table, sorted; copies on this machine of those that lie in a store.

        clip_ids: only the files that may hold rows of these clips
        Raises ServiceDown if the store's files are not those that were published.
        """
        named = [file for file in self.manifest.files if file.table == table]
        if clip_ids is not None:
            others = self._shard_ids - {self._shard_of[clip_id] for clip_id in clip_ids if clip_id in self._shard_of}
            # Named shard-... or SPLIT-shard-...; what is no shard's may hold any.
            stems = [Path(file.path).stem for file in named]
            named = [f for f, s in zip(named, stems, strict=True) if others.isdisjoint((s, s.partition("-")[2]))]
        if isinstance(self.folder, Path):
            paths = [self.folder / file.path for file in named]
            if missing := [path for path in paths if not path.is_file()]:
                raise SnapshotError(f"{missing[0]} is gone: {self.id} is not what was published; restore or delete it")
            return paths
        folder: ObjectPath = self.folder
        try:
            return at_once(folder, lambda file: local_copy(folder / file.path, file.sha256), named)
        except (ContentChanged, FileNotFoundError) as error:
            raise ServiceDown(f"{folder} is not what was published: {error}. Restore or delete it.") from error

    def scan(self, table: str, clip_ids: Collection[str] | None = None) -> pl.LazyFrame:
        """All rows of a table, or those of some clips, lazily. Raises SnapshotError if it has no such table."""
        self._require_table(table)
        files = self.files(table, clip_ids)
        if not files:  # these clips have no rows; another file of the table still tells its columns
            return pl.scan_parquet(self.files(table)[:1], glob=False).clear()
        frame = pl.scan_parquet(files, glob=False)
        if clip_ids is None:
            return frame
        return frame.filter(pl.col(key_of(frame.collect_schema().names())).is_in(list(clip_ids)))

    def rows(self, record: type[R], clip_ids: Collection[str] | None = None, *, table: str | None = None) -> list[R]:
        """All rows of a record's table, or those of some clips, in the order in which they were published.

        table: where rows of this record lie in several
        A column that came later than the snapshot has its default.
        Raises SchemaError if the table's columns are not the record's, SnapshotError if there is no such table.
        """
        table = table or record.table_name
        if table is None:
            raise SnapshotError(f"{record.__name__} is no row of a table; name one of {', '.join(self.tables)}")
        for path in self.files(table, clip_ids):
            require_columns(record, pq.read_schema(path), path)
        frame = self.scan(table, clip_ids).collect()
        return [record.model_validate(values) for values in frame.iter_rows(named=True)]

    def rows_by_clip(self, record: type[R], clip_ids: Sequence[str], *, table: str | None = None) -> dict[str, list[R]]:
        """The rows of some clips, by clip: every asked one, though it may have none."""
        rows: dict[str, list[R]] = {clip_id: [] for clip_id in clip_ids}
        for row in self.rows(record, clip_ids, table=table) if clip_ids else []:
            rows[getattr(row, key_of(record.model_fields))].append(row)
        return rows

    @property
    def tables(self) -> list[str]:
        return [version.name for version in self.manifest.record_versions]

    def accepted_ids(self) -> list[str]:
        """The accepted clips, in the order of the manifest's shards."""
        rows = self.scan("outcomes").filter(pl.col("status") == "accepted").select("row_id").collect()
        accepted = set(rows["row_id"].to_list())
        return [clip_id for shard in self.manifest.shards for clip_id in shard.clip_ids if clip_id in accepted]

    # --- Pictures ----------------------------------------------------------------------------

    def masks(self, clip_id: str) -> dict[str, np.ndarray]:
        """{instance_id: (T, H, W) bool}: the masks of a clip's instances in every frame.

        Raises SnapshotError for a clip that has none: it is not among the accepted ones.
        """
        files = (path for table in self.tables for path in self.files(table, [clip_id]))
        tracks = next((path for path in files if MASK_COLUMNS.issubset(pq.read_schema(path).names)), None)
        rows: Iterator[dict[str, Any]] = iter(())
        if tracks is not None:
            frame = pl.scan_parquet(tracks, glob=False).filter(pl.col("clip_id") == clip_id)
            rows = frame.select(sorted(MASK_COLUMNS)).collect().iter_rows(named=True)
        masks = {row["instance_id"]: decode_masks(row["counts"], row["height"], row["width"]) for row in rows}
        if not masks:
            raise SnapshotError(f"{self.id} has no masks of {clip_id!r}; is it an accepted clip of this snapshot?")
        return masks

    def video(self, clip_id: str) -> ClipVideo:
        """A clip's video: the stored bytes, or the span of the input video that it was cut from.

        Raises SnapshotError for a clip that has none, or if its input video is asked for and `inputs` is not given;
        RowFailed if that is gone or has changed.
        """
        if "videos" in self.tables:
            stored = self.scan("videos", [clip_id]).select("video").collect()["video"].to_list()
            if stored:
                return ClipVideo(stored[0])
        elif clips := self.rows(Clip, [clip_id]):
            return self.cut(clips[0])
        raise SnapshotError(f"{self.id} has no video of {clip_id!r}; is it a clip of this snapshot?")

    def cut(self, clip: Clip) -> ClipVideo:
        """The span of the input video that a clip is. Raises as `video` does."""
        if self.inputs is None:
            raise SnapshotError(f"{self.id} holds no videos: open it with inputs=, the folder of its manifest")
        path = Inputs(folder=self.inputs, allow_outside=True).verified(clip.video, clip.video_sha256)
        return ClipVideo(path, clip.start.fraction, clip.end.fraction, (clip.width, clip.height))

    # --- Where rows lie ----------------------------------------------------------------------

    @cached_property
    def _shard_of(self) -> dict[str, str]:
        return {clip_id: shard.shard_id for shard in self.manifest.shards for clip_id in shard.clip_ids}

    @cached_property
    def _shard_ids(self) -> frozenset[str]:
        return frozenset(shard.shard_id for shard in self.manifest.shards)

    def _require_table(self, table: str) -> None:
        if table not in self.tables:
            raise SnapshotError(f"{self.id} has no table {table!r}; there are {', '.join(self.tables)}")


def ids_in(snapshots: AnyPath) -> list[str]:
    """The ids of all that were published in a folder of snapshots; none if there is no such folder."""
    try:
        folders = [folder for folder in snapshots.iterdir() if not folder.name.startswith(".")]
    except FileNotFoundError:
        return []
    return sorted(folder.name for folder in folders if (folder / MANIFEST).is_file())


def key_of(columns: Collection[str]) -> str:
    """The column of a table that names a row's clip: outcomes are of sources and lines as well."""
    return "clip_id" if "clip_id" in columns else "row_id"
