"""README.md and docs/ stay true: commands, options, paths, links, examples, and the generated reference."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import re
import runpy
import shlex
import shutil
import tarfile
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import datasets
import pytest
import yaml
from pydantic import BaseModel

from flows.commands.cli import COMMANDS
from flows.commands.deploy import full_name
from flows.engine.command import _options_of
from flows.engine.tags import PARENT_TAG
from flows.registry import FLOWS, TRAININGS, load_flow, load_training
from flows.registry import names as names_of
from tasks.datasets.registry import load_dataset
from tasks.engine.snapshots import Snapshot
from tests.unchanged.make_roots import ARCHIVE

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
WRITTEN = [page for page in PAGES if page.parent.name != "reference"]  # by hand
TEXTS = {page: page.read_text() for page in PAGES}

PROGRAMS = ("triptych", "python -m", "make", "prefect", "docker compose", "pip install")
OTHER_PROGRAMS = ("cp", "sbatch", "source", "torchrun", "vllm")
PLACES = r"(?<![\w/.-])(?:flows|tasks|schemas|tests|docker|docs|benchmarks)/[\w./-]*"
UNTRACKED = ("docker/.env", "docker/certificate/")  # what a user makes
REGISTRIES = r"pypi|pythonhosted|huggingface\.co|ghcr\.io|quay\.io|docker\.io|download\.pytorch"
FOLDERS_OF_A_MACHINE = r"(?<![\w/])/(work|tmp|root|home)\b"

COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
PROJECT = yaml.safe_load((ROOT / "prefect.yaml").read_text())
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
DEPLOYMENTS = {full_name(d) for d in PROJECT["deployments"]}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXTS[page], re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", TEXTS[page], flags=re.MULTILINE | re.DOTALL)


def spans(page: Path) -> list[str]:
    """What stands between backticks in the prose, each on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


# --- Commands --------------------------------------------------------------------------------


def commands_of(page: Path) -> Iterator[tuple[list[str], bool]]:
    """Every command: its words, and whether it is whole (a line to be typed) or mentioned in the text."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            yield from ((words, True) for words in split_line(line))
    for span in spans(page):
        if any(span == program or span.startswith(f"{program} ") for program in PROGRAMS):
            yield from ((words, False) for words in split_line(span))


def split_line(line: str) -> Iterator[list[str]]:
    """The commands of a line of shell, without what is set for them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";&|"):
            while words and re.match(r"[A-Z0-9_]+=", words[0]):
                words.pop(0)
            if words:
                yield [words[0].removeprefix(".venv/bin/"), *words[1:]]
            words = []
        else:
            words.append(word)


COMMANDS_NAMED = {
    (f"{name_of(page)}: {shlex.join(words)}", tuple(words), whole)
    for page in WRITTEN
    for words, whole in commands_of(page)
}


@pytest.mark.parametrize(("name", "words", "whole"), sorted(COMMANDS_NAMED))
def test_every_command_is_real(name: str, words: tuple[str, ...], whole: bool) -> None:
    check_command([*words], whole)


def test_commands_are_found() -> None:
    assert len(COMMANDS_NAMED) > 80


def check_command(words: list[str], whole: bool) -> None:
    match words:
        case ["triptych"]:
            pass
        case ["triptych", *rest]:
            for name, options in placeholders_filled(rest):
                check_triptych(name, options, whole)
        case ["python", "-m", "pip", *rest]:
            check_command(["pip", *rest], whole)
        case ["python", "-m", module, *options]:
            assert importlib.util.find_spec(module) is not None
            if module in FLOWS.values():
                check_curate(next(name for name, file in FLOWS.items() if file == module), options, whole)
        case ["pip", "install", *options]:
            for extra in re.findall(r"\.\[(\w+)\]", " ".join(options)):
                assert extra in EXTRAS
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["prefect", *rest]:
            check_prefect(rest)
        case ["docker", "compose", *rest]:
            check_compose(rest, whole)
        case ["export", *settings]:
            assert all("=" in setting for setting in settings)
        case _:
            assert words[0] in OTHER_PROGRAMS, "an unknown program"


