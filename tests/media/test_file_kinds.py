"""tasks.media.file_kinds: what is no video and no manifest is called by its name."""

from __future__ import annotations

import gzip
import io
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.media.container import UnreadableVideo
from tasks.media.decoding import probe
from tasks.media.file_kinds import READABLE_VIDEOS, is_video, kind_of
from tests.support import hostile

PICTURE = np.zeros((16, 16, 3), np.uint8)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def zipped(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, name * 100)
    return data.getvalue()


def sound() -> bytes:
    data = io.BytesIO()
    with wave.open(data, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(8000)
        audio.writeframes(bytes(1600))
    return data.getvalue()


def picture(suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, PICTURE)[1])


KINDS = {
    "a PDF document": b"%PDF-1.7\n1 0 obj\n",
    "an Excel workbook": zipped("[Content_Types].xml", "docProps/app.xml", "xl/workbook.xml"),
    "a Word document": zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml"),
    "a ZIP archive": zipped("a.mp4"),
    "a gzip archive": gzip.compress(b"video"),
    "a PNG picture": picture(".png"),
    "a JPEG picture": picture(".jpg"),
    "a WebP picture": picture(".webp"),
    "a BMP picture": picture(".bmp"),
    "a TIFF picture": picture(".tiff"),
    "a WAV audio file": sound(),
    "an AU audio file": b".snd" + bytes(3) + b"\x18" + bytes(500),
    "an MP3 audio file": b"ID3\x04" + bytes(400),
    "a Git LFS pointer": LFS,
    "a git-annex pointer": b"/annex/objects/SHA256E-s12345--0000.mp4\n",
    "an HLS playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\na.ts\n#EXT-X-ENDLIST\n",
    "a DASH playlist": b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>\n',
    "a list of FFmpeg's concat": b"ffconcat version 1.0\nfile a.mp4\n",
    "an HTML page": b"\xef\xbb\xbf\n<!doctype HTML>\n<html><body>404 Not Found</body></html>",
    "an XML document": b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code></Error>",
    "subtitles": b"1\r\n00:00:00,000 --> 00:00:02,000\r\nA dog barks.\r\n",
    "text in UTF-16": "A dog barks.".encode("utf-16"),
    "a macOS resource fork": b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" + bytes(100),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_called_mp4_is_called_what_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.mp4").write_bytes(KINDS[name])
    for video in (tmp_path / "a.mp4", KINDS[name]):
        with pytest.raises(UnreadableVideo) as raised:
            probe(video)
        assert f": it is {kind_of(KINDS[name])}; readable are {READABLE_VIDEOS}" in raised.value.detail
        assert f"it is {name}" in raised.value.detail
        assert (raised.value.reason, raised.value.retryable) == ("unreadable_video", False)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "a.mp4: it is empty"),
        (b'{"error": "expired"}', """a.mp4: it is text that begins with '{"error": "expired"}'; readable are MP4"""),
        (b"\x1b[31m" * 99, "a.mp4: it cannot be read (Invalid data found when processing input); readable are MP4,"),
        ("ключ".encode() * 20_000, "text that begins with 'ключ"),
    ],
)
def test_of_another_file_as_much_as_can_be_told(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(UnreadableVideo) as raised:
        probe(tmp_path / "a.mp4")
    assert says in raised.value.detail


def test_a_format_that_is_not_let_open_says_more_than_invalid_argument(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\x02dss" + bytes(100))  # of a dictation machine
    with pytest.raises(UnreadableVideo, match=f"it cannot be read .Invalid argument.; readable are {READABLE_VIDEOS}"):
        probe(tmp_path / "a.mp4")


@pytest.mark.parametrize("make", hostile.BROKEN.values(), ids=hostile.BROKEN)
def test_a_broken_video_is_no_other_kind(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    assert kind_of(make(tmp_path / "a.mp4").read_bytes()) is None


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "avi", "ts", "mpg", "flv", "h264"])
def test_no_video_is_another_kind(tmp_path: Path, suffix: str) -> None:
    codec = {"webm": "libvpx", "avi": "mpeg4", "mpg": "mpeg2video", "flv": "flv"}.get(suffix, "libx264")
    head = hostile.make_video(tmp_path / f"a.{suffix}", hostile.shots([3]), codec=codec).read_bytes()
    assert kind_of(head) is None
    assert is_video(head) or suffix == "h264", "a bare stream has no beginning of its own"


@pytest.mark.parametrize(
    "text", ["video,caption\n", '{"video": "a.mp4"}\n', "ID3,BMI,%\n", "MAC a\n", "PK,a\n", "II,MM\n", "xml,html\n"]
)
def test_no_table_is_another_kind(text: str) -> None:
    assert kind_of(text.encode()) is None
    assert not is_video(text.encode())
