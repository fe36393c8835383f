"""What a file is that is neither a video nor a manifest, by its first bytes.

kind_of(b"%PDF-1.7 ...")      -> FileKind("a PDF document")
kind_of(b"#EXTM3U ...")       -> FileKind("an HLS playlist", "download the video that it lists")
why_unreadable(Path("dog.mp4"), "Invalid argument")   -> "it is a PDF document; readable are MP4, MOV, ..."
"""

from __future__ import annotations

import codecs
import errno
import os
import re
from pathlib import Path
from typing import NamedTuple

from schemas.regular_files import open_regular

HEAD_BYTES = 2**16  # a workbook is told from another ZIP archive by the names of its first members
READABLE_VIDEOS = "MP4, MOV, MKV, WebM, AVI, FLV, WMV, MPEG, TS, Ogg, MXF and GIF"


class FileKind(NamedTuple):
    """A kind of file that is read neither as a video nor as a manifest."""

    name: str  # "a ZIP archive"
    remedy: str = ""  # "unpack it"

    def __str__(self) -> str:
        return f"{self.name} ({self.remedy})" if self.remedy else self.name


_UNPACK = "unpack it"
_GONE_WRONG = "what a server sends with an error; download the file again"
_AS_UTF8 = "save it as UTF-8"

# Patterns of the first bytes, in this order. Of text, leading blanks are left out and letters are small.
_BYTES: list[tuple[bytes, FileKind]] = [
    (rb"%PDF-", FileKind("a PDF document")),
    (
        rb"PK\x03\x04.*xl/(?:workbook|worksheets|styles|theme|_rels)",
        FileKind("an Excel workbook", "save its sheet as CSV in UTF-8"),
    ),
    (rb"PK\x03\x04.*mimetypeapplication/vnd\.oasis\.opendocument\.spreadsheet", FileKind("an OpenDocument sheet")),
    (rb"PK\x03\x04.*word/(?:document|styles|_rels)", FileKind("a Word document")),
    (rb"PK\x03\x04.*ppt/(?:presentation|slides|_rels)", FileKind("a PowerPoint presentation")),
    (rb"PK(?:\x03\x04|\x05\x06)", FileKind("a ZIP archive", _UNPACK)),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileKind("an old Office document (.xls, .doc)")),
    (rb"\x1f\x8b", FileKind("a gzip archive", _UNPACK)),
    (rb"BZh[1-9]1AY&SY", FileKind("a bzip2 archive", _UNPACK)),
    (rb"\xfd7zXZ\x00", FileKind("an xz archive", _UNPACK)),
    (rb"\x28\xb5\x2f\xfd", FileKind("a zstd archive", _UNPACK)),
    (rb"7z\xbc\xaf\x27\x1c", FileKind("a 7-Zip archive", _UNPACK)),
    (rb"Rar!\x1a\x07", FileKind("a RAR archive", _UNPACK)),
    (rb".{257}ustar", FileKind("a tar archive", _UNPACK)),
    (rb"\x89PNG\r\n\x1a\n", FileKind("a PNG picture")),
    (rb"\xff\xd8\xff", FileKind("a JPEG picture")),
    (rb"RIFF.{4}WEBP", FileKind("a WebP picture")),
    (rb"BM.{4}\x00{4}", FileKind("a BMP picture")),
    (rb"II\*\x00|MM\x00\*", FileKind("a TIFF picture")),
    (rb".{4}ftyp(?:heic|heix|mif1|msf1|avif)", FileKind("a HEIF or AVIF picture")),
    (rb"8BPS", FileKind("a Photoshop picture")),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", FileKind("a JPEG 2000 picture")),
    (rb"\x76\x2f\x31\x01", FileKind("an OpenEXR picture")),
    (rb"P[1-6]\n\d", FileKind("a PNM picture")),
    (rb"ID3[\x02-\x04]|\xff[\xfb\xfa\xf3\xf2]", FileKind("an MP3 audio file")),
    (rb"\xff[\xf1\xf9]", FileKind("an AAC audio file")),
    (rb"(?:RIFF|RF64).{4}WAVE", FileKind("a WAV audio file")),
    (rb"fLaC", FileKind("a FLAC audio file")),
    (rb"FORM.{4}AIF[FC]", FileKind("an AIFF audio file")),
    (rb"#!AMR", FileKind("an AMR audio file")),
    (rb"\x0b\x77", FileKind("an AC-3 audio file")),
    (rb"caff\x00", FileKind("a CAF audio file")),
    (rb"\.snd\x00", FileKind("an AU audio file")),
    (rb"MAC [\x80-\xff]", FileKind("a Monkey's Audio file")),
    (rb"MThd", FileKind("a MIDI file")),
    (rb"\.RMF\x00", FileKind("a RealMedia video")),
    (rb"[FCZ]WS[\x01-\x1f]", FileKind("a Flash animation")),
    (rb"\x00\x05\x16\x07", FileKind("a macOS resource fork", "the file itself has the name without ._")),
    (rb"PAR1", FileKind("a Parquet file", "call it .parquet")),
    (rb"ARROW1", FileKind("an Arrow or Feather file", "save it as Parquet")),
    (rb"Obj\x01", FileKind("an Avro file", "save it as Parquet")),
    (rb"SQLite format 3\x00", FileKind("an SQLite database", "export its table as CSV")),
    (rb"\x89HDF\r\n\x1a\n", FileKind("an HDF5 file")),
    (rb"\x93NUMPY", FileKind("a NumPy array")),
    (rb"\x7fELF", FileKind("a program")),
    (rb"(?:\xff\xfe|(?:[ -~]\x00){7})[ -~\r\n]\x00", FileKind("text in UTF-16", _AS_UTF8)),
    (rb"(?:\xfe\xff|(?:\x00[ -~]){7})\x00[ -~\r\n]", FileKind("text in UTF-16", _AS_UTF8)),
]
_TEXT: list[tuple[bytes, FileKind]] = [
    (rb"version https://git-lfs\.github\.com/", FileKind("a Git LFS pointer", "fetch the file itself: git lfs pull")),
    (rb"/annex/objects/", FileKind("a git-annex pointer", "fetch the file itself: git annex get")),
    (rb"#extm3u", FileKind("an HLS playlist", "download the video that it lists")),
    (rb"<\?xml.*<mpd\b|<mpd\b", FileKind("a DASH playlist", "download the video that it lists")),
    (rb"ffconcat version", FileKind("a list of FFmpeg's concat")),
    (rb"(?:<\?xml.*)?<svg\b", FileKind("an SVG picture")),
    (rb"(?:<!--.*-->\s*)?(?:<!doctype html|<html|<head|<body)", FileKind("an HTML page", _GONE_WRONG)),
    (rb"<\?xml|<error>", FileKind("an XML document", _GONE_WRONG)),
    (rb"webvtt|1\r?\n\d\d:\d\d:\d\d,\d{3} -->", FileKind("subtitles")),
]
_CHECKS = [(re.compile(pattern, re.DOTALL), kind) for pattern, kind in _BYTES]
_TEXT_CHECKS = [(re.compile(pattern, re.DOTALL), kind) for pattern, kind in _TEXT]

