"""HTML pages, read as strictly as a test should; and what their tests publish by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from schemas.snapshot import DataFile
from schemas.tables import Named


def tables_of(snapshot: Path, tables: Collection[str]) -> dict[str, Any]:
    """What a manifest says of the tables in its folder."""
    files = [
        DataFile(
            path=path.relative_to(snapshot).as_posix(),
            table=path.parent.name,
            rows=pq.read_metadata(path).num_rows,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(snapshot.rglob("*.parquet"))
    ]
    return {"record_versions": [Named(name=table, n=1) for table in tables], "files": files}


class Page(HTMLParser):
    """The tags, attributes and text of a page; fails on a tag that is not closed in order."""

    VOID = frozenset({"meta", "br", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.words.append(data)

    def attributes(self, tag: str, name: str) -> list[str]:
        return [value for t, attrs in self.tags if t == tag and (value := attrs.get(name)) is not None]
