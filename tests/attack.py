"""Asks every operation of a running Tend whatever its OpenAPI allows, and what it does not: `make attack`."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
from rich.console import Console

from tests.provider import packaged
from tests.served import Served, serving

console: Final = Console(highlight=False, markup=False, soft_wrap=True)
USERS: Final = ("ada", "bob")
"""Who must not see each other's tasks and filters. What ends sign-ins is asked by others: attack_hooks.py."""
PASSWORD: Final = "three words, and unusual ones"
BACK: Final = "https://app.example.com/signed-in"

ABOUT: Final = """
Starts Tend on a Postgres of its own in a temporary folder, registers users, gives them tasks, projects, filters and
tokens, and has schemathesis ask every operation of the OpenAPI: its examples, the values at the limits of its schemas,
random ones that fit them and random ones that do not, and requests in a row that use what was answered before. All
checks are on: no status, body or header that is not documented, no 5xx, nothing refused that a schema allows and
nothing accepted that it does not, nothing without a token, nothing of another user. Needs no internet, and leaves
nothing behind.
"""
EXAMPLES: Final = """
examples:
  make attack                                               everything, in five minutes
  make attack ARGS='--seconds 3600 --seed 7'                an hour, with other values
  make attack ARGS='-- --include-path /v1/tasks'            one path; what follows -- is for `schemathesis run`
  make attack ARGS='-- --phases coverage --max-failures 1'  one phase, until the first failure

The same seed asks the same, as far as the time reaches. The exit code is 0 when nothing failed, and otherwise that
of schemathesis. What is no failure, and why, is in tests/attack_hooks.py.
"""

# Without what exists, most requests would end at 401, 404 or 412.
CONFIG: Final = """
hooks = "tests.attack_hooks"

[cache]
enabled = false

[generation]
database = "none"

[auth]
auto-signup = false

[auth.wfc]
path = {users}
user = "ada"
peers = ["ada", "bob"]

[dictionaries]
any = {{ values = ["*"] }}
deleted_projects = {{ values = {deleted_projects} }}
deleted_tasks = {{ values = {deleted_tasks} }}
emails = {{ values = ["ada@example.com"] }}
filters = {{ values = {filters} }}
passwords = {{ values = [{password}] }}
projects = {{ values = {projects} }}
refresh_tokens = {{ values = {refresh_tokens} }}
tags = {{ values = ["ada", "home", "waiting"] }}
tasks = {{ values = {tasks} }}
uris = {{ values = ["https://app.example.com/signed-in"] }}

[parameters]
"path.deleted_project_id" = {{ dictionary = "deleted_projects", probability = 0.5 }}
"path.deleted_task_id" = {{ dictionary = "deleted_tasks", probability = 0.5 }}
"path.project_id" = {{ dictionary = "projects", probability = 0.5 }}
"path.tag" = {{ dictionary = "tags", probability = 0.5 }}
"path.task_id" = {{ dictionary = "tasks", probability = 0.5 }}
"path.other_id" = {{ dictionary = "tasks", probability = 0.5 }}
"query.saved" = {{ dictionary = "filters", probability = 1.0 }}
"header.if-match" = {{ dictionary = "any", probability = 0.5 }}
"body.after" = {{ dictionary = "tasks", probability = 0.9 }}
"body.before" = {{ dictionary = "tasks", probability = 0.9 }}
"body.project_id" = {{ dictionary = "projects", probability = 0.5 }}
"body.ids[*]" = {{ dictionary = "tasks", probability = 0.9 }}
"body.to" = {{ dictionary = "tasks", probability = 0.9 }}
"body.username" = {{ dictionary = "emails", probability = 0.5 }}
"body.current_password" = {{ dictionary = "passwords", probability = 0.5 }}
"body.redirect_uri" = {{ dictionary = "uris", probability = 0.5 }}
"body.refresh_token" = {{ dictionary = "refresh_tokens", probability = 0.5 }}

[[operations]]
include-name = "POST /v1/auth/token"
parameters = {{ "body.password" = {{ dictionary = "passwords", probability = 0.5 }} }}

[[operations]]
include-name = "POST /v1/projects/{{project_id}}/move"

[operations.parameters]
"body.after" = {{ dictionary = "projects", probability = 0.9 }}
"body.before" = {{ dictionary = "projects", probability = 0.9 }}
"""


class Given(NamedTuple):
    """What a user has, and the token that asks for it: a personal one, which outlives sign-ins."""

    token: str
    tasks: list[str]
    projects: list[str]
    deleted_tasks: list[str]
    deleted_projects: list[str]
    filters: list[str]
    refresh_tokens: list[str]


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that what was started is stopped
    console.print("Starting Tend and registering users …")
    with tempfile.TemporaryDirectory(prefix="tend-attack-") as name, packaged() as issuer:
        folder = Path(name)
        with serving(
            folder / "data",
            TRUSTED_PROXIES="127.0.0.1",  # each request may name the address that it comes from
            OIDC_PROVIDERS=json.dumps({"google": {"issuer": issuer, "client_id": "tend", "client_secret": "secret"}}),
            OIDC_REDIRECT_URIS=json.dumps([BACK]),
        ) as served:
            code = _attack(served, folder, options)
        _show_traces(served.printed)
        _tell(folder / "report.json", code)
    return code


