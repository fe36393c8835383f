"""What every curation flow can be told, and a flow's table: its stages, its profiles.

    class CurateToy(CurationConfig):
        product: ClassVar[Dataset] = TOY
        steps: ClassVar[Sequence[Step]] = (Step(Window, Letters, lambda c: stage(c.count)),)

The same class is read from options, from a deployment's parameters and from Prefect's run form (run_form.py).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, get_args

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from flows.engine.options import FlowConfig
from flows.engine.options import Profiles as Profiles
from flows.engine.run_form import FORM_HELP, field_a_key, in_order, section_field
from schemas.config import Settings, StageConfig
from schemas.outcome import Subject
from schemas.record import StageResult
from schemas.storage import AnyPath, DataPath
from schemas.usage import TokenPrices
from tasks.backends.openai.api import EndpointConfig
from tasks.engine.dataset import Dataset
from tasks.engine.shards import SHARD_SIZE
from tasks.engine.snapshots import Snapshot
from tasks.engine.stage import AnyStage
from tasks.engine.work import Work
from tasks.metrics.compare_truth import TruthReport

WRITE = "write_shard"  # the last step of a shard, which may be routed as stages are


class Step(NamedTuple):
    """A line of a flow's table: what becomes of which rows, and how the stage is built from the config."""

    payload: type[Subject]  # what its rows are
    result: type[StageResult]  # what it makes of one
    build: Callable[[Any], AnyStage]

    @property
    def stage(self) -> str:
        """Its name in routes and logs."""
        return self.result.stage_name


class DispatchConfig(Settings):
    """Where shards run. No part of any key: the same work is the same work anywhere."""

    deployment: str | None = Field(
        None, description="Deployment that runs a shard, as FLOW/NAME; empty: shards run in this process"
    )
    routes: dict[str, str] = Field(
        default_factory=dict, description="Stages that need another machine: stage -> deployment, as FLOW/NAME"
    )
    poll_s: float = Field(
        5.0, gt=0, title="Interval of looks (s)", description="How often the parent looks at its shards"
    )
    server_patience_s: float = Field(900.0, gt=0, description="How long the parent bears an unreachable Prefect server")
    silence_s: float = Field(
        90.0, gt=0, description="A run without a heartbeat for this long is dead (prefect.yaml: 30 s)"
    )
    start_s: float = Field(
        900.0, gt=0, description="A run that a worker took and did not start for this long is dead, with its worker"
    )
    crash_retries: int = Field(2, ge=0, description="How often a shard whose process died is queued again by itself")


