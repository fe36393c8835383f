"""A flow as a command: its config as options, a short help, a look ahead, errors in one line.

triptych curate matrix11k --manifest videos/captions.jsonl
triptych curate matrix11k --help          the options that a newcomer needs first
triptych curate matrix11k --help-all      every setting of every stage
triptych curate matrix11k ... --dry-run   what would be computed, and what is known already
"""

from __future__ import annotations

import difflib
import logging
import sys
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import httpx
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import CliApp, SettingsError

from flows.engine.config import CurationConfig
from flows.engine.dispatch import ShardsFailed
from flows.engine.display import terminal
from flows.engine.options import FlowConfig
from flows.engine.pipeline import Preview, ReportFailed
from flows.engine.prefect_api import Api, configured_api
from flows.engine.process import cut_off
from flows.engine.steps import log_plainly
from schemas.outcome import ServiceDown
from schemas.storage import AnyPath
from tasks.engine.publish import LedgerError, YieldTooLow
from tasks.engine.snapshots import SnapshotError
from tasks.engine.work import require_writable
from tasks.readers.lines import ManifestError
from tasks.training.launch import GO_ON_LATER, JobFailed, JobStopped, RunRefused
from tasks.training.runs.reading import RunError

WIDTH = 100
NOT_LATEST, NO_PAGE = 3, 4  # exit statuses of runs that published a snapshot; all other errors end with 1
ENDS = (  # the last line tells them
    *(YieldTooLow, ReportFailed, ManifestError, ShardsFailed, LedgerError, SnapshotError),
    *(RunRefused, JobFailed, JobStopped, RunError),
)


@dataclass(frozen=True)
class FlowCommand(ABC):
    """A flow as a command of `triptych`."""

    config: type[Any]  # a FlowConfig

    @property
    @abstractmethod
    def flow_name(self) -> str:
        """Its name in Prefect: "curate-matrix11k"."""

    @property
    def name(self) -> str:
        """What is curated, prepared or trained: "matrix11k"."""
        return self.flow_name.partition("-")[2]

    @property
    def command(self) -> str:
        return f"triptych {self.flow_name.replace('-', ' ', 1)}"

    @abstractmethod
    def look(self, config: Any) -> Iterator[str]:
        """What a run would do, line by line; it does nothing. Raises what a run would raise before it begins."""

    @abstractmethod
    def run(self, config: Any) -> AnyPath:
        """Run the flow, plainly or, where an API is configured, as a run that Prefect shows; the published folder."""

    def deployments_of(self, config: Any) -> list[str]:
        """The other deployments that a deployed run starts, as FLOW/NAME."""
        return []

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Run the command. Exits with one line about what a user can mend."""
        asked = list(sys.argv[1:] if arguments is None else arguments)
        if {"-h", "--help"} & {*asked}:
            print(*short_help(self), sep="\n")
            return
        if "--help-all" in asked:
            print(f"{self.command}: every setting, and --dry-run, which tells what would be done\n")
            asked = ["--help"]
        is_dry = "--dry-run" in asked
        with errors_in_one_line(self.name):
            config = self.parse([option for option in asked if option != "--dry-run"])
            config.require_inputs()
            if is_dry:
                print(*self.look(config), sep="\n")
            else:
                self.run(config)

    def parse(self, arguments: list[str], given: Mapping[str, Any] | None = None) -> Any:
        """The config that options make. Exits with one line about an option that there is not.

        given: a config's values; options go on top of them
        """
        given = given or {}
        known = ["--help", *_options_of(self.config)]
        named = [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]
        for option in named:
            if not any(name.startswith(option) for name in known):
                close = difflib.get_close_matches(option, known, 1)
                sys.exit(f"there is no option {option}; {f'did you mean {close[0]}? ' if close else ''}{self._more}")
        # CliApp wants required fields among the options, whatever is given.
        for name, field in self.config.model_fields.items():
            option = _option(name)
            if field.is_required() and name in given and option not in named:
                arguments = [f"{option}={given[name]}", *arguments]
        try:
            return CliApp.run(self.config, cli_args=arguments, cli_exit_on_error=False, **given)
        except SettingsError as error:
            sys.exit(f"{str(error).removeprefix('error parsing CLI: ')}; {self._more}")
        except ValidationError as error:
            sys.exit("\n".join([*fault_lines(error), self._more]))

    @property
    def _more(self) -> str:
        return f"`{self.command} --help` lists the first options, --help-all every one"


@dataclass(frozen=True)
class CurationFlow(FlowCommand):
    """What a curation's flow file gives to the commands."""

    curate: Any  # the Prefect flow: config -> the snapshot's folder
    look_ahead: Callable[[Any], list[Preview]]  # what a run would do, stage by stage
    demo: Callable[[Path], list[str]] | None = None  # makes a small input in a folder; the options of a run over it

    @property
    def flow_name(self) -> str:
        name: str = self.config.product.flow
        return name

    def look(self, config: CurationConfig) -> Iterator[str]:
        return preview_lines(self.look_ahead(config))

    def run(self, config: CurationConfig) -> AnyPath:
        """Run the flow.

        Raises ServiceDown before anything is computed if that API does not answer or the root cannot be written to.
        """
        api = look_before(config.root)
        if api is None and config.dispatch.deployment:
            raise ServiceDown(
                f"--dispatch.deployment {config.dispatch.deployment}: a Prefect server sends shards there, and none is "
                "configured: set PREFECT_API_URL, or leave the option out"
            )
        curate = self.curate if api else self.curate.fn
        with api.followed() if api else nullcontext():
            folder: AnyPath = curate(config)
        return folder

    def deployments_of(self, config: CurationConfig) -> list[str]:
        return sorted({name for name in (config.dispatch.deployment, *config.dispatch.routes.values()) if name})