def placeholders_filled(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    """`triptych curate NAME` is that of every dataset, `triptych COMMAND` every command."""
    names = {"NAME": names_of("curate"), "COMMAND": list(COMMANDS)}
    place = next((word for word in words if word in names), None)
    for name in names[place] if place else [""]:
        filled = [name if word == place else word for word in words]
        yield filled[0], filled[1:]


def check_triptych(command: str, options: list[str], whole: bool) -> None:
    module = importlib.import_module(COMMANDS[command].module)
    match command, options:
        case "curate" | "prepare", [] | ["--help"]:
            pass
        case "curate" | "prepare", [name, *rest]:
            assert name in names_of(command)
            check_curate(name, rest, whole)
        case "train", [recipe, *rest] if recipe in TRAININGS:
            check_train(recipe, rest, whole)
        case "generate", _:
            check_curate("videos", ["--root" if option == "--out" else option for option in options], whole)
        case "run", _:
            if asked := parsed_by(module.main, options, "parse_known_args", whole):
                flow, deployment = module.find(asked[0].deployment)
                assert f"{flow.flow_name}/{deployment}" in DEPLOYMENTS
                flow.parse([*required(flow.config, asked[1]), *asked[1]])
        case "demo", _:
            if asked := parsed_by(module.main, options, "parse_known_args", whole):
                flow = load_flow(asked[0].dataset)
                flow.parse([*required(flow.config, []), *asked[1]])
        case _:
            parsed_by(module.main, options, "parse_args", whole)


def check_curate(name: str, options: list[str], whole: bool) -> None:
    given = [option for option in options if option not in ("--help", "--help-all", "--dry-run")]
    if not whole or "--help" in options or "--help-all" in options:
        given = [*required(load_flow(name).config, given), *given]
    load_flow(name).parse(given)


def check_train(recipe: str, options: list[str], whole: bool) -> None:
    given = [option for option in options if option not in ("--help", "--help-all", "--dry-run")]
    if not whole or "--help" in options or "--help-all" in options:
        given = [*required(load_training(recipe).config, given), *given]
    load_training(recipe).parse(given)


def required(config: type[BaseModel], given: list[str]) -> list[str]:
    """The options that a mentioned command leaves out."""
    fields = config.model_fields
    named = {option.partition("=")[0] for option in given}
    return [f"--{field}=here" for field, info in fields.items() if info.is_required() and f"--{field}" not in named]


class Parsed(Exception):
    """A command understood its options, and goes no further."""


def parsed_by(main: Any, options: list[str], method: str, whole: bool) -> Any:
    """What a command's argparse makes of options; None where it has printed its help, or a mention is not whole."""
    parse = getattr(argparse.ArgumentParser, method)

    def stop(*args: Any, **kwargs: Any) -> NoReturn:
        raise Parsed(parse(*args, **kwargs))

    def refuse(parser: argparse.ArgumentParser, message: str) -> NoReturn:
        raise ValueError(message)

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr(argparse.ArgumentParser, method, stop)
        patch.setattr(argparse.ArgumentParser, "error", refuse)
        try:
            main(options)
        except Parsed as found:
            return found.args[0]
        except SystemExit as end:
            if end.code:
                raise
        except ValueError as error:
            if whole or "required" not in str(error):
                raise
    return None


def check_prefect(words: list[str]) -> None:
    import prefect.cli
    from prefect.cli._app import _app

    assert prefect.cli.app
    _, bound, _ = _app.parse_args(words, print_error=False, exit_on_error=False)
    pools = {pool["work_pool"]["name"] for pool in PROJECT["deployments"]}
    match words:
        case ["deployment", "run", *_]:
            assert bound.arguments["name"] in DEPLOYMENTS
        case ["work-pool", "create", *_]:
            assert bound.arguments["name"] in pools
            assert bound.arguments["type"] in ("process", "resident", "kubernetes")
        case ["worker", "start", *_]:
            assert bound.arguments["work_pool_name"] in pools


def check_compose(words: list[str], whole: bool) -> None:
    assert words[:2] == ["-f", "docker/compose.yaml"]
    match words[2:]:
        case ["exec", service, *command]:
            assert service in COMPOSE["services"]
            check_command(command, whole)
        case ["up", *options]:
            assert set(options) <= {"--build", "--detach"}
        case _:
            raise AssertionError("an unknown command of Compose")


@cache
def options_of_flows() -> dict[str, set[str]]:
    of_trainings = {f"train-{recipe}": {*_options_of(load_training(recipe).config)} for recipe in TRAININGS}
    return {name: {*_options_of(load_flow(name).config)} for name in FLOWS} | of_trainings


@cache
def other_options() -> set[str]:
    """Options of the commands that are no flow's, as their --help prints them, and of curate's help."""
    found = {"--help", "--help-all", "--dry-run"}
    for command in sorted(COMMANDS.keys() - {"curate", "prepare", "generate"}):
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
            importlib.import_module(COMMANDS[command].module).main(["--help"])
        found |= set(re.findall(r"--[a-z][\w.-]+", out.getvalue()))
    return found


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_mentioned_option_is_real(page: Path) -> None:
    profiles = {profile for service in COMPOSE["services"].values() for profile in service.get("profiles", [])}
    for span in spans(page):
        words = span.split()
        if not words[0].startswith("--"):
            continue
        if words[0] == "--profile" and words[1:] and words[1] in profiles:
            continue
        named = {word for word in words if word.startswith("--")}
        flows = [name for name, options in options_of_flows().items() if named <= options]
        assert flows or named <= other_options(), f"{name_of(page)}: {span}"
        values = len(words) > len(named)
        assert not values or not flows or any(takes(name, words) for name in flows), f"{name_of(page)}: {span}"


def takes(flow: str, words: list[str]) -> bool:
    """Does a flow take these values?"""
    try:
        of_training = flow.removeprefix("train-")
        command = load_training(of_training) if of_training != flow else load_flow(flow)
        command.parse([*required(command.config, words), *words])
    except (ValueError, SystemExit):
        return False
    return True


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_variable_is_read_somewhere(page: Path) -> None:
    code = "".join(path.read_text() for top in ("flows", "tasks", "schemas") for path in (ROOT / top).rglob("*.py"))
    code += (ROOT / "prefect.yaml").read_text() + (ROOT / "docker" / "compose.yaml").read_text()
    for variable in set(re.findall(r"TRIPTYCH_[A-Z_]+", TEXTS[page])):
        # A model server's variables are put together from its role.
        assert variable in code or re.fullmatch(r"TRIPTYCH_(LLM|VLM)_(BASE_URL|MODEL|API_KEY)", variable), variable


def test_every_deployment_and_pool_is_there_and_named() -> None:
    text = "".join(TEXTS.values())
    named = set(re.findall(r"(?:curate|prepare|train|generate)-[a-z0-9-]+/\w+", text))
    parents = {name for name in DEPLOYMENTS if "-shard/" not in name}
    assert parents <= named <= DEPLOYMENTS
    pools = {deployment["work_pool"]["name"] for deployment in PROJECT["deployments"]}
    assert set(re.findall(r"triptych-\w+", text)) - {PARENT_TAG.removesuffix(":")} == pools


def test_every_make_target_is_named() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE).group(1).split())  # type: ignore[union-attr]
    assert {words[1] for _, words, _ in COMMANDS_NAMED if words[0] == "make"} == targets