class CurationConfig(FlowConfig):
    """What every curation flow can be told."""

    product: ClassVar[Dataset]
    steps: ClassVar[Sequence[Step]]  # in order; those whose rows are not the last one's come before the shards
    profile_meanings: ClassVar[Mapping[str, str]] = {}  # what to expect of what each profile makes, in a sentence

    dataset: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Name of the dataset")
    root: DataPath = Field(
        Path("data"), description="Folder for the work, the snapshots and the reports; a path or s3://bucket/prefix"
    )
    limit: int | None = Field(None, ge=1, description="Take only the first so many rows of the input: for a trial")
    min_yield: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Least share of accepted rows among all rows (clips, and lines and videos that made none), 0.2 for "
        "20 %: below it, and wherever nothing is accepted, the snapshot is published, LATEST stays as it is and the "
        "run fails",
    )
    report: bool = Field(True, description="Write a page about the snapshot, with videos of some of its clips")
    shard_size: int = Field(SHARD_SIZE, ge=1, description="Clips a shard")
    endpoint: EndpointConfig = Field(
        EndpointConfig(), title="Model servers", description="How LLM and VLM servers are asked"
    )
    dispatch: DispatchConfig = Field(DispatchConfig(), description="Where shards run")
    prices: TokenPrices = Field(
        TokenPrices(), title="Token prices", description="What tokens cost: told in the report, no part of any key"
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse profiles that set what is not there, or where null is another answer than the default.

        Null says that nothing is asked for.
        """
        super().__pydantic_init_subclass__(**kwargs)
        sections = cls.sections()
        for section, choices in (choice for profile in cls.profiles.values() for choice in profile.items()):
            for name in choices:
                field = sections[section].model_fields.get(name) if section in sections else None
                default = getattr(cls.default_of(section), name) if field else None
                if field is None or (type(None) in get_args(field.annotation) and default is not None):
                    raise TypeError(
                        f"{cls.__name__}: a profile sets {section}.{name}: no setting, or one that may be null"
                    )

    @property
    def made_with(self) -> str:
        """Which profile chose the backends, what else was asked for, and what the profile means; or nothing."""
        profile: str = getattr(self, "profile", "")
        if profile not in self.profiles:
            return ""
        sections = {section for choices in self.profiles.values() for section in choices}
        settings = [
            (section, name) for section in sorted(sections) for name in type(getattr(self, section)).model_fields
        ]
        changed = [
            f"{section}.{name} {value}"
            for section, name in settings
            if (by_profile := self.by_profile(section, name))
            and (value := getattr(getattr(self, section), name)) != by_profile[profile]
        ]
        but = f", changed ({', '.join(changed)}); unchanged, it means" if changed else ""
        return f"made with profile {profile}{but}: {self.profile_meanings.get(profile, 'not told')}"

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema that Prefect's run form is drawn from: flows/engine/run_form.py."""
        schema = handler(core_schema)
        form = handler.resolve_ref_schema(schema)
        properties, sections = form["properties"], cls.sections()
        for section, kind in sections.items():
            decided = {name: told for name in kind.model_fields if (told := cls.by_profile(section, name))}
            referred, default = handler.resolve_ref_schema(properties[section]), cls.default_of(section)
            if section == "dispatch":
                routes = field_a_key(referred["properties"]["routes"], cls._routed(), "Deployment, as FLOW/NAME")
                referred = {**referred, "properties": {**referred["properties"], "routes": routes}}
            properties[section] = section_field(properties[section], referred, default.model_dump(mode="json"), decided)
        first = [name for name in cls.first_options if name in properties]
        plain = [name for name in properties if name not in sections]
        own = [name for name in sections if name not in CurationConfig.model_fields]  # in the order of the stages
        form["properties"] = in_order(properties, dict.fromkeys([*first, *plain, *own, *properties]))
        form["description"] = f"{form['description']} {FORM_HELP}"
        return schema

    @field_validator("root", mode="before")
    @classmethod
    def _is_named(cls, root: Any) -> Any:
        if root == "":
            raise ValueError("the root is empty; name a folder (deployed: export it before `triptych deploy`)")
        return root

    @field_validator("dispatch")
    @classmethod
    def _routes_are_stages(cls, dispatch: DispatchConfig) -> DispatchConfig:
        if unknown := sorted(set(dispatch.routes) - set(cls._routed())):
            raise ValueError(f"routes: there is no stage {', '.join(unknown)}; there are {', '.join(cls._routed())}")
        return dispatch

    @model_validator(mode="after")
    def _is_the_same_on_every_worker(self) -> Self:
        """A worker runs each flow run in a folder of its own, and deletes it at the end."""
        for name, path in self:
            if self.dispatch.deployment is not None and isinstance(path, Path) and not path.is_absolute():
                raise ValueError(f"{name} is {path}, which is another place on each worker; name an absolute path")
        return self

    @classmethod
    def _routed(cls) -> list[str]:
        """What may be sent to a machine of its own."""
        return [*(step.stage for step in cls.steps), WRITE]

    @property
    @abstractmethod
    def work(self) -> Work:
        """Where everything is computed."""

    @property
    def snapshots(self) -> AnyPath:
        return self.root / "snapshots"

    def step(self, stage: str) -> Step:
        """Raises ValueError if the table has no such stage."""
        found = next((step for step in self.steps if step.stage == stage), None)
        if found is None:
            raise ValueError(f"no stage {stage!r}; there are {', '.join(step.stage for step in self.steps)}")
        return found

    def stage(self, name: str) -> AnyStage:
        """A stage with its config and backends. Raises ValueError if there is none of this name."""
        return self.step(name).build(self)

    @property
    def stages(self) -> list[AnyStage]:
        """Those that rows go through with this config, in order."""
        return [step.build(self) for step in self.steps]

    @property
    def row_payload(self) -> type[Subject]:
        """What the rows are that shards carry through to the tables."""
        return self.steps[-1].payload

    @property
    def shard_stage_names(self) -> list[str]:
        return [step.stage for step in self.steps if step.payload is self.row_payload]

    @property
    def shard_stages(self) -> list[AnyStage]:
        return [self.stage(name) for name in self.shard_stage_names]

    def require_inputs(self) -> None:
        """Look before a server is started for it. Raises ManifestError if what the run would read is not there."""

    @property
    def settings(self) -> dict[str, StageConfig]:
        """What is not a stage's and yet decides on what is published, by the name of what it is given to."""
        return {}

    @property
    def in_manifest(self) -> dict[str, Any]:
        """What a snapshot's manifest tells of this config: configs by name, the shards' stages, who makes the rows."""
        stages = self.stages
        configs = {stage.name: stage.config for stage in stages} | self.settings
        return {
            "configs": {name: settings.model_dump(mode="json") for name, settings in configs.items()},
            "stages": self.shard_stage_names,
            "made_by": [maker for stage in stages for maker in stage.made_by],
        }

    def compare_truth(self, snapshot: Snapshot) -> TruthReport | None:
        """How a snapshot compares with the truth of its input, where that is known."""
        return None
