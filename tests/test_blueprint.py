"""`render.yaml` and its variant for the free plan, held against Render's rules and against Tend itself."""

import re
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import pytest
import typer
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from backend import cli, draining
from backend.background import LAST_SECONDS
from backend.config import Settings
from tests.client import Statements
from tests.servers import ROOT

BLUEPRINTS = [ROOT / "render.yaml", ROOT / "docs" / "render-free.yaml"]
OF_RENDER = {"PYTHON_VERSION", "PORT"}
"""Environment variables that Render reads itself, or sets."""

# Render's blueprint specification (render.com/docs/blueprint-spec), as far as a web service from a repository goes.
# What is deprecated there (`env`, `autoDeploy`) is an unknown key here.


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Reference(Strict):
    name: str
    type: str | None = None
    property: str | None = None
    envVarKey: str | None = None  # noqa: N815


class Variable(Strict):
    """One source, or none of it is known."""

    key: str | None = None
    value: str | int | float | None = None
    generateValue: Literal[True] | None = None  # noqa: N815
    sync: Literal[False] | None = None
    fromDatabase: Reference | None = None  # noqa: N815
    fromService: Reference | None = None  # noqa: N815
    fromGroup: str | None = None  # noqa: N815

    @model_validator(mode="after")
    def _one_source(self) -> "Variable":
        assert len(self.model_fields_set - {"key"}) == 1, "one source a variable"
        assert (self.key is None) == (self.fromGroup is not None), "a key, unless it is a group"
        return self


class WebService(Strict):
    type: Literal["web"]
    name: str
    runtime: Literal["python"]
    plan: Literal["free", "starter", "standard", "pro", "pro plus", "pro max", "pro ultra"] = "starter"
    region: Literal["oregon", "ohio", "virginia", "frankfurt", "singapore"] = "oregon"
    repo: str | None = None
    branch: str | None = None
    rootDir: str | None = None  # noqa: N815
    buildFilter: dict[Literal["paths", "ignoredPaths"], list[str]] | None = None  # noqa: N815
    buildCommand: str  # noqa: N815
    preDeployCommand: str | None = None  # noqa: N815
    startCommand: str  # noqa: N815
    healthCheckPath: Annotated[str, Field(pattern="^/")] = "/"  # noqa: N815
    autoDeployTrigger: Literal["commit", "checksPass", "off"] = "commit"  # noqa: N815
    maxShutdownDelaySeconds: Annotated[int, Field(ge=1, le=300)] = 30  # noqa: N815
    numInstances: Annotated[int, Field(ge=1, le=100)] = 1  # noqa: N815
    scaling: dict[str, int] | None = None
    domains: list[str] | None = None
    envVars: list[Variable] = []  # noqa: N815

    @model_validator(mode="after")
    def _the_free_plan_is_one_plain_instance(self) -> "WebService":
        if self.plan == "free":
            paid = {"preDeployCommand", "numInstances", "scaling"} & self.model_fields_set
            assert not paid, f"not on the free plan: {paid}"
        return self


class Blueprint(Strict):
    services: Annotated[list[WebService], Field(min_length=1)]


def web(path: Path) -> dict[str, Any]:
    services = yaml.safe_load(path.read_text())["services"]
    found: dict[str, Any] = next(each for each in services if each["type"] == "web")
    return found


@pytest.fixture(params=BLUEPRINTS, ids=lambda path: path.name)
def service(request: pytest.FixtureRequest) -> WebService:
    return Blueprint.model_validate({"services": [web(request.param)]}).services[0]


def variables(service: WebService) -> dict[str | None, Variable]:
    return {each.key: each for each in service.envVars}


@pytest.mark.parametrize(
    "wrong",
    [
        {"env": "python"},
        {"autoDeploy": True},
        {"plan": "free"},
        {"plan": "small"},
        {"region": "paris"},
        {"healthCheckPath": "health"},
        {"maxShutdownDelaySeconds": 301},
        {"envVars": [{"key": "JWT_SECRET", "value": "a", "generateValue": True}]},
        {"envVars": [{"key": "JWT_SECRET"}]},
        {"envVars": [{"key": "JWT_SECRET", "sync": True}]},
    ],
    ids=str,
)
def test_what_render_would_refuse_is_refused_here(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WebService.model_validate({**web(BLUEPRINTS[0]), **wrong})


def test_every_variable_is_a_setting_of_tend_or_one_of_render_s(service: WebService) -> None:
    known = {name.upper() for name in Settings.model_fields} | OF_RENDER

    assert {each.key for each in service.envVars} <= known


def test_the_values_are_ones_that_tend_takes(service: WebService) -> None:
    given = {str(each.key).lower(): str(each.value) for each in service.envVars if each.value is not None}
    theirs = {"database_url": "postgresql://a@b-pooler/c", "direct_database_url": "postgresql://a@b/c"}
    known = {name: value for name, value in given.items() if name in Settings.model_fields}

    settings = Settings(_env_file=None, jwt_secret="x" * 44, **known, **theirs)  # type: ignore[arg-type]

    assert settings.environment == "production"
    assert settings.host == "0.0.0.0"
    assert settings.trusted_proxies
    assert settings.web_concurrency == (1 if service.plan == "free" else 2)


def test_no_secret_is_written_down(service: WebService) -> None:
    for key, variable in variables(service).items():
        if re.search("SECRET|PASSWORD|DATABASE|SMTP|PROVIDERS", str(key)):
            assert variable.value is None, key


def test_python_is_named_in_full(service: WebService) -> None:
    assert re.fullmatch(r"3\.(1[1-9])\.\d+", str(variables(service)["PYTHON_VERSION"].value))


def test_its_commands_are_commands_of_tend(service: WebService) -> None:
    names = set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
    for line in filter(None, (service.preDeployCommand, service.startCommand)):
        program, command = shlex.split(line, comments=True)
        assert program == "tend"
        assert command in names


def test_what_it_installs_from_is_there_and_locked(service: WebService) -> None:
    locked, itself = service.buildCommand.split(" && ")

    assert locked == "pip install --require-hashes -r requirements.lock"
    assert itself == "pip install --no-deps --no-build-isolation -e ."
    assert (ROOT / "requirements.lock").is_file()
    assert (ROOT / "pyproject.toml").is_file()


async def test_its_health_check_asks_no_database(
    service: WebService, http: httpx.AsyncClient, statements: Statements
) -> None:
    answer = await http.get(service.healthCheckPath)

    assert answer.status_code == 200
    assert statements == []


def test_render_waits_longer_than_tend_takes_to_stop(service: WebService) -> None:
    most = draining.HANDSHAKE_SECONDS + draining.QUEUE_SECONDS + cli.GRACEFUL_SECONDS + LAST_SECONDS

    assert service.maxShutdownDelaySeconds > most
