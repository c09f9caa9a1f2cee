"""Settings that can be read, and are not what production needs."""

import os
import shutil
from typing import Any, Final
from urllib.parse import urlsplit

from backend.operations.doctor.findings import Finding, Patient, failed, fine, warned

GUESSES: Final = 25  # as a power of ten; 16 random bytes in hexadecimal have 30
MOST_CHARACTERS: Final = 72  # that zxcvbn reads
FREE_BYTES: Final = 1024**3


async def production(patient: Patient) -> Finding:
    settings = patient.settings
    if settings.environment == "development":
        return fine("this is a development environment (ENVIRONMENT)")
    if settings.app_url is None:
        return warned("APP_URL is not set", "Set it to your front end: mails hold a bare token until then.")
    if urlsplit(settings.app_url).scheme != "https":
        return failed("APP_URL is without TLS", "Use https://: links in mail carry tokens.")
    return fine("APP_URL is over TLS")


async def proxies(patient: Patient) -> Finding:
    settings = patient.settings
    if settings.trusted_proxies:
        return fine(f"{len(settings.trusted_proxies)} trusted")
    if settings.environment == "development":
        return fine("none are trusted")
    return warned(
        "TRUSTED_PROXIES is not set",
        "Name the proxies in front, or all clients share the limits on signing in as if they were one.",
    )


async def cors(patient: Patient) -> Finding:
    settings = patient.settings
    plain = [origin for origin in settings.cors_origins if origin.startswith("http://")]
    if plain and settings.environment == "production":
        return warned(f"CORS_ORIGINS has pages without TLS: {', '.join(plain)}", "Use https:// for them.")
    return fine(f"{len(settings.cors_origins) or 'no'} origins may use the API")


async def secrets(patient: Patient) -> Finding:
    """How well JWT_SECRET withstands guessing; whoever has one token can try as fast as their machine."""
    settings = patient.settings
    if settings.jwt_secret is None:
        path = settings.data_dir / "jwt-secret"
        if path.exists() and path.stat().st_mode & 0o077:
            return failed(f"others on this machine can read {path}", f"chmod 600 {path}")
        return fine("a development secret is kept in DATA_DIR")
    given = {"JWT_SECRET": settings.jwt_secret, "JWT_SECRET_FORMER": settings.jwt_secret_former}
    for name, secret in given.items():
        if secret and _guesses(secret.get_secret_value()) < GUESSES:
            advice = "Take one from `openssl rand -base64 48`; `tend keys reseal --help` says how to change it."
            return warned(f"{name} could be guessed", advice)
    return fine("JWT_SECRET is hard to guess")


def _guesses(secret: str) -> float:
    """As a power of ten."""
    from zxcvbn import zxcvbn  # tenths of a second, which no other command should take longer

    judged: dict[str, Any] = zxcvbn(secret[:MOST_CHARACTERS])  # type: ignore[no-untyped-call]
    return float(judged["guesses_log10"])


async def storage(patient: Patient) -> Finding:
    settings = patient.settings
    folder = settings.data_dir
    if not folder.exists():
        return fine("DATA_DIR is not used")
    if not os.access(folder, os.W_OK | os.X_OK):
        return failed(f"{folder} cannot be written", "Let the user that runs Tend write there, or set DATA_DIR.")
    free = shutil.disk_usage(folder).free
    said = f"{free / 1024**3:.1f} GiB are free in {folder}"
    return fine(said) if free >= FREE_BYTES else warned(said, "Make room: Postgres stops when the disk is full.")
