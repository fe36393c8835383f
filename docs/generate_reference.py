"""Writes docs/reference from the code's own texts: stages, options, tables, files.

    make docs                       writes every page of docs/reference
    reference()                     {"stages.md": "# Stages\\n...", "tables-dsr.md": ...}

Nothing on these pages is written by hand: a stage's line is its file's docstring, an option's its field's description,
a column's its record's. tests/test_readme.py writes them anew and compares.
"""

from __future__ import annotations

import ast
import json
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from flows.engine.config import CurationConfig
from flows.registry import FLOWS, load_flow, names
from schemas.record import Record
from schemas.source import ManifestRow
from tasks.datasets.registry import load_dataset

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
HOUSE = ("flows", "tasks", "schemas")

MADE = "*`make docs` writes this page from the code: change it there.*"
TYPES: dict[Any, str] = {bool: "true, false", int: "integer", float: "number", str: "text"}
LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "multiple_of": "a multiple of"}
OPTION_COLUMNS = ("option", "default", "values", "what it is")
COLUMN_COLUMNS = ("column", "type", "unit", "null", "what it holds")


def reference() -> dict[str, str]:
    """Every page by its name: the same text for the same code."""
    pages: dict[str, Iterable[str]] = {"stages.md": stages_page(), "files.md": files_page()}
    for name in FLOWS:
        pages[f"options-{name}.md"] = options_page(name)
        pages[f"tables-{name}.md"] = tables_page(name)
    return {name: "\n".join(lines).rstrip() + "\n" for name, lines in pages.items()}


# --- Stages ------------------------------------------------------------------------------------


def stages_page() -> Iterator[str]:
    yield from ("# Stages", "", MADE, "")
    yield "A backend is chosen by its setting; nothing falls back to another. **Bold**: what `--profile paper` chooses."
    for name, module in FLOWS.items():
        config = load_flow(name).config
        about = _cell(_first_lines(import_module(module)).partition(": ")[2])
        yield from ("", f"## {name}", "", f"{_link('The flow', _file_of(module))}: {about}", "")
        about_page = f"{name}.md" if name in names("curate") else "training.md"
        yield f"[Options](options-{name}.md), [tables](tables-{name}.md), [what it is](../{about_page})."
        yield ""
        yield from _table(("stage", "its rows", "what it does"), _stage_rows(config))
        if backends := [*_backend_rows(config)]:
            yield ""
            yield from _table(("stage", "setting", "backends"), backends)


def _stage_rows(config: type[CurationConfig]) -> Iterator[tuple[str, ...]]:
    for step in config.steps:
        module = f"tasks.{step.stage}"
        row = f"`{step.payload.__name__}`: {_cell(_first_lines(step.payload))}"
        yield _link(f"`{step.stage}`", _file_of(module)), row, _cell(_first_lines(import_module(module)))


def _backend_rows(config: type[CurationConfig]) -> Iterator[tuple[str, ...]]:
    for step in config.steps:
        section = _section_of(config, step.stage)
        for name, field in _fields(config.model_fields[section].annotation).items() if section else ():
            # A choice between backends always says which one is embedded.
            if typing.get_origin(field.annotation) is Literal and "embedded" in (field.description or ""):
                text = _cell(field.description or "")
                if chosen := config.profiles.get("paper", {}).get(section, {}).get(name):
                    text = text.replace(f"{chosen}:", f"**{chosen}**:")
                yield f"`{step.stage}`", f"`{_option(f'{section}.{name}')}`", text


def _section_of(config: type[CurationConfig], stage: str) -> str | None:
    """The section of a config that is a stage's: its class lies in the stage's file or package. None if it has none."""
    modules = {name: getattr(field.annotation, "__module__", "") for name, field in config.model_fields.items()}
    return next((name for name, module in modules.items() if f"{module}.".startswith(f"tasks.{stage}.")), None)


# --- Options -----------------------------------------------------------------------------------


