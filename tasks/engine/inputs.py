"""Where the input files lie, and how far out of there a row may point.

Inputs(folder=Path("videos")).verified("dog.mp4", "9b1e...") -> Path("videos/dog.mp4"), which holds those bytes
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict

from schemas.local_copies import ContentChanged, file_sha256, local_copy
from schemas.outcome import RowFailed
from schemas.storage import AnyPath, DataPath, ObjectPath


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
                f"{video!r} leads out of the manifest's folder; move it there, or allow it (--allow-outside)",
                retryable=False,
            )
        return path

    def verified(self, video: str, sha256: str) -> Path:
        """A file with the bytes that the row was planned with: the located one, or a copy of the located object."""
        changed = RowFailed("input_changed", f"{video!r} was rewritten while it was curated; run again", retryable=True)
        try:
            path = self.locate(video)
            if isinstance(path, ObjectPath):
                return local_copy(path, sha256)
            if file_sha256(path) != sha256:
                raise changed
        except ContentChanged as error:
            raise changed from error
        except RowFailed as error:  # the row could be read when it was planned
            raise RowFailed(error.reason, error.detail, retryable=True) from error
        except OSError as error:
            raise RowFailed("missing_file", f"{video!r}: {error.strerror}", retryable=True) from error
        return path


def _locate_file(folder: Path, video: str) -> Path:
    try:
        parts = urlsplit(video)
        if parts.scheme == "file":
            path = Path(unquote(parts.path))
        elif "://" in video:
            raise RowFailed("unsupported_uri", f"{video!r}: only paths and file:// URIs are read", retryable=False)
        else:
            path = Path(video)
        return (folder.resolve() / path).resolve()
    except RuntimeError as error:
        raise RowFailed("bad_path", f"{video!r}: its links lead in a circle", retryable=False) from error
    except (ValueError, OSError) as error:  # also a name that this machine's encoding cannot write
        raise RowFailed("bad_path", f"{video!r} is no path: {error}", retryable=False) from error


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
