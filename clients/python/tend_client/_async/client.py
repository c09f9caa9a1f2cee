"""The API, call by call."""

from collections.abc import AsyncGenerator, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

import httpx

from tend_client._async.lists import AsyncCollection
from tend_client.auth import Bearer, Tokens, tokens_of
from tend_client.errors import NotFound, Problem, TendError, Unreachable, problem_of
from tend_client.models import Account, Comment, Filter, Json, Project, SyncAnswer, Task
from tend_client.waiting import async_sleep, pause

TRIES: Final = 5
SILENCE_SECONDS: Final = 40.0
"""After which a stream of events is given up: the server says something every 15 seconds."""


def _forget(_tokens: Tokens | None) -> None:
    pass


class AsyncTend:
    """One server, and one account on it.

    `tokens` of an earlier run sign in without a password, and so does `Tokens(…)` with a personal access token alone;
    `on_tokens` is told each new pair, and None when there is none any more. What may have been lost on the way is sent
    again, up to `tries` times in all: writes carry an `Idempotency-Key`, so that they are done once. `timeout` is in
    seconds, of one try. `transport` is httpx's, for proxies and tests.
    """

    def __init__(
        self,
        base_url: str,
        tokens: Tokens | None = None,
        *,
        on_tokens: Callable[[Tokens | None], None] = _forget,
        timeout: float = 15.0,
        tries: int = TRIES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout, transport=transport)
        self._auth = Bearer(self._http.base_url.join("/v1/auth/refresh"), on_tokens)
        self._auth.tokens = tokens
        self._timeout = timeout
        self._tries = tries
        self.tasks = AsyncCollection[Task](self, "/v1/tasks")
        self.projects = AsyncCollection[Project](self, "/v1/projects")
        self.filters = AsyncCollection[Filter](self, "/v1/filters")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    def comments(self, task_id: str) -> AsyncCollection[Comment]:
        return AsyncCollection[Comment](self, f"/v1/tasks/{task_id}/comments")

    async def register(self, email: str, password: str, name: str) -> Account:
        """Raises Conflict when the address has an account."""
        account: Account = await self.request(
            "POST", "/v1/auth/register", json={"email": email, "password": password, "name": name}
        )
        return account

    async def sign_in(self, email: str, password: str, code: str | None = None) -> None:
        """`code` is of the authenticator app, where the account has one. Raises NotSignedIn and Unreachable."""
        form = {"username": email, "password": password}
        try:
            response = await self._http.post("/v1/auth/token", data=form)
            challenge = None if response.is_success else problem_of(response).body.get("challenge")
            if challenge and code is not None:
                answer = {"challenge": challenge, "code": code}
                response = await self._http.post("/v1/auth/second-factor", json=answer)
        except httpx.TransportError as error:
            raise Unreachable(f"POST /v1/auth/token: {error or type(error).__name__}") from error
        if response.status_code != 200:
            raise problem_of(response)
        self._auth.keep(tokens_of(response))

    async def sign_out(self) -> None:
        await self.request("POST", "/v1/auth/logout")
        self._auth.keep(None)

    async def me(self) -> Account:
        account: Account = await self.request("GET", "/v1/me")
        return account

    async def synchronise(self, body: Json) -> SyncAnswer:
        """One call of `POST /v1/sync`. May be sent again as it is. Raises OutOfStep."""
        answer: SyncAnswer = await self.request("POST", "/v1/sync", json=body, once=True)
        return answer

    async def events(self, last_id: str | None = None) -> AsyncGenerator[str]:
        """Something of this account's has changed: the event's id, for a later run to go on from.

        Connects again whenever the connection ends, and says so by the next event, at once, if there was one
        meanwhile. Raises Problem, as NotSignedIn when the sign-in has ended, and Unreachable after `tries` in a row.
        """
        tries = 0
        while True:
            tries += 1
            sent = {"Last-Event-ID": last_id} if last_id else {}
            try:
                patience = httpx.Timeout(self._timeout, read=SILENCE_SECONDS)
                async with self._http.stream(
                    "GET", "/v1/events", headers=sent, auth=self._auth, timeout=patience
                ) as response:
                    if not response.is_success:
                        await response.aread()
                        raise problem_of(response)
                    async for line in response.aiter_lines():
                        tries = 0
                        if line.startswith("id: "):
                            last_id = line.removeprefix("id: ")
                            yield last_id
                failure: TendError = Unreachable("The stream of events ended.")
                wait = pause(httpx.ReadError(""), tries)
            except httpx.TransportError as error:
                wait, failure = pause(error, tries), Unreachable(f"GET /v1/events: {error or type(error).__name__}")
            except Problem as error:
                wait, failure = pause(error, tries), error
            if wait is None or tries >= self._tries:
                raise failure
            await async_sleep(wait)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        once: bool = False,
        keyed: bool = False,
    ) -> Any:
        """The JSON of the answer, None without one. Raises Problem and Unreachable.

        `keyed` has an `Idempotency-Key` sent along; `once` says that the server knows by itself what it did before.
        A POST or PATCH that is neither is sent once, since nobody would know whether it was done.
        """
        sent = {**(headers or {}), **({"Idempotency-Key": f'"{uuid4()}"'} if keyed else {})}
        given = {name: value for name, value in (params or {}).items() if value is not None}
        repeatable = once or keyed or method not in {"POST", "PATCH"}
        tries = 0
        while True:
            tries += 1
            try:
                response = await self._http.request(
                    method, path, json=json, params=_written(given), headers=sent, auth=self._auth
                )
            except httpx.TransportError as error:
                wait = pause(error, tries)
                failure: TendError = Unreachable(f"{method} {path}: {error or type(error).__name__}")
            else:
                if response.is_success:
                    return response.json() if response.content else None
                failed = problem_of(response)
                if method == "DELETE" and tries > 1 and isinstance(failed, NotFound):
                    return None  # it was done before, and the answer was lost
                wait, failure = pause(failed, tries), failed
            if wait is None or tries >= self._tries or not repeatable:
                raise failure
            await async_sleep(wait)


def _written(params: Mapping[str, Any]) -> dict[str, Any]:
    """Of a query: true and false as JSON has them."""
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in params.items()}