def look_before(root: AnyPath, option: str = "--root") -> Api | None:
    """The configured API, after a look at what every run needs. Raises ServiceDown if it is not there.

    option: what names the root
    """
    require_writable(root, option)
    if api := configured_api():
        api.require()
    return api


@contextmanager
def errors_in_one_line(name: str) -> Iterator[None]:
    """What a user can mend ends the process with one line, the last, and its exit status."""
    if configured_api() is None:
        log_plainly()
    setattr(terminal(), "on_broken_pipe", cut_off)  # noqa: B010 - rich's own method exits with status 1
    told = ToldOnce()
    for logger in ("prefect", "prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(logger).addFilter(told)
    try:
        yield
    except (YieldTooLow, ReportFailed) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(NOT_LATEST if isinstance(error, YieldTooLow) else NO_PAGE)
    except JobStopped as error:
        print(f"JobStopped: {error}", file=sys.stderr)
        sys.exit(GO_ON_LATER)
    except (*ENDS, ServiceDown) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except httpx.TransportError as error:  # only Prefect's: model servers' and stores' are ServiceDown
        api = configured_api()
        sys.exit(f"{type(error).__name__}: {error}" if api is None else f"ServiceDown: {api.is_away(error)}")
    except BrokenPipeError:
        raise  # nobody reads any more: `| head`
    except OSError as error:
        sys.exit(f"{error.filename or name}: {error.strerror or error}")


class ToldOnce(logging.Filter):
    """Keeps out of Prefect's log what the last line tells: each run logs such an error with a traceback, and its state.

    A service that is down ends shards one by one: each is one line. Errors of the program keep their tracebacks.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: set[int] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if message.startswith("Finished in state Failed"):
            return not any(f"{kind.__name__}: " in message for kind in (*ENDS, ServiceDown))
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, (*ENDS, httpx.TransportError)) or id(error) in self._told:
            return False
        if isinstance(error, ServiceDown):
            self._told.add(id(error))
            record.msg, record.args, record.exc_info = f"ServiceDown: {error}", (), None
        return True


def fault_lines(error: ValidationError) -> Iterator[str]:
    """What is wrong with which option, a line each."""
    for fault in error.errors(include_url=False, include_context=False):
        where = _option(".".join(map(str, fault["loc"]))) if fault["loc"] else "options"
        given = "" if isinstance(fault["input"], dict | BaseModel) else f", got {str(fault['input'])[:80]!r}"
        yield f"{where}: {fault['msg'].removeprefix('Value error, ')}{given}"


# --- Help ------------------------------------------------------------------------------------


def short_help(flow: FlowCommand) -> Iterator[str]:
    """The options that a newcomer needs first, with their defaults."""
    command = flow.command
    required = [_option(n) for n in flow.config.first_options if "." not in n and _field(flow.config, n).is_required()]
    yield " ".join(["usage:", command, *(f"{option} {option[2:].upper()}" for option in required), "[options]"])
    yield ""
    yield (sys.modules[flow.config.__module__].__doc__ or "").partition("\n")[0].partition(": ")[2]
    yield ""
    options = [(_option(name), *_told(flow.config, name)) for name in flow.config.first_options]
    options.append(("--dry-run", "Tell what would be done and what is done already; do nothing", ""))
    left = max(len(option) for option, *_ in options) + 2
    for option, text, default in options:
        first, *others = textwrap.wrap(text + default, WIDTH - left - 2)
        yield f"  {option:<{left}}{first}"
        yield from (" " * (left + 2) + line for line in others)
    yield ""
    yield f"{command} --help-all lists every setting."


def _field(config: type[BaseModel], name: str) -> FieldInfo:
    """A field by its path: 'extract.llm'."""
    first, _, rest = name.partition(".")
    field = config.model_fields[first]
    if not rest:
        return field
    assert isinstance(field.annotation, type)
    return _field(field.annotation, rest)


def _options_of(config: type[BaseModel], before: str = "") -> Iterator[str]:
    """Every option: --manifest, --split.detector, ..."""
    for name, field in config.model_fields.items():
        yield _option(before + name)
        if field.annotation is bool:
            yield _option(f"no-{before}{name}")
        for kind in (field.annotation, *get_args(field.annotation)):  # a section that may be null has options, too
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _options_of(kind, f"{before}{name}.")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _told(config: type[FlowConfig], name: str) -> tuple[str, str]:
    """What a field is for, and its choices and default."""
    field, (section, _, rest) = _field(config, name), name.partition(".")
    choices = f" [{', '.join(get_args(field.annotation))}]" if get_origin(field.annotation) is Literal else ""
    known = None if not rest and field.is_required() else config.default_of(name)
    default = "" if known is None else f" (default: {known})"
    if by_choice := config.told_by_choice(section, rest):
        default = f" ({by_choice})"
    return field.description or "", choices + default


# --- Looking ahead -----------------------------------------------------------------------------


def preview_lines(previews: Sequence[Preview]) -> Iterator[str]:
    """A table of what each stage would do."""
    yield f"{'stage':<18} {'known':>8} {'to compute':>11}"
    for line in previews:
        more = f"   and what comes of {line.open} rows that are to be computed before" if line.open else ""
        yield f"{line.stage:<18} {line.known:>8} {line.to_compute:>11}{more}"
    if not any(line.to_compute for line in previews):
        yield "nothing is to be computed: a run would publish what is known"