def options_page(name: str) -> Iterator[str]:
    flow = load_flow(name)
    config = flow.config
    stage_of = {section: step.stage for step in config.steps if (section := _section_of(config, step.stage))}
    yield from (f"# Options of {name}", "", MADE, "")
    yield f"`{flow.command}` takes these on the command line; a deployment takes them as JSON:"
    section, setting, choice = _example(config)
    yield f"`{_option(f'{section}.{setting}')} {choice}` is `{json.dumps({section: {setting: choice}})}`."
    sections = {n: field for n, field in config.model_fields.items() if _fields(field.annotation)}
    plain = {n: field for n, field in config.model_fields.items() if n not in sections}
    yield from ("", "## The run", "")
    yield from _table(OPTION_COLUMNS, (row for n, field in plain.items() for row in _option_rows(n, field)))
    for section, field in sections.items():
        about = field.description or _first_lines(field.annotation)
        stage = f" Stage [`{stage_of[section]}`](stages.md#{name})." if section in stage_of else ""
        yield from ("", f"## {section}", "", f"{about.rstrip('.')}.{stage}", "")
        by_profile = {f"{section}.{name}": config.by_profile(section, name) for name in _fields(field.annotation)}
        yield from _table(OPTION_COLUMNS, _option_rows(section, field, by_profile=by_profile))


def _example(config: type[CurationConfig]) -> tuple[str, str, Any]:
    """(section, setting, value) of an option to show: the first that a profile sets, or the first of a section."""
    chosen = config.profiles.get("paper", {}) or {
        name: {n: inner.default for n, inner in _fields(field.annotation).items() if inner.default is not None}
        for name, field in config.model_fields.items()
        if name not in CurationConfig.model_fields and _fields(field.annotation)
    }
    section, choices = next((section, choices) for section, choices in chosen.items() if choices)
    setting, choice = next(iter(choices.items()))
    return section, setting, choice


