"""The way to the database."""

import asyncio
import ipaddress
import time
from statistics import median
from typing import Any, Final

import psycopg
from sqlalchemy import make_url

from backend import pooler
from backend.connection import arguments, keeps_prepared
from backend.operations.doctor.findings import Finding, Patient, connected, failed, fine, warned
from backend.terminal import GIVE_ONE

TRIPS: Final = 9
SLOW_SECONDS: Final = 0.02  # for a trip: a request makes one or two
SKEW_SECONDS: Final = 1.0
MOST_SKEW_SECONDS: Final = 30.0  # that tokens allow
OLDEST: Final = 150_000  # the server's number
WHICH: Final = "SELECT pg_postmaster_start_time(), oid, datname FROM pg_database WHERE datname = current_database()"
VERIFIED: Final = (
    "Add sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt to DATABASE_URL, unless the network "
    "between is yours alone."
)
LAG_SECONDS: Final = 10.0
LAG: Final = """
SELECT pg_is_in_recovery(), CASE WHEN pg_last_wal_receive_lsn() IS DISTINCT FROM pg_last_wal_replay_lsn()
THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 END
"""
VERSION: Final = "SELECT current_setting('server_version_num')::int, current_setting('server_version')"
RESERVED: Final = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
rolconnlimit, datconnlimit FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()
"""


async def reached(patient: Patient) -> Finding:
    if patient.settings.database_url is None:
        return failed("there is none", GIVE_ONE)
    try:
        user, name = await patient.ask("SELECT current_user, current_database()")
        patient.pooled = await asyncio.to_thread(pooler.is_pooled, patient.url, 4)
    except psycopg.OperationalError as error:
        return failed(str(error).splitlines()[0], "Is DATABASE_URL right, and is the server running?")
    way = "through a pooler" if patient.pooled else "directly"
    return fine(f"{_host(patient.url)} answers {way}, as {user} in {name}")


async def direct(patient: Patient) -> Finding:
    """Migrations must not go to another database than the one that is served."""
    settings = patient.settings
    if settings.direct_database_url is None:
        if patient.pooled:
            return failed("migrations would go through the pooler", "Set DIRECT_DATABASE_URL to the database itself.")
        return fine("DATABASE_URL is direct")
    url = settings.direct_database_url
    try:
        if await asyncio.to_thread(pooler.is_pooled, url, 4):
            return failed(f"{_host(url)} is a pooler", "Set DIRECT_DATABASE_URL to the database itself.")
        connection = await connected(url)
    except psycopg.OperationalError as error:
        return failed(str(error).splitlines()[0], "Is DIRECT_DATABASE_URL right?")
    try:
        there = await (await connection.execute(WHICH.encode())).fetchone()
    finally:
        await connection.close()
    here = await patient.ask(WHICH)
    if there != here:
        return failed(
            f"it is another database ({here[2]} is served, {there[2] if there else '?'} would be migrated)",
            "DATABASE_URL and DIRECT_DATABASE_URL must name the same server and database.",
        )
    return fine("the same database, without a pooler")


async def version(patient: Patient) -> Finding:
    number, name = await patient.ask(VERSION)
    if number < OLDEST:
        return failed(f"Postgres {name}", "Tend needs Postgres 15 or newer.")
    return fine(f"Postgres {name}")


async def encryption(patient: Patient) -> Finding:
    info = (await patient.connection()).info
    mode = info.get_parameters().get("sslmode", "prefer")
    if _is_local(info.host):
        return fine("the database is on this machine")
    if not info.pgconn.ssl_in_use:
        return warned("the connection is not encrypted", VERIFIED)
    if mode != "verify-full":
        return warned(f"the server's name is not verified (sslmode={mode})", VERIFIED)
    return fine("TLS, with the server verified")


async def round_trip(patient: Patient) -> Finding:
    took = []
    for _ in range(TRIPS):
        begun = time.perf_counter()
        await patient.ask("SELECT 1")
        took.append(time.perf_counter() - begun)
    middle = median(took)
    said = f"{middle * 1000:.1f} ms (the median of {TRIPS})"
    return fine(said) if middle < SLOW_SECONDS else warned(said, "Run Tend in the region of its database.")


async def clock(patient: Patient) -> Finding:
    """By the shortest of a few trips, in whose middle the database looked at its clock."""
    offsets = []
    for _ in range(TRIPS):
        begun, sent = time.perf_counter(), time.time()
        (there,) = await patient.ask("SELECT extract(epoch FROM clock_timestamp())::float8")
        took = time.perf_counter() - begun
        offsets.append((took, there - (sent + took / 2)))
    offset = min(offsets)[1]
    said = f"the database's is {abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}"
    if abs(offset) > MOST_SKEW_SECONDS:
        return failed(said, "Set the clocks by NTP: tokens are refused.")
    if abs(offset) > SKEW_SECONDS:
        return warned(said, f"Set the clocks by NTP: from {MOST_SKEW_SECONDS:g} s on, tokens are refused.")
    return fine("this machine's and the database's agree")


async def prepared_statements(patient: Patient) -> Finding:
    used, kept = patient.settings.prepared_statements, await keeps_prepared(arguments(patient.url))
    if used is True and not kept:
        advice = "Leave PREPARED_STATEMENTS out, or use PgBouncer 1.22 or newer with max_prepared_statements."
        return failed("the pooler does not keep them: a statement may run as another one", advice)
    if used is False and kept:
        return warned("off, though they would be kept", "Leave PREPARED_STATEMENTS out: all is faster with them.")
    return fine("on, and kept" if kept else "off, since the pooler does not keep them")


async def replica(patient: Patient) -> Finding:
    url = patient.settings.database_replica_url
    if url is None:
        return fine("there is none")
    try:
        connection = await connected(url)
    except psycopg.OperationalError as error:
        return failed(str(error).splitlines()[0], "Is DATABASE_REPLICA_URL right? Reads go to the database meanwhile.")
    try:
        found = await (await connection.execute(LAG.encode())).fetchone()
    finally:
        await connection.close()
    follows, seconds = found or (False, None)
    if not follows:
        return failed("it takes writes of its own", "DATABASE_REPLICA_URL must name a replica of DATABASE_URL.")
    said = "it has all that it was sent" if seconds is None else f"it is {seconds:.1f} s behind"
    if (seconds or 0) > LAG_SECONDS:
        return warned(said, "Clients that wrote a moment ago are answered by the database until it has come so far.")
    return fine(said)


async def limits(patient: Patient) -> Finding:
    settings = patient.settings
    needed = settings.web_concurrency * settings.pool_size
    said = f"WEB_CONCURRENCY x POOL_SIZE is {needed}"
    if patient.pooled:
        return fine(f"{said}; how many the pooler takes is its own affair")
    most = min(limit for limit in await patient.ask(RESERVED) if limit >= 0)
    if needed > most:
        return failed(f"{said}, and the database takes {most}", "Lower one of the two, or raise max_connections.")
    if needed * 2 > most:
        return warned(
            f"{said}, and the database takes {most}",
            "While a release is deployed, the old and the new workers are connected at once.",
        )
    return fine(f"{said}, and the database takes {most}")


def _host(url: str) -> str:
    address = make_url(url)
    found: Any = address.host or address.query.get("host") or "this machine"
    return str(found)


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in {"", "localhost"} or host.startswith(("/", "@"))  # a folder of sockets