_VIDEO = re.compile(
    rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI |FLV\x01|\x30\x26\xb2\x75|\x00\x00\x01[\xb3\xba]|G.{187}G.{187}G",
    re.DOTALL,
)


def is_video(head: bytes) -> bool:
    """Does a file begin as the usual videos do? Whether it can be read is another question."""
    return _VIDEO.match(head) is not None


def kind_of(head: bytes) -> FileKind | None:
    """The kind of a file by its first bytes, HEAD_BYTES or all; None for videos, tables and the unknown."""
    for pattern, kind in _CHECKS:
        if pattern.match(head):
            return kind
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((kind for pattern, kind in _TEXT_CHECKS if pattern.match(text)), None)


def why_unreadable(video: Path | bytes, said: str | None) -> str:
    """Why FFmpeg cannot read a video: what the file is, if that can be told; else what FFmpeg said."""
    head = video[:HEAD_BYTES] if isinstance(video, bytes) else _head_of(video)
    if head == b"":
        return "it is empty"
    if kind := head and (kind_of(head) or _text_of(head)):
        return f"it is {kind}; readable are {READABLE_VIDEOS}"
    # Of a format that FFmpeg knows and is not let open, or of none that it knows.
    if said in (os.strerror(errno.EINVAL), "Invalid data found when processing input"):
        return f"it cannot be read ({said}); readable are {READABLE_VIDEOS}"
    return str(said)


def _head_of(video: Path) -> bytes | None:
    try:
        with open_regular(video) as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return None


def _text_of(head: bytes) -> FileKind | None:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return None
    if not all(character.isprintable() or character in "\r\n\t" for character in text):
        return None
    return FileKind(f"text that begins with {text[:40]!r}")