def _option_rows(
    name: str, field: FieldInfo, default: Any = PydanticUndefined, by_profile: Mapping[str, Mapping[str, Any]] = {}
) -> Iterator[tuple[str, ...]]:
    """An option's row; the rows of all options in it if it is a section.

    default:    what the section that it is in sets it to
    by_profile: what profiles set options of a section to: option -> profile -> value
    """
    if default is PydanticUndefined and not field.is_required():
        default = field.get_default(call_default_factory=True)
    if inner := _fields(field.annotation):
        for n, other in inner.items():
            inner_default = None if default is None else getattr(default, n)
            yield from _option_rows(f"{name}.{n}", other, inner_default, by_profile)
        return
    option = f"`{_option(name)}`"
    if field.annotation is bool:
        option += f" `{_option(f'no_{name}')}`"
    written = ", ".join(f"{_written(value)} ({profile})" for profile, value in by_profile.get(name, {}).items())
    yield option, written or _written(default), _cell(_values(field)), _cell(field.description or "")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _fields(annotation: Any) -> dict[str, FieldInfo]:
    """The fields of a config's section; of what is no section none."""
    for kind in (annotation, *typing.get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind.model_fields
    return {}


def _written(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    return (
        f"`{default if isinstance(default, Path) or (default and isinstance(default, str)) else json.dumps(default)}`"
    )


def _values(field: FieldInfo) -> str:
    """'`rules`, `openai`', 'integer, at least 1', 'path or `null`'."""
    limits = [
        f"{words} {getattr(m, name):g}" for m in field.metadata for name, words in LIMITS.items() if hasattr(m, name)
    ]
    limits += [f"`{m.pattern}`" for m in field.metadata if getattr(m, "pattern", None)]
    kinds = typing.get_args(field.annotation) if _may_be_null(field.annotation) else (field.annotation,)
    names = dict.fromkeys(_type_name(kind) for kind in kinds if kind is not type(None))
    return ", ".join([*names, *limits]) + ("; or `null`" if _may_be_null(field.annotation) else "")


def _may_be_null(annotation: Any) -> bool:
    return type(None) in typing.get_args(annotation)


def _type_name(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_name(inner[0])
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(_type_name(kind) for kind in inner))
    if origin in (list, tuple):
        return f"list of {_type_name(inner[0])}"
    if origin is dict:
        return "JSON object"
    return TYPES.get(annotation, "path" if "Path" in annotation.__name__ else annotation.__name__)


# --- Tables ------------------------------------------------------------------------------------


def tables_page(name: str) -> Iterator[str]:
    dataset = load_dataset(name)
    tables: Mapping[str, type[Record]] = {**dataset.shard_tables, **dataset.whole_tables}
    yield from (f"# Tables of {name}", "", MADE, "", dataset.reading.replace("\n", " "), "")
    yield "Types are Arrow's. `a.b` is a field of the struct `a`, `a[]` an item of the list `a`. Each Parquet file has"
    yield "these descriptions and units in its schema."
    for table, record in tables.items():
        schema = record.arrow_schema()
        whole = "" if table in dataset.shard_tables else " One file for the whole snapshot."
        yield from ("", f"## {table}", "", f"{_about(schema)} Version {record.schema_version}.{whole}", "")
        yield from _columns(schema)
    statistics = typing.get_type_hints(dataset.statistics)["return"].arrow_schema()
    yield from ("", "## statistics in manifest.json", "", _about(statistics), "")
    yield from _columns(statistics)
    if name == "matrix11k":
        yield from ("", "## The input: a line of a manifest", "", _about(ManifestRow.arrow_schema()), "")
        yield from _columns(ManifestRow.arrow_schema())


def _about(schema: pa.Schema) -> str:
    text: str = schema.metadata[b"triptych.description"].decode()
    return text.rstrip(".") + "."


def _columns(schema: pa.Schema) -> Iterator[str]:
    return _table(COLUMN_COLUMNS, (row for field in schema for row in _flat(field)))


def _flat(field: pa.Field, before: str = "") -> Iterator[tuple[str, str, str, str, str]]:
    """A column, and below it the fields of the structs in it."""
    about = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
    name = before + field.name
    null = "yes" if field.nullable else ""
    yield f"`{name}`", f"`{_arrow_name(field.type)}`", about.get("unit", ""), null, _cell(about.get("description", ""))
    kind = field.type
    while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        name, kind = f"{name}[]", kind.value_type
    if pa.types.is_struct(kind):
        for inner in kind:
            yield from _flat(inner, f"{name}.")


def _arrow_name(kind: pa.DataType) -> str:
    """'double', 'list<string>', 'list<double or null>', 'list<double>[4]', 'struct'."""
    if pa.types.is_struct(kind):
        return "struct"
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        item = _arrow_name(kind.value_type) + (" or null" if kind.value_field.nullable else "")
        return f"list<{item}>" + (f"[{kind.list_size}]" if pa.types.is_fixed_size_list(kind) else "")
    return str(kind)


# --- Files -------------------------------------------------------------------------------------


def files_page() -> Iterator[str]:
    yield from ("# Files", "", MADE, "")
    yield "What each file is for, in its own first line. [The house's plan](../layout.md) tells how they hang together."
    folders = sorted({path.parent for top in HOUSE for path in (ROOT / top).rglob("*.py")})
    for folder in folders:
        name = folder.relative_to(ROOT).as_posix()
        rows = [
            (_link(f"`{path.name}`", f"{name}/{path.name}"), _cell(text))
            for path in sorted(folder.glob("*.py"))
            if path.name != "__init__.py" and (text := _docstring(path))
        ]
        about = _docstring(folder / "__init__.py") if (folder / "__init__.py").exists() else ""
        if rows or about:
            yield from ("", f"## {name}/", "")
        if about:
            yield from (about, "")
        if rows:
            yield from _table(("file", "what it is for"), rows)


def _docstring(path: Path) -> str:
    return _opening(ast.get_docstring(ast.parse(path.read_text())) or "")


# --- Markdown ----------------------------------------------------------------------------------


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _first_lines(documented: Any) -> str:
    return _opening(documented.__doc__ or "")


def _opening(docstring: str) -> str:
    """What stands before the first blank line, on one line."""
    return " ".join(docstring.strip().partition("\n\n")[0].split())


def _link(text: str, path: str) -> str:
    return f"[{text}](../../{path})"


def _file_of(module: str) -> str:
    return Path(import_module(module).__file__ or "").relative_to(ROOT).as_posix()


def main() -> None:
    pages = reference()
    FOLDER.mkdir(exist_ok=True)
    for stray in set(FOLDER.glob("*.md")) - {FOLDER / name for name in pages}:
        stray.unlink()
    for name, text in pages.items():
        (FOLDER / name).write_text(text)
    print(f"{FOLDER.relative_to(ROOT)}: {', '.join(pages)}")


if __name__ == "__main__":
    main()