# --- Paths and links -------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_path_is_there(page: Path) -> None:
    for path in set(re.findall(PLACES, TEXTS[page])) - set(UNTRACKED):
        named = path.rstrip(".-").replace("NAME", "dsr")  # NAME is any dataset's
        assert (ROOT / named).exists(), path


def test_every_path_of_the_layout_is_there() -> None:
    tree = blocks(ROOT / "docs" / "layout.md", "text")[0]
    folder, n_paths = ROOT, 0
    for line in tree.splitlines():
        entry = line.split()[0]
        place = (folder if line.startswith(" ") else ROOT) / entry
        assert place.is_dir() if entry.endswith("/") else place.is_file(), line
        folder = folder if line.startswith(" ") else place
        n_paths += 1
    assert n_paths > 20


def test_no_file_is_without_its_line() -> None:
    """docs/reference/files.md names every module."""
    listed = set(re.findall(r"\]\(\.\./\.\./([\w/.]+)\)", TEXTS[ROOT / "docs" / "reference" / "files.md"]))
    modules = {name_of(path) for top in ("flows", "tasks", "schemas") for path in (ROOT / top).rglob("*.py")}
    assert listed == {module for module in modules if not module.endswith("__init__.py")}


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if re.match(r"https?://", path):
            continue
        linked = (page.parent / path).resolve() if path else page
        assert linked.is_relative_to(ROOT), target
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_the_readme_leads_to_every_page() -> None:
    """To the pages of the reference, the others do."""

    def links(page: Path) -> set[Path]:
        return {(page.parent / target).resolve() for target in re.findall(r"\]\(([\w/.-]+\.md)\)", TEXTS[page])}

    assert {page for page in WRITTEN if page != README} <= links(README)
    assert {*PAGES} <= {README}.union(*map(links, WRITTEN))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_no_page_names_a_registry_or_a_folder_of_one_machine(page: Path) -> None:
    assert not re.search(f"{REGISTRIES}|{FOLDERS_OF_A_MACHINE}", page.read_text(), re.IGNORECASE)