def _attack(served: Served, folder: Path, options: argparse.Namespace) -> int:
    begun = time.monotonic()
    given = {user: give(served.url, user) for user in USERS}
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(_configure(folder, given))),
        *("run", f"{served.url}/openapi.json", "--checks", "all", "--mode", "all"),
        *("--exclude-path", "/v1/events"),  # its answer has no end
        *("--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure"),
        *("--seed", str(options.seed), "--max-time", str(max(1, options.seconds - int(time.monotonic() - begun)))),
        *("--report", "json", "--report-json-path", str(folder / "report.json")),
        *options.rest,
    ]
    process = subprocess.Popen(command, env={**os.environ, "TEND_ATTACKED": served.url})
    try:
        while process.poll() is None:
            served.read(0.5)
    except KeyboardInterrupt:  # schemathesis has heard it too, and sums up
        process.wait()
    finally:
        process.kill()
    return process.returncode


def give(url: str, name: str) -> Given:
    """Registers somebody, who is given something of everything."""
    email = f"{name}@example.com"
    with httpx.Client(base_url=url, timeout=30) as http:

        def posted(path: str, **options: Any) -> Any:
            return http.post(path, **options).raise_for_status().json()

        posted("/v1/auth/register", json={"email": email, "password": PASSWORD, "name": name.title()})
        form = {"username": email, "password": PASSWORD}
        pairs = [posted("/v1/auth/token", data={**form, "device": f"Phone {number}"}) for number in range(5)]
        http.headers["Authorization"] = f"Bearer {pairs[0]['access_token']}"
        tasks = posted("/v1/tasks/batch", json={"tasks": [_task(name, number) for number in range(100)]})["items"]
        projects = [posted("/v1/projects", json={"name": f"{name.title()}'s {n}"})["id"] for n in range(40)]
        ids = [task["id"] for task in tasks]
        for path in (*(f"/v1/tasks/{each}" for each in ids[:20]), *(f"/v1/projects/{each}" for each in projects[:20])):
            http.delete(path).raise_for_status()
        filters = [
            posted("/v1/filters", json={"name": f"{name.title()}: {text}", "filter": text, "sort": "due_date"})
            for text in ("is:pending due<=+1w", "tag:home", "priority:high -tag:waiting")
        ]
        scopes = ["tasks:read", "tasks:write", "account"]
        token = posted("/v1/me/tokens", json={"name": f"{name.title()}'s script", "scopes": scopes})["token"]
    return Given(
        token,
        tasks=ids[20:],
        projects=projects[20:],
        deleted_tasks=ids[:20],
        deleted_projects=projects[:20],
        filters=[saved["id"] for saved in filters],
        refresh_tokens=[pair["refresh_token"] for pair in pairs],
    )


def _task(name: str, number: int) -> dict[str, Any]:
    return {
        "title": f"{name.title()} waters the figs, time {number}",
        "description": f"Those of {name.title()} in the kitchen.",
        "priority": ("low", "medium", "high")[number % 3],
        "due_date": f"2030-01-{1 + number % 28:02}T18:00:00Z",
        "tags": ["home", name] if number % 2 else ["waiting"],
        "completed": number % 4 == 0,
    }


def _configure(folder: Path, given: dict[str, Given]) -> Path:
    tokens = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {its.token}"}]}
        for name, its in given.items()
    ]
    users, config = folder / "users.json", folder / "schemathesis.toml"
    users.write_text(json.dumps({"auth": tokens}))
    ada = {name: json.dumps(values) for name, values in given["ada"]._asdict().items()}
    config.write_text(CONFIG.format(**ada, users=json.dumps(str(users)), password=json.dumps(PASSWORD)))
    return config


def _show_traces(printed: str) -> None:
    """What failed on purpose is not logged with one."""
    start = printed.find("Traceback")
    if start >= 0:
        console.print(f"The first trace in Tend's log:\n{printed[start : start + 5_000]}")


def _tell(report: Path, code: int) -> None:
    if not report.exists():
        console.print("Nothing was asked: schemathesis did not start.")
        return
    ran = json.loads(report.read_text())
    asked, tested = ran["test_cases"]["generated"], (ran["operations"] or {}).get("tested", 0)
    failed = sum(group["count"] for group in ran["failures"])
    found = f"{failed} failures" if failed else ("nothing failed" if code == 0 else "broken off")
    console.print(
        f"{asked:,} requests to {tested} operations in {ran['running_time']:.0f} s, seed {ran['seed']}, "
        f"{ran['filtered']} refusals that no schema can say: {found}."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.attack",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds", type=int, default=300, help="how long it may take; random values are tried until then (300)"
    )
    parser.add_argument("--seed", type=int, default=1, help="chooses the random values (1)")
    parser.add_argument(
        "rest", nargs="*", metavar="-- …", help="options of `schemathesis run`, which come last and win"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
