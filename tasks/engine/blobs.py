"""Where the bytes of results lie: in files named by their content, beside the rows' JSON.

work/blobs/<sha256[:2]>/<sha256>

    blobs = Blobs(work.root / "blobs")
    text = made.model_dump_json(context=blobs)   # {"result":{"video":{"blob":"9f3c..."},"n_frames":81,...}}
    blobs.write()                                # before the text, which refers to them

    blobs = Blobs(work.root / "blobs")
    made = Made[Generated].model_validate_json(text, context=blobs)   # no video is read
    blobs.check(read=True)                       # raises BlobLost unless all of them are there and whole
"""

from __future__ import annotations

import re
from collections import OrderedDict
from threading import Lock

from schemas.blob import Blob, BlobStore, sha256_of
from schemas.outcome import RowFailed
from schemas.storage import AnyPath, read_whole, write_atomic

KEPT_BYTES = 256 * 2**20  # of the blobs that were read last: about the videos of a shard


class BlobLost(RowFailed):
    """A blob is gone, or does not hold the bytes that it is named by."""

    def __init__(self, path: AnyPath, what: str) -> None:
        self.what = f"{path} is {what}"
        super().__init__("result_missing", f"{self.what}; run again", retryable=True)


class StoredBlob(Blob):
    """The bytes of one file."""

    def __init__(self, path: AnyPath, sha256: str) -> None:
        self.path, self.sha256 = path, sha256

    def __repr__(self) -> str:
        return f"StoredBlob({self.path})"

    def read(self) -> bytes:
        """See Blob. One stage after the other looks at the same rows: a process mostly reads a file once."""
        data = _last_read.get(self.path)
        return self.fetch() if data is None else data

    def fetch(self) -> bytes:
        """The bytes as they lie there now. Raises BlobLost, ServiceDown."""
        try:
            data = read_whole(self.path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise BlobLost(self.path, "gone") from error
        if sha256_of(data) != self.sha256:
            raise BlobLost(self.path, "damaged")
        _last_read.add(self.path, data)
        return data


class Blobs(BlobStore):
    """The blobs that one row's JSON refers to."""

    def __init__(self, folder: AnyPath) -> None:
        self._folder = folder
        self._blobs: dict[str, bytes | Blob] = {}

    def put(self, value: bytes | Blob) -> str:
        sha256 = sha256_of(value) if isinstance(value, bytes) else value.sha256
        self._blobs[sha256] = value
        return sha256

    def get(self, sha256: str) -> Blob:
        blob = StoredBlob(self._path(sha256), sha256)
        self._blobs[sha256] = blob
        return blob

    def write(self) -> None:
        """Write what was put. A file that is there is written again: it may be damaged."""
        for sha256, value in self._blobs.items():
            write_atomic(self._path(sha256), value if isinstance(value, bytes) else value.read())

    def check(self, *, read: bool) -> None:
        """Is all there that was got? Raises BlobLost.

        read: and whole? Else no blob is read.
        """
        for blob in self._blobs.values():
            if isinstance(blob, StoredBlob):
                if read:
                    blob.fetch()
                elif not blob.path.is_file():
                    raise BlobLost(blob.path, "gone")

    def _path(self, sha256: object) -> AnyPath:
        if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ValueError(f"{sha256!r:.80} is no SHA-256")
        return self._folder / sha256[:2] / sha256


class _LastRead:
    """The blobs that this process read last, as many as fit."""

    def __init__(self) -> None:
        self._data: OrderedDict[AnyPath, bytes] = OrderedDict()
        self._n_bytes = 0
        self._lock = Lock()

    def get(self, path: AnyPath) -> bytes | None:
        with self._lock:
            if path in self._data:
                self._data.move_to_end(path)
            return self._data.get(path)

    def add(self, path: AnyPath, data: bytes) -> None:
        with self._lock:
            self._n_bytes += len(data) - len(self._data.pop(path, b""))
            self._data[path] = data
            while self._n_bytes > KEPT_BYTES:
                self._n_bytes -= len(self._data.popitem(last=False)[1])


_last_read = _LastRead()