def test_the_readme_is_short() -> None:
    assert len(TEXTS[README].splitlines()) <= 100


# --- Examples --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small snapshot of each dataset, where the pages have theirs, and the videos of the first."""
    folder = tmp_path_factory.mktemp("published")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder / "roots", filter="data")
    (folder / "roots" / "matrix11k").rename(folder / "data")
    for name in ("kinemask", "dsr"):
        (folder / "roots" / name).rename(folder / "data" / name)
    shutil.copytree(folder / "data" / "input", folder / "videos")
    (folder / "videos" / "manifest.jsonl").rename(folder / "videos" / "captions.jsonl")
    return folder


@pytest.mark.parametrize("page", [page for page in WRITTEN if blocks(page, "python")], ids=name_of)
def test_the_examples_run(page: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, as a reader would type them; a block that begins with a path is a part of that file."""
    monkeypatch.chdir(published)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    names: dict[str, Any] = {}
    for block in blocks(page, "python"):
        first, _, rest = block.partition("\n")
        if path := re.fullmatch(r"# ([\w/.]+\.py)", first):
            assert rest in (ROOT / path[1]).read_text(), block
        else:
            exec(compile(block, name_of(page), "exec"), names)


# --- The reference ---------------------------------------------------------------------------


def test_the_reference_is_that_of_the_code() -> None:
    pages = runpy.run_path(str(ROOT / "docs" / "generate_reference.py"))["reference"]()
    stale = [name for name, text in pages.items() if TEXTS.get(ROOT / "docs" / "reference" / name) != text]
    assert not stale, "run `make docs`"
    assert {page.name for page in PAGES if page not in WRITTEN} == set(pages)


@pytest.mark.parametrize("name", names_of("curate"))
def test_every_table_and_column_is_listed(name: str, published: Path) -> None:
    snapshot = Snapshot.open(published / "data" / ("" if name == "matrix11k" else name))
    reference = TEXTS[ROOT / "docs" / "reference" / f"tables-{name}.md"]
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", reference, re.MULTILINE | re.DOTALL))
    assert set(sections) - {"statistics", "The"} == set(snapshot.tables)
    for table in snapshot.tables:
        columns = snapshot.scan(table).collect_schema().names()
        assert re.findall(r"^\| `(\w+)` \|", sections[table], re.MULTILINE) == columns
        assert re.search(rf"[` ]{table}/", TEXTS[ROOT / "docs" / f"{name}.md"])


@pytest.mark.parametrize("name", sorted({*FLOWS} - {*names_of("curate")}))
def test_the_tables_of_other_flows_are_listed(name: str) -> None:
    reference = TEXTS[ROOT / "docs" / "reference" / f"tables-{name}.md"]
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", reference, re.MULTILINE | re.DOTALL))
    for table, record in load_dataset(name).shard_tables.items():
        assert re.findall(r"^\| `(\w+)` \|", sections[table], re.MULTILINE) == [*record.model_fields]


@pytest.mark.parametrize("name", FLOWS)
def test_every_option_is_listed(name: str) -> None:
    reference = TEXTS[ROOT / "docs" / "reference" / f"options-{name}.md"]
    listed = set(re.findall(r"`(--[\w.-]+)`", reference))
    sections = {option for option in options_of_flows()[name] if any(o.startswith(f"{option}.") for o in listed)}
    assert options_of_flows()[name] - sections <= listed
