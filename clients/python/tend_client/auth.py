"""Tokens: sent with each request, and renewed when the access token has expired."""

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from typing import Final, NamedTuple

import httpx

RENEWAL_SECONDS: Final = 4.0
"""A lost answer is asked for again within the ten seconds in which the server gives the same one."""


class Tokens(NamedTuple):
    """`refresh` is None of a personal access token, which is not renewed."""

    access: str
    refresh: str | None = None


class Bearer(httpx.Auth):
    """`on_tokens` is told each new pair, before it is used: what is kept must be the newest, since a refresh token is
    good once. Of requests that find the access token expired at the same time, each asks, and all get the same pair.
    """

    def __init__(self, refresh_url: httpx.URL, on_tokens: Callable[[Tokens | None], None]) -> None:
        self.tokens: Tokens | None = None
        self._refresh_url = refresh_url
        self._on_tokens = on_tokens

    def keep(self, tokens: Tokens | None) -> None:
        self.tokens = tokens
        self._on_tokens(tokens)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """httpx's own would read every answer to its end, and a stream of events has none."""
        flow = self._flow(request)
        response = yield next(flow)
        with suppress(StopIteration):
            while True:
                renewing = flow.send(response)
                response = yield renewing
                if renewing is not request:
                    response.read()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        flow = self._flow(request)
        response = yield next(flow)
        with suppress(StopIteration):
            while True:
                renewing = flow.send(response)
                response = yield renewing
                if renewing is not request:
                    await response.aread()

    def _flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        tokens = self.tokens
        if tokens is None:
            yield request
            return
        request.headers["Authorization"] = f"Bearer {tokens.access}"
        response = yield request
        if response.status_code != 401 or tokens.refresh is None:
            return
        if self.tokens == tokens:
            body, limits = {"refresh_token": tokens.refresh}, httpx.Timeout(RENEWAL_SECONDS).as_dict()
            renewed = yield httpx.Request("POST", self._refresh_url, json=body, extensions={"timeout": limits})
            if renewed.status_code == 401:
                self.keep(None)
            if renewed.status_code != 200:
                return
            self.keep(tokens_of(renewed))
        if self.tokens is not None:
            request.headers["Authorization"] = f"Bearer {self.tokens.access}"
            yield request


def tokens_of(response: httpx.Response) -> Tokens:
    pair = response.json()
    return Tokens(pair["access_token"], pair["refresh_token"])
