"""Bytes columns whose bytes lie in a file of their own until somebody looks at them.

    generated = work.result(row, Generated)   # its JSON holds {"blob": "9f3c..."} where the video would be
    generated.n_frames                        # 81; no video was read
    generated.video                           # b"...": read now

A record declares such a column as plain `bytes` and nothing more. Where the bytes lie is told by the context of
Pydantic's JSON, a `BlobStore`; without one the JSON holds the bytes themselves, in base64, as any record made of plain
bytes does.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Any

from pydantic import GetCoreSchemaHandler, SerializationInfo, SerializerFunctionWrapHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

REFERENCE = "blob"  # {"blob": SHA-256 of the bytes}


class Blob(ABC):
    """Bytes that lie elsewhere. Equal to the same bytes, wherever they are."""

    sha256: str

    @abstractmethod
    def read(self) -> bytes:
        """The bytes. Raises RowFailed if they are gone or damaged."""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Blob):
            return self.sha256 == other.sha256
        return isinstance(other, bytes) and self.sha256 == sha256_of(other)

    __hash__ = None  # type: ignore[assignment]  # bytes that are equal would have another


class BlobStore(ABC):
    """Where the bytes of one JSON text go, or come from."""

    @abstractmethod
    def put(self, value: bytes | Blob) -> str:
        """Take the bytes of a column; returns their SHA-256."""

    @abstractmethod
    def get(self, sha256: str) -> Blob:
        """The bytes with this SHA-256, not read yet. Raises ValueError if it is none."""


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def holds_bytes(annotation: Any) -> bool:
    """Is a column of this type `bytes` or `bytes | None`?"""
    return annotation in (bytes, bytes | None)


class MayBeBlob:
    """Metadata of a column: its bytes may be a Blob. Changes no column of another type."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        if not holds_bytes(source):
            return schema
        give = core_schema.wrap_serializer_function_ser_schema(_give, info_arg=True, schema=schema)
        return core_schema.with_info_wrap_validator_function(_take, schema, serialization=give)


def _take(value: Any, handler: Any, info: ValidationInfo) -> Any:
    if isinstance(value, Blob):
        return value
    if info.mode == "json" and isinstance(value, dict):
        if value.keys() != {REFERENCE} or not isinstance(info.context, BlobStore):
            raise ValueError("bytes, or a reference to a blob that is read through its store")
        return info.context.get(value[REFERENCE])
    return handler(value)


def _give(value: Any, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
    if isinstance(info.context, BlobStore) and isinstance(value, bytes | Blob):
        return {REFERENCE: info.context.put(value)}
    return handler(value.read() if isinstance(value, Blob) else value)


class BytesColumn:
    """What a record's class has in place of a bytes column: looking at the column reads its blob."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, record: Any, owner: type) -> bytes | None:
        if record is None or self._name not in record.__dict__:
            raise AttributeError(self._name)  # of a class: Pydantic would take anything else for a default
        value: bytes | Blob | None = record.__dict__[self._name]
        return value.read() if isinstance(value, Blob) else value

    def __set__(self, record: Any, value: object) -> None:
        """Never called: records are frozen. It has Python ask here before it looks into the record."""
        raise AttributeError(self._name)
