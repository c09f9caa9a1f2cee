"""`tend doctor`: what is wrong with an installation, and what to do about it."""

import asyncio
import json
import sys
from collections import Counter
from contextlib import nullcontext
from typing import Annotated, Final

import typer

from backend import config, embedded
from backend.operations.doctor import configuration, connections, data, outside
from backend.operations.doctor.findings import Check, Finding, Level, Patient, examined, failed, fine
from backend.rules.text import counted
from backend.terminal import console, database

# In this order. A check that needs another one is left out when that one failed.
CHECKS: Final = (
    Check("production", configuration.production),
    Check("proxies", configuration.proxies),
    Check("cors", configuration.cors),
    Check("secrets", configuration.secrets),
    Check("storage", configuration.storage),
    Check("database", connections.reached),
    Check("direct database", connections.direct, "database"),
    Check("server version", connections.version, "database"),
    Check("encryption", connections.encryption, "database"),
    Check("round trip", connections.round_trip, "database"),
    Check("clock", connections.clock, "database"),
    Check("prepared statements", connections.prepared_statements, "database"),
    Check("replica", connections.replica),
    Check("connections", connections.limits, "database"),
    Check("migrations", data.migrations, "database"),
    Check("extensions", data.extensions, "database"),
    Check("search configurations", data.search_configurations, "migrations"),
    Check("letters", data.letters, "database"),
    Check("rights", data.rights, "migrations"),
    Check("time limits", data.time_limits, "database"),
    Check("keys", data.sealed, "migrations"),
    Check("housekeeping", data.housekeeping, "migrations"),
    Check("size", data.size, "database"),
    Check("mail", outside.mail),
    Check("providers", outside.providers),
)
COLOURS: Final = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red", Level.SKIPPED: "dim"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")] = False,
) -> None:
    """Look at the configuration, the database, mail and providers, and say what to do about what is wrong.

    Nothing is changed and no mail is sent; each look takes five seconds at most. The exit code is 1 when something
    fails, and 0 when there are only warnings. No secret is shown.
    """
    try:
        settings = config.load()
    except config.SettingsError as error:
        wrong = failed(str(error).replace("\n", "; "), "Correct the environment or `.env`; see `.env.example`.")
        found = [("configuration", wrong), *((check.name, check.left_out("configuration")) for check in CHECKS)]
        if not as_json:
            for name, finding in found:
                _show(name, finding)
        _end(found, as_json)
    there_is_one = settings.database_url or embedded.exists(settings.data_dir)
    with database() if there_is_one else nullcontext(settings) as ready:
        patient = Patient(ready, is_embedded=settings.database_url is None)
        _end(asyncio.run(_examine(patient, as_json)), as_json)


async def _examine(patient: Patient, as_json: bool) -> list[tuple[str, Finding]]:
    found: dict[str, Finding] = {"configuration": fine("can be read")}
    if not as_json:
        _show(*next(iter(found.items())))
    try:
        for check in CHECKS:
            found[check.name] = await examined(check, patient, found)
            if not as_json:
                _show(check.name, found[check.name])
    finally:
        await patient.close()
    return list(found.items())


def _show(name: str, finding: Finding) -> None:
    word = finding.level.upper() if finding.level is Level.FAIL else finding.level
    console.print(f"[{COLOURS[finding.level]}]{word:<7}[/] {name:<21} ", end="")
    advice = f"\n{'':<30}{finding.advice}" if finding.advice else ""
    console.print(f"{finding.said}{advice}", markup=False, soft_wrap=True)


def _end(found: list[tuple[str, Finding]], as_json: bool) -> None:
    levels = Counter(finding.level for _, finding in found)
    if as_json:
        checks = [{"name": name, **finding._asdict()} for name, finding in found]
        sys.stdout.write(json.dumps({"healthy": not levels[Level.FAIL], "checks": checks}) + "\n")
    else:
        warnings = counted(levels[Level.WARN], "warning")
        console.print(f"\n{levels[Level.FAIL]} failed, {warnings}, {levels[Level.OK]} fine.")
    raise typer.Exit(1 if levels[Level.FAIL] else 0)
