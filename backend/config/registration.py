"""How an operator's OpenID Connect clients are registered with their providers: the shape of two settings."""

import json
import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, model_validator
from pydantic_settings import NoDecode


def from_json(value: Any) -> Any:
    """Of the environment's text. Raises ValueError without it: it may hold a secret."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("not JSON; see .env.example") from None


def provider_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,32}", name):
        raise ValueError("a provider's name is 1 to 32 of a-z, 0-9 and -")
    return name


def _is_https_or_local(url: str) -> bool:
    """An absolute address without a fragment, over TLS unless it never leaves the machine."""
    if not re.fullmatch(r"[!-~]+", url) or "#" in url:
        return False
    parts = urlsplit(url)
    if parts.username is not None:
        return False
    local = parts.hostname in {"localhost", "127.0.0.1"}
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))


def issuer_url(url: str) -> str:
    """OpenID Connect Discovery 1.0, section 3: neither query nor fragment."""
    if not _is_https_or_local(url) or "?" in url:
        raise ValueError("expected https://… without ? and # (http:// for localhost only)")
    return url


def redirect_uri(url: str) -> str:
    """RFC 8252, section 7.1: an application's own scheme has a dot, as nothing dangerous (`javascript:`) does."""
    if not _is_https_or_local(url) and not re.fullmatch(r"[a-z][a-z0-9+-]*\.[a-z0-9.+-]+:[!-\"$-~]+", url):
        raise ValueError("expected https://…, http://localhost… or an application's own, such as com.example.app:/in")
    return url


def printable(text: str) -> str:
    """RFC 6749, appendix A: what a client's id and secret are made of."""
    if not re.fullmatch(r"[ -~]+", text):
        raise ValueError("expected printable ASCII characters")
    return text


def printable_secret(secret: SecretStr) -> SecretStr:
    return SecretStr(printable(secret.get_secret_value()))


def openid_scope(scope: str) -> str:
    if "openid" not in printable(scope).split(" "):
        raise ValueError("openid is missing in it")
    return scope


class Registration(BaseModel):
    """A client of an OpenID Connect provider, as it was registered there. Without a secret it is a public one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    issuer: Annotated[str, AfterValidator(issuer_url)]
    client_id: Annotated[str, AfterValidator(printable)]
    client_secret: Annotated[SecretStr, AfterValidator(printable_secret)] | None = None
    scope: Annotated[str, AfterValidator(openid_scope)] = "openid email profile"

    @model_validator(mode="before")
    @classmethod
    def _is_an_object(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError('expected {"issuer": "…", "client_id": "…"}')
        return value


Registrations = Annotated[
    dict[Annotated[str, AfterValidator(provider_name)], Registration], NoDecode, BeforeValidator(from_json)
]
RedirectURIs = Annotated[list[Annotated[str, AfterValidator(redirect_uri)]], NoDecode, BeforeValidator(from_json)]
