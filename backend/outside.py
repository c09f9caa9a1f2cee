"""Signing in elsewhere: OpenID Connect, by authorization code with PKCE.

Whoever signs in is sent to a provider (`begin`) and comes back with a code, which is exchanged for who they
are there (`finish`). Nothing is kept in between: `Begun` is the caller's to keep, and its `state` the
caller's to compare.
"""

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from backend.config import Settings
from backend.errors import Invalid, NotFound

if TYPE_CHECKING:
    from backend.provider import Provider

TIMEOUT: Final = 5.0  # seconds, for a provider's whole answer
MOST_CODE: Final = 2048  # characters


@dataclass(frozen=True, slots=True)
class Begun:
    """Where to send somebody, and what to keep until they come back."""

    authorization_url: str = field(repr=False)
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """`issuer` and `subject` together are a person; an address may pass to another one."""

    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    name: str | None


class Outside:
    """The configured providers. One an event loop; `timeout` is in seconds."""

    def __init__(self, settings: Settings, *, timeout: float = TIMEOUT) -> None:
        self._redirect_uris = frozenset(settings.oidc_redirect_uris)
        self._providers = _providers_of(settings, timeout)

    @property
    def providers(self) -> list[str]:
        return list(self._providers)

    async def close(self) -> None:
        for provider in self._providers.values():
            await provider.close()

    async def begin(self, provider: str, redirect_uri: str) -> Begun:
        """Raises NotFound, Invalid and Unavailable."""
        there = self._find(provider, redirect_uri)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))  # 43 characters (RFC 7636, section 4.1)
        return Begun(await there.authorization_url(redirect_uri, state, nonce, verifier), state, nonce, verifier)

    async def finish(
        self,
        provider: str,
        redirect_uri: str,
        code: str,
        *,
        code_verifier: str,
        nonce: str,
        iss: str | None = None,
    ) -> Identity:
        """Who came back with `code`. Raises NotFound, Invalid, NotSignedIn and Unavailable.

        `iss` is what came back beside the code. It may be missing unless the provider says that it sends it
        (RFC 9207, section 2.4).
        """
        there = self._find(provider, redirect_uri)
        metadata = await there.metadata()
        if iss != metadata.issuer and (iss is not None or metadata.authorization_response_iss_parameter_supported):
            raise there.refused("the code came from another issuer, or from none")
        if not (0 < len(code) <= MOST_CODE and code.isascii() and code.isprintable()):
            raise there.refused("the code is none")
        tokens = await there.exchange(redirect_uri, code, code_verifier)
        claims = await there.claims(tokens, nonce)
        complete = claims.get("email") and claims.get("name")
        told = {} if complete else await there.userinfo(tokens, claims["sub"])
        whose = claims if claims.get("email") else told  # `email_verified` belongs to the address beside it
        email, verified = _text(whose.get("email")), whose.get("email_verified")
        return Identity(
            issuer=metadata.issuer,
            subject=claims["sub"],
            email=email,
            email_verified=email is not None and (verified is True or verified == "true"),
            name=_text(claims.get("name")) or _text(told.get("name")),
        )

    def _find(self, name: str, redirect_uri: str) -> "Provider":
        if name not in self._providers:
            raise NotFound("There is no such provider.")
        if redirect_uri not in self._redirect_uris:
            raise Invalid.at("body", "redirect_uri", msg="not one of the addresses that are configured")
        return self._providers[name]


def _providers_of(settings: Settings, timeout: float) -> dict[str, "Provider"]:
    """Imports what it takes half a second to import, unless nobody can sign in elsewhere."""
    if not settings.oidc_providers:
        return {}
    from backend.provider import Provider

    return {name: Provider(name, client, timeout) for name, client in settings.oidc_providers.items()}


def _text(value: Any) -> str | None:
    """What can be shown and stored of a claim; a provider may fill it as it likes."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > 255:
        return None
    return value.strip() or None
