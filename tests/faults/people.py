"""The accounts of a fault, what was acknowledged to them, and what their clients saw."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import httpx

PASSWORD: Final = "three words, and unusual ones"


@dataclass
class Kept:
    """A task as it was last acknowledged; `version` is None when only the change was told, and not the number."""

    id: str
    title: str
    description: str | None
    version: int | None
    writes: int = 1
    deleted: bool = False


@dataclass
class Saw:
    """What all clients of one fault saw."""

    answers: Counter[str] = field(default_factory=Counter)
    breaks: Counter[str] = field(default_factory=Counter)  # in httpx's words
    found: int = 0  # creates without an answer that had been done
    requests: int = 0
    longest: float = 0.0
    wrong: list[str] = field(default_factory=list)  # what no fault excuses
    hung: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # of the answers without error


class Person:
    """An account, and the token that its clients share."""

    def __init__(self, url: str, saw: Saw) -> None:
        self.url, self.saw = url, saw
        self.email = f"{uuid4().hex}@example.com"
        self.id = ""
        self.access, self.refresh = "", ""
        self._renewing = asyncio.Lock()

    async def register(self, http: httpx.AsyncClient) -> None:
        account = {"email": self.email, "password": PASSWORD, "name": "Ada"}
        answer = await http.post(f"{self.url}/v1/auth/register", json=account)
        assert answer.status_code == 201, answer.text
        self.id = answer.json()["id"]
        await self._sign_in(http)

    async def renew(self, http: httpx.AsyncClient, refused: str) -> None:
        """Once for all clients: the one who comes first asks."""
        async with self._renewing:
            if self.access != refused:
                return
            answer = await http.post(f"{self.url}/v1/auth/refresh", json={"refresh_token": self.refresh})
            self.saw.answers[f"refresh {answer.status_code}"] += 1
            if answer.status_code == 200:
                self.access, self.refresh = answer.json()["access_token"], answer.json()["refresh_token"]
            elif answer.status_code == 401:
                await self._sign_in(http)

    async def _sign_in(self, http: httpx.AsyncClient) -> None:
        form = {"username": self.email, "password": PASSWORD}
        answer = await http.post(f"{self.url}/v1/auth/token", data=form)
        if answer.status_code == 200:
            self.access, self.refresh = answer.json()["access_token"], answer.json()["refresh_token"]
