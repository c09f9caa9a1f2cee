"""What is in the database, and what Tend may do with it."""

from typing import Final

from backend.models import SCHEMA_VERSION
from backend.operations.doctor.findings import Finding, Patient, failed, fine, warned
from backend.rules.languages import LANGUAGES, configuration
from backend.security.sealing import Broken, Seal

EXTENSIONS: Final = {"btree_gin", "unaccent", "pg_trgm"}
SEALED: Final = """
SELECT sealed FROM signing_keys UNION ALL SELECT secret FROM second_factors
UNION ALL SELECT secret FROM webhooks UNION ALL SELECT former_secret FROM webhooks WHERE former_until > now()
"""
OVERDUE: Final = "SELECT count(*) FROM users WHERE ends_at < clock_timestamp() - interval '1 day'"
RIGHTS: Final = """
SELECT rolname, rolsuper, pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool,
(SELECT bool_and(has_table_privilege(c.oid, privilege))
    FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) privilege
    WHERE c.relkind = 'r' AND c.relname <> 'alembic_version'
    AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'tasks'::regclass))
FROM pg_roles WHERE rolname = current_user
"""


async def migrations(patient: Patient) -> Finding:
    (there,) = await patient.ask("SELECT to_regclass('alembic_version') IS NOT NULL")
    found = await patient.ask("SELECT version_num FROM alembic_version") if there else None
    if not found:
        return failed("the database was never migrated", "Run `tend migrate`.")
    (revision,) = found
    if revision < SCHEMA_VERSION:
        return failed(f"at {revision}, and this code needs {SCHEMA_VERSION}", "Run `tend migrate`.")
    if revision > SCHEMA_VERSION:
        return warned(f"at {revision}, newer than this code's {SCHEMA_VERSION}", "Finish deploying the newer release.")
    return fine(f"at {revision}, which is this code's")


async def extensions(patient: Patient) -> Finding:
    missing = EXTENSIONS - {name for (name,) in await patient.ask_all("SELECT extname FROM pg_extension")}
    if missing:
        named = ", ".join(sorted(missing))
        return failed(f"missing: {named}", "`tend migrate` makes them; the role must own the database or be let to.")
    return fine("all are there")


async def search_configurations(patient: Patient) -> Finding:
    needed = {configuration(language) for language in (*LANGUAGES, "simple")}
    missing = needed - {name for (name,) in await patient.ask_all("SELECT cfgname FROM pg_ts_config")}
    if missing:
        named = ", ".join(sorted(missing))
        return failed(f"missing: {named}", "They come with the migrations: was the database restored without them?")
    return fine(f"all {len(needed)} are there")


async def letters(patient: Patient) -> Finding:
    (folds,) = await patient.ask("SELECT lower('Ж') = 'ж'")
    if folds:
        return fine("the database's locale knows those of all scripts")
    return warned(
        "the database's locale (C) knows those of ASCII alone",
        "A search in other scripts offers no similar words. Make one with LC_CTYPE 'C.UTF-8', and restore into it.",
    )


async def rights(patient: Patient) -> Finding:
    (user, superuser, recovering, read_only, writable) = await patient.ask(RIGHTS)
    if recovering:
        return failed("this is a replica: nothing can be written", "Set DATABASE_URL to the primary.")
    if read_only or not writable:
        why = "default_transaction_read_only is on" if read_only else "it lacks rights on a table"
        return failed(f"{user} cannot write: {why}", "Use the role that owns the tables.")
    if superuser and patient.is_embedded:
        return fine("the embedded database's own role, which nobody but this machine's user can be")
    if superuser:
        return warned(f"{user} is a superuser", "Use a role that owns this database and nothing else.")
    return fine(f"{user} may read and write, and is no superuser")


async def time_limits(patient: Patient) -> Finding:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    found = await patient.ask("SELECT " + ", ".join(f"current_setting('{name}')" for name in names))
    said = ", ".join(f"{name} {'none' if value == '0' else value}" for name, value in zip(names, found, strict=True))
    (shortest,) = await patient.ask(
        "SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'statement_timeout' AND setting <> '0'"
    ) or (None,)
    ours = patient.settings.database_timeout_seconds
    if shortest and shortest < ours:
        return warned(said, f"Statements end before DATABASE_TIMEOUT_SECONDS ({ours:g}); batches need six times that.")
    return fine(said)


async def sealed(patient: Patient) -> Finding:
    """Whether all that is sealed can be opened, and by which of the two secrets."""
    rows = await patient.ask_all(SEALED)
    if not rows and patient.settings.jwt_secret_former is None:
        return fine("nothing is sealed yet")
    secrets = patient.settings.secrets
    newest, former = Seal(secrets[0]), secrets[1:]
    of_former = of_none = 0
    for (text,) in rows:
        if not _opens(newest, text):
            if former and _opens(Seal(*former), text):
                of_former += 1
            else:
                of_none += 1
    if of_none:
        return failed(
            f"{of_none} of {len(rows)} sealed things open with neither JWT_SECRET nor JWT_SECRET_FORMER",
            "Set JWT_SECRET_FORMER to the secret before, then run `tend keys reseal`. If it is lost: `tend keys rotate "
            "--at-once`, and `tend account second-factor-off` for who asks.",
        )
    if of_former:
        return warned(f"{of_former} of {len(rows)} are sealed under JWT_SECRET_FORMER", "Run `tend keys reseal`.")
    if former:
        return warned("nothing is sealed under JWT_SECRET_FORMER", "Take it away an hour after the last restart.")
    return fine(f"{len(rows)} sealed things open with JWT_SECRET")


def _opens(seal: Seal, text: str) -> bool:
    try:
        seal.again(text)
    except Broken:
        return False
    return True


async def housekeeping(patient: Patient) -> Finding:
    (overdue,) = await patient.ask(OVERDUE)
    if overdue:
        return warned(
            f"{overdue} accounts are there a day after their end",
            "Run `tend clean`; the service does so by itself while it is used.",
        )
    return fine("no account is there past its end")


async def size(patient: Patient) -> Finding:
    (shown,) = await patient.ask("SELECT pg_size_pretty(pg_database_size(current_database()))")
    return fine(f"the database takes {shown}")
