"""What the image and the compose file promise, read from them; docs/containers.md says how they were tried."""

import re
from typing import Any

import yaml

from backend.config import Settings
from tests.servers import ROOT

IMAGES = (ROOT / "Dockerfile", ROOT / "containers" / "pgbouncer" / "Dockerfile")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())


def instructions(text: str) -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def test_images_are_pinned_and_run_as_a_numbered_user_without_rights() -> None:
    for path in IMAGES:
        steps = instructions(path.read_text())
        last = steps[max(index for index, (name, _) in enumerate(steps) if name == "FROM") :]
        for _, image in ((name, value) for name, value in steps if name == "FROM"):
            assert re.match(r"[a-z]+:[\w.-]*\d[\w.-]*\b|debian:trixie-slim", image), image
        assert re.fullmatch(r"\d{4,}:\d{4,}", dict(last)["USER"])
        assert dict(last)["CMD"].startswith("[")  # exec form: the signal reaches the program
        assert "STOPSIGNAL" in dict(last)


def test_tend_s_image_holds_what_the_lock_says_and_no_tools_to_build() -> None:
    steps = instructions(IMAGES[0].read_text())
    last = max(index for index, (name, _) in enumerate(steps) if name == "FROM")

    assert any("--require-hashes -r requirements.lock" in value for name, value in steps[:last] if name == "RUN")
    assert [name for name, _ in steps[last:] if name in {"RUN", "ADD"}] == []
    assert "/health/live" in dict(steps[last:])["HEALTHCHECK"]


def test_the_engine_is_sent_nothing_that_it_does_not_need() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]

    assert lines[0] == "*"
    copied = {
        word for name, value in instructions(IMAGES[0].read_text()) if name == "COPY" for word in value.split()[:-1]
    }
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == {
        word for word in copied if not word.startswith(("-", "/"))
    }


def test_compose_writes_no_secret_down_and_refuses_to_start_without() -> None:
    text = (ROOT / "compose.yaml").read_text()

    assert "${JWT_SECRET:?" in text
    assert "${POSTGRES_PASSWORD:?" in text
    for service in COMPOSE["services"].values():
        for name, value in service["environment"].items():
            if re.search("SECRET|PASSWORD|_URL", name):
                assert "${" in value, name


def test_the_database_is_migrated_directly_before_anything_serves_through_the_pooler() -> None:
    tend, migrate = COMPOSE["services"]["tend"], COMPOSE["services"]["migrate"]

    assert tend["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert migrate["command"] == ["tend", "migrate"]
    assert set(tend["environment"]) <= {name.upper() for name in Settings.model_fields}
    assert "@pgbouncer:" in tend["environment"]["DATABASE_URL"]
    assert "@postgres:" in tend["environment"]["DIRECT_DATABASE_URL"]
    assert "pool_mode = transaction" in (ROOT / "containers" / "pgbouncer" / "pgbouncer.ini").read_text()


def test_whatever_serves_in_compose_has_a_health_check() -> None:
    for name, service in COMPOSE["services"].items():
        if name not in {"tend", "migrate"}:  # the image has one; a migration ends
            assert "healthcheck" in service, name
