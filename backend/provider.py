"""One OpenID Connect provider, asked over the network: what it says of itself, its keys and its tokens.

Imported by `outside.py` when a provider is configured and not before, since the libraries take half a
second. Authlib and joserfc know the protocol; Authlib's own client is not used, since it reads answers of
any length.
"""

import asyncio
import json
import logging
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import monotonic, time
from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus

import httpx
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet, import_key
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, ValidationError

from backend.config.registration import Registration
from backend.egress import authorities
from backend.errors import NotSignedIn, Unavailable

log = logging.getLogger("tend.provider")

MOST_BYTES: Final = 256 * 1024  # of an answer
METADATA_SECONDS: Final = 3600
KEYS_SECONDS: Final = 60  # between two looks for a key that is not among the known ones
CLOCK_SKEW: Final = 30  # seconds
TOKEN_SECONDS: Final = 600  # since `iat`: the token was asked for a moment ago
# Never `none`, nor HS256, whose secret others may know. EdDSA is deprecated (RFC 9864).
ALGORITHMS: Final = {f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)}
# Errors of RFC 6749, section 5.2, that are the settings' fault and not that of who signs in.
MISCONFIGURED: Final = {"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}
MALFORMED: Final = (JoseError, KeyError, TypeError, ValueError, AttributeError, RecursionError)


class Metadata(BaseModel):
    """OpenID Connect Discovery 1.0, section 3, and RFC 9207, section 3, as far as they are used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    id_token_signing_alg_values_supported: list[str]
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]
    authorization_response_iss_parameter_supported: bool = False

    @property
    def algorithms(self) -> list[str]:
        return [name for name in self.id_token_signing_alg_values_supported if name in ALGORITHMS]

    @property
    def endpoints(self) -> list[str]:
        required = [self.authorization_endpoint, self.token_endpoint, self.jwks_uri]
        return [*required, self.userinfo_endpoint] if self.userinfo_endpoint else required


class Tokens(NamedTuple):
    id_token: str
    access_token: str


class Provider:
    """`timeout` is in seconds, for a whole answer."""

    def __init__(self, name: str, client: Registration, timeout: float) -> None:
        self.name = name
        self._client = client
        self._timeout = timeout
        self._http = httpx.AsyncClient(
            verify=authorities(),
            timeout=timeout,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # one user's must not go with another's
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )
        self._metadata: Metadata | None = None
        self._metadata_at = 0.0  # of `monotonic`, as below
        self._keys: KeySet | None = None
        self._keys_at = 0.0
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        await self._http.aclose()

    def refused(self, why: str) -> NotSignedIn:
        """In the same words whatever was wrong."""
        log.warning("a sign-in with %s was refused: %s", self.name, why)
        return NotSignedIn("The sign-in could not be confirmed. Begin it again.")

    def _away(self, why: str) -> Unavailable:
        log.error("nobody can sign in with %s: %s", self.name, why)
        return Unavailable("The provider cannot be used for signing in at the moment. Try again.", retry_after=10)

    async def metadata(self) -> Metadata:
        """Raises Unavailable, as all of these do."""
        if self._metadata and monotonic() - self._metadata_at < METADATA_SECONDS:
            return self._metadata
        issuer = self._client.issuer
        found = await self._get(get_well_known_url(issuer, external=True))
        try:
            metadata = Metadata.model_validate(found)
        except ValidationError as error:
            wrong = [".".join(map(str, each["loc"])) for each in error.errors(include_input=False)]
            raise self._away(f"its metadata is wrong at {', '.join(wrong)}") from None
        if metadata.issuer != issuer:  # OpenID Connect Discovery 1.0, section 4.3
            raise self._away("its metadata names another issuer")
        if issuer.startswith("https:") and not all(url.startswith("https:") for url in metadata.endpoints):
            raise self._away("its metadata names an address without TLS")
        if not metadata.algorithms:  # joserfc takes no algorithms for its own choice of them
            raise self._away("its metadata names no algorithm that is accepted")
        self._metadata, self._metadata_at, self._keys = metadata, monotonic(), None
        return metadata

    async def authorization_url(self, redirect_uri: str, state: str, nonce: str, code_verifier: str) -> str:
        client = OAuth2Client(
            None,
            client_id=self._client.client_id,
            scope=self._client.scope,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )
        endpoint = (await self.metadata()).authorization_endpoint
        url, _ = client.create_authorization_url(endpoint, state=state, code_verifier=code_verifier, nonce=nonce)
        return str(url)

    async def exchange(self, redirect_uri: str, code: str, code_verifier: str) -> Tokens:
        """Raises NotSignedIn."""
        metadata = await self.metadata()
        client, methods = self._client, metadata.token_endpoint_auth_methods_supported
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": code_verifier,
        }
        auth = None
        if client.client_secret is None:
            form["client_id"] = client.client_id
        elif "client_secret_basic" not in methods and "client_secret_post" in methods:
            form |= {"client_id": client.client_id, "client_secret": client.client_secret.get_secret_value()}
        else:  # RFC 6749, section 2.3.1: encoded as in a form before it becomes a header
            auth = (quote_plus(client.client_id), quote_plus(client.client_secret.get_secret_value()))
        status, answer = await self._ask("POST", metadata.token_endpoint, data=form, auth=auth)
        error, id_token, access_token = (answer.get(name) for name in ("error", "id_token", "access_token"))
        if status in {400, 401, 403} and isinstance(error, str) and error not in MISCONFIGURED:
            raise self.refused(f"its token endpoint answered {error[:100]!r}")
        if status != 200 or not isinstance(id_token, str) or not isinstance(access_token, str):
            raise self._away(f"its token endpoint answered {status} {str(error)[:100]!r}")
        return Tokens(id_token, access_token)

    async def claims(self, tokens: Tokens, nonce: str) -> dict[str, Any]:
        """Those of a valid ID token (OpenID Connect Core 1.0, section 3.1.3.7). Raises NotSignedIn."""
        metadata = await self.metadata()
        # Headers that are not known are passed over (RFC 7515, section 4), but for critical ones.
        registry = JWSRegistry(algorithms=metadata.algorithms, strict_check_header=False)
        options = {
            "iss": {"essential": True, "value": metadata.issuer},
            "aud": {"essential": True, "value": self._client.client_id},
            "nonce": {"essential": True, "value": nonce},
        }
        params = {"client_id": self._client.client_id, "nonce": nonce, "access_token": tokens.access_token}
        keys = await self._known_keys(metadata)
        try:
            try:
                token = jwt.decode(tokens.id_token, keys, registry=registry)
            except (InvalidKeyIdError, BadSignatureError):  # without a `kid`, a new key looks like the latter
                keys = await self._known_keys(metadata, tried=keys)
                token = jwt.decode(tokens.id_token, keys, registry=registry)
            CodeIDToken(token.claims, token.header, options, params).validate(leeway=CLOCK_SKEW)
        except MALFORMED as error:
            why = str(error) if isinstance(error, JoseError) else type(error).__name__
            raise self.refused(f"its ID token is not valid: {why[:200]!r}") from None
        subject, issued = token.claims["sub"], token.claims["iat"]
        if not (0 < len(subject) <= 255 and subject.isascii() and subject.isprintable()):
            raise self.refused("its ID token's subject is none")
        if time() - issued > TOKEN_SECONDS:
            raise self.refused("its ID token is an old one")
        return token.claims

    async def userinfo(self, tokens: Tokens, subject: str) -> dict[str, Any]:
        """What the provider tells besides; nothing where it has no such endpoint. Raises NotSignedIn."""
        url = (await self.metadata()).userinfo_endpoint
        if url is None:
            return {}
        told = await self._get(url, headers={"Authorization": f"Bearer {tokens.access_token}"})
        if told.get("sub") != subject:  # OpenID Connect Core 1.0, section 5.3.2
            raise self.refused("its userinfo endpoint tells of somebody else")
        return told

    async def _known_keys(self, metadata: Metadata, tried: KeySet | None = None) -> KeySet:
        """Those at hand, or newer ones than were `tried`."""
        async with self._turn:
            known = self._keys
            if known and (known is not tried or monotonic() - self._keys_at < KEYS_SECONDS):
                return known
            self._keys_at = monotonic()
            found = (await self._get(metadata.jwks_uri)).get("keys")
            keys = []
            for each in found if isinstance(found, list) else []:
                try:
                    keys.append(import_key(each))
                except MALFORMED:
                    continue  # RFC 7517, section 5: what is not understood is left out
            if not keys:
                raise self._away("it has no keys")
            self._keys = KeySet(keys)
            return self._keys

    async def _get(self, url: str, **sent: Any) -> dict[str, Any]:
        status, answer = await self._ask("GET", url, **sent)
        if status != 200:
            raise self._away(f"{url} answered {status}")
        return answer

    async def _ask(self, method: str, url: str, **sent: Any) -> tuple[int, dict[str, Any]]:
        """The status and the JSON object. It is asked for unpacked, so that few bytes stay few."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout), self._http.stream(method, url, **sent) as answer:
                async for part in answer.aiter_raw():
                    body += part
                    if len(body) > MOST_BYTES:
                        raise self._away(f"{url} answered with more than {MOST_BYTES} bytes")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, UnicodeError) as error:
            raise self._away(f"{url} did not answer: {type(error).__name__}") from None
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self._away(f"{url} answered {answer.status_code} and no JSON object")
        return answer.status_code, found
