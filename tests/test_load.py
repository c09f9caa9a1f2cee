"""The operator's bulk load."""

import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.config import Settings
from backend.services import bulk, demo
from backend.state import State
from tests.client import Client


class Load:
    """Loads lines into the test's database, and keeps what was reported."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.refused: list[tuple[int, str]] = []
        self.advanced: list[tuple[int, int]] = []

    async def __call__(self, content: bytes, password: str | None = None, domain: str = "example.com") -> bulk.Done:
        path = self.folder / "tasks.jsonl"
        path.write_bytes(content)
        return await bulk.load(
            self.settings,
            path,
            domain,
            password,
            lambda read, rows: self.advanced.append((read, rows)),
            lambda number, reason: self.refused.append((number, reason)),
        )


@pytest.fixture
def load(settings: Settings, state: State, tmp_path: Path) -> Load:
    return Load(settings, tmp_path)


def lines(*tasks: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(task).encode() + b"\n" for task in tasks)


async def signed_in(http: httpx.AsyncClient, email: str, password: str) -> Client:
    answer = await http.post("/v1/auth/token", data={"username": email, "password": password})
    assert answer.status_code == 200
    me = await http.get("/v1/me", headers={"Authorization": f"Bearer {answer.json()['access_token']}"})
    return Client(http, me.json()["id"], answer.json()["access_token"], email)


FULL = {
    "user": "ada",
    "title": "Initial revision",
    "description": "é",
    "priority": "low",
    "tags": ["a", "b"],
    "due_date": "2005-08-02T02:00:00+00:00",
    "completed": True,
    "created_at": "2005-07-01T02:25:16+00:00",
}


@pytest.mark.parametrize("packed", [False, True])
async def test_a_line_becomes_a_task_of_an_account_that_can_sign_in(
    http: httpx.AsyncClient, load: Load, packed: bool
) -> None:
    content = lines(FULL, {"user": "bob", "title": "His"})

    done = await load(gzip.compress(content) if packed else content, "correct horse", "b.example")

    assert (done.tasks, done.accounts, done.known, done.refused) == (2, 2, 0, 0)
    ada = await signed_in(http, "ada@b.example", "correct horse")
    (task,) = (await ada.page())["items"]
    assert {name: task[name] for name in ("title", "description", "priority", "tags", "completed")} == {
        name: FULL[name] for name in ("title", "description", "priority", "tags", "completed")
    }
    assert (task["due_date"], task["created_at"]) == ("2005-08-02T02:00:00.000000Z", "2005-07-01T02:25:16.000000Z")
    assert await (await signed_in(http, "bob@b.example", "correct horse")).titles() == ["His"]


async def test_loaded_twice_nothing_doubles_and_equal_lines_are_tasks_of_their_own(load: Load) -> None:
    content = lines(*[FULL] * 3, {**FULL, "title": "Other"}, {**FULL, "user": "bob"})

    first, second, third = await load(content), await load(content), await load(content + lines(FULL))

    assert (first.tasks, first.known, first.accounts) == (5, 0, 2)
    assert (second.tasks, second.known, second.accounts) == (0, 5, 0)
    assert (third.tasks, third.known, third.accounts) == (1, 5, 0)


async def test_a_task_that_was_changed_or_deleted_since_stays_so(http: httpx.AsyncClient, load: Load) -> None:
    content = lines({"user": "ada", "title": "One"}, {"user": "ada", "title": "Two"})
    await load(content, "correct horse")
    ada = await signed_in(http, "ada@example.com", "correct horse")
    one, two = (await ada.page(sort="title"))["items"]
    await ada.patch(f"/v1/tasks/{one['id']}", {"title": "Changed"})
    await ada.delete(f"/v1/tasks/{two['id']}")

    await load(content)

    assert await ada.titles() == ["Changed"]


async def test_an_account_that_is_there_gets_the_tasks_and_keeps_its_password(alice: Client, load: Load) -> None:
    await load(lines({"user": "ALICE", "title": "Hers"}), "correct horse")

    assert await alice.titles() == ["Hers"]
    answer = await alice.http.post("/v1/auth/token", data={"username": alice.email, "password": "correct horse"})
    assert answer.status_code == 401


async def test_a_wrong_line_is_reported_with_its_number_and_the_rest_goes_on(load: Load) -> None:
    good = lines({"user": "ada", "title": "Good"})
    bad = [b'{"user": "ada"\n', b'{"user": "ada", "title": ""}\n', b"\n", b'{"user": "a b", "title": "x"}\n']
    bad += [b'{"title": "x"}\n', b'{"user": "ada", "title": "x", "colour": 1}\n', b"\xff\n", b'"x"\n']
    bad += [b'{"user": "ada", "title": "' + b"x" * 2_000_000 + b'"}\n']

    done = await load(good + b"".join(bad) + good)

    assert (done.tasks, done.refused) == (2, 8)
    assert [number for number, _ in load.refused] == [2, 3, 5, 6, 7, 8, 9, 10]
    reasons = dict(load.refused)
    assert reasons[3] == "title: expected 1 to 200 characters, got 0"
    assert reasons[6] == "user: required"
    assert reasons[7] == "colour: no such field"
    assert reasons[10] == "longer than 1 MiB"


async def test_a_file_that_breaks_off_keeps_what_came_before(load: Load) -> None:
    whole = gzip.compress(lines(*({"user": "ada", "title": f"Task {n}"} for n in range(5_000))))

    done = await load(whole[: len(whole) // 2])

    assert 0 < done.tasks < 5_000
    assert "damaged from here on" in load.refused[-1][1]


async def test_what_is_no_text_is_refused_and_never_repeated(load: Load) -> None:
    done = await load("\ufeff".encode() + lines(FULL) + b"\0\x1b[2Jgarbage\n" + lines(FULL).decode().encode("utf-16"))

    assert done.tasks == 1  # a byte order mark is no part of the first line
    assert [number for number, _ in load.refused] == [2, 3, 4]
    assert not any("garbage" in reason or "\x1b" in reason for _, reason in load.refused)


async def test_progress_is_told_and_grows(load: Load) -> None:
    await load(lines(*({"user": f"u{n % 7}", "title": f"Task {n}"} for n in range(3_000))))

    assert load.advanced == sorted(load.advanced)
    assert load.advanced[-1][1] == 3_000


@pytest.mark.parametrize(("password", "domain"), [("short", "example.com"), ("correct horse", "no domain")])
async def test_an_option_that_cannot_be_meant_loads_nothing(load: Load, password: str, domain: str) -> None:
    with pytest.raises(bulk.Refused, match=r"^--"):
        await load(lines(FULL), password, domain)


async def test_the_demo_made_twice_has_its_tasks_once_and_a_new_password(
    http: httpx.AsyncClient, state: State, settings: Settings
) -> None:
    (email, old, count), (_, new, _) = await demo.make(settings), await demo.make(settings)

    account = await signed_in(http, email, new)

    assert old != new
    assert (await account.page())["total"] == count == len(demo.TASKS_OF_THE_DEMO)
