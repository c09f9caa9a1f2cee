"""The Link header: to the pages around one."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from backend.routers import tasks as routes
from tests.client import Client

FIVE = [{"title": title} for title in "abcde"]


async def links(client: Client, query: str) -> dict[str, str]:
    """What `Link` leads to, by relation."""
    answer = await client.get(f"/v1/tasks?{query}")
    assert answer.status_code == 200, answer.text
    return {relation: link["url"] for relation, link in answer.links.items() if relation}


def asked(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query, keep_blank_values=True)


async def test_a_first_page_links_to_the_next_and_the_last(alice: Client) -> None:
    await alice.add_many(FIVE)

    found = await links(alice, "limit=2")

    assert {relation: dict(asked(url))["page"] for relation, url in found.items()} == {"next": "2", "last": "3"}


async def test_a_page_in_the_middle_links_to_all_around_it(alice: Client) -> None:
    await alice.add_many(FIVE)

    found = await links(alice, "limit=2&page=2")

    pages = {relation: dict(asked(url))["page"] for relation, url in found.items()}
    assert pages == {"next": "3", "prev": "1", "first": "1", "last": "3"}


async def test_the_last_page_links_to_no_next(alice: Client) -> None:
    await alice.add_many(FIVE)

    assert set(await links(alice, "limit=2&page=3")) == {"prev", "first", "last"}


async def test_past_the_end_the_previous_page_is_the_last(alice: Client) -> None:
    await alice.add_many(FIVE)

    found = await links(alice, "limit=2&page=9")

    assert dict(asked(found["prev"]))["page"] == "3"
    assert "next" not in found


async def test_what_was_not_counted_has_no_last_page(alice: Client) -> None:
    await alice.add_many(FIVE)

    assert set(await links(alice, "limit=2&page=2&count=none")) == {"next", "prev", "first"}


async def test_links_are_relative_and_keep_what_was_asked(alice: Client) -> None:
    task = {"title": "figs & lemons", "tags": ["a&b", "c=d"], "due_date": "2026-05-10T12:00:00Z"}
    await alice.add_many([task, task, task])
    query = "search=figs+lemons&tags=a%26b&tags=c%3Dd&due_after=2026-05-10T14:00:00%2B02:00&limit=1"

    found = await links(alice, query + "&page=2")

    assert set(found) == {"next", "prev", "first", "last"}
    for url in found.values():
        assert url.startswith("/v1/tasks?")
        assert [pair for pair in asked(url) if pair[0] != "page"] == parse_qsl(query)
        assert (await alice.get(url)).json()["total"] == 3


async def test_from_a_cursor_the_next_link_is_the_next_cursor(alice: Client) -> None:
    await alice.add_many(FIVE)
    first = await alice.page(limit=2)

    answer = await alice.get("/v1/tasks", params={"limit": 2, "cursor": first["next_cursor"]})

    assert set(answer.links) == {"next"}
    assert asked(answer.links["next"]["url"]) == [("limit", "2"), ("cursor", answer.json()["next_cursor"])]


async def test_next_links_lead_to_the_end_even_past_the_depth_that_numbers_reach(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await alice.add_many([{"title": f"{n:02}"} for n in range(11)])
    # A depth that a test can reach.
    monkeypatch.setattr(routes, "DEEPEST", 4)
    walked: list[str] = []
    url: str | None = "/v1/tasks?sort=title&limit=2"
    kinds: list[str] = []

    while url:
        answer = await alice.get(url)
        walked += [task["title"] for task in answer.json()["items"]]
        url = answer.links.get("next", {}).get("url")
        kinds += [asked(url)[-1][0]] if url else []

    assert walked == [f"{n:02}" for n in range(11)]
    assert kinds == ["page", "cursor", "cursor", "cursor", "cursor"]


async def test_no_link_is_given_to_what_lies_deeper_than_numbers_reach(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await alice.add_many(FIVE)
    monkeypatch.setattr(routes, "DEEPEST", 4)

    assert "last" not in await links(alice, "limit=2")


async def test_a_list_on_one_page_links_to_no_other(alice: Client) -> None:
    await alice.add("alone")

    found = await links(alice, "")

    assert {dict(asked(url)).get("page") for url in found.values()} <= {"1"}
