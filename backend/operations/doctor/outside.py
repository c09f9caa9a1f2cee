"""Other people's servers: mail, and the providers one signs in with."""

from backend.config.values import SMTPServer, smtp_server
from backend.errors import Unavailable
from backend.operations.doctor.findings import SECONDS, Finding, Patient, failed, fine, warned


async def mail(patient: Patient) -> Finding:
    """As far as a message would come: connected, encrypted, signed in. None is sent."""
    settings = patient.settings
    if settings.smtp_url is None:
        if settings.environment == "development":
            return fine("SMTP_URL is not set: mail is written to the log")
        return warned("SMTP_URL is not set", "Addresses cannot be verified and passwords not reset until it is.")
    from aiosmtplib import SMTPAuthenticationError, SMTPException

    server = smtp_server(settings.smtp_url.get_secret_value())
    try:
        await _greet(server)
    except SMTPAuthenticationError as error:
        return failed(f"{server.host} refused user and password with {error.code}", "Correct them in SMTP_URL.")
    except (SMTPException, OSError) as error:
        return failed(
            f"{server.host}:{server.port} cannot be used: {type(error).__name__}: {error}",
            "Is SMTP_URL right? smtp:// is STARTTLS, smtps:// is TLS from the start.",
        )
    how = {"plain": "without TLS", "starttls": "with STARTTLS", "tls": "with TLS"}[server.security]
    return fine(f"{server.host}:{server.port} answers {how}{', signed in' if server.user else ''}")


async def _greet(server: SMTPServer) -> None:
    from aiosmtplib import SMTP

    client = SMTP(
        hostname=server.host,
        port=server.port,
        username=server.user,
        password=server.password,
        use_tls=server.security == "tls",
        start_tls=server.security == "starttls",
        timeout=SECONDS - 1,
    )
    async with client:
        await client.noop()


async def providers(patient: Patient) -> Finding:
    settings = patient.settings
    if not settings.oidc_providers:
        return fine("none are configured")
    from backend.provider import Provider

    away = []
    for name, registration in settings.oidc_providers.items():
        provider = Provider(name, registration, (SECONDS - 1) / len(settings.oidc_providers))
        try:
            await provider.metadata()
        except Unavailable:
            away.append(name)
        finally:
            await provider.close()
    if away:
        return failed(
            f"cannot be used: {', '.join(away)}",
            "The line above says why. Is the issuer in OIDC_PROVIDERS right, and can this machine reach it?",
        )
    return fine(f"{', '.join(settings.oidc_providers)} can be used")
