"""What every answer carries, pages of other origins, and the client's address behind a proxy."""

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from pydantic import ValidationError

from backend.config import Settings
from backend.hardening import METHODS, SecurityHeaders
from backend.main import Tend, create_app
from backend.rules.addresses import client_address
from tests.client import Client
from tests.conftest import settings_for
from tests.test_input import JSON, assert_problem
from tests.test_walls import BODIES, OPEN, anything, filled, routes

PAGE = "https://app.example.com"
STRANGER = "https://app.example.com.evil.test"
LARGE = b"x" * 1_100_000


def assert_hardened(answer: httpx.Response) -> None:
    """Each once: a header that stands twice is read in one of two ways."""
    expected = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    path = answer.request.url.path
    if not (answer.is_success and path in {"/docs", "/docs/oauth2-redirect"}):
        expected["Content-Security-Policy"] = (
            "default-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
        )
    if path.startswith("/v1/"):
        expected["Cache-Control"] = "no-store"
    for name, value in expected.items():
        assert answer.headers.get_list(name) == [value], (name, answer.request)
    assert "Server" not in answer.headers


@asynccontextmanager
async def speaking_to(
    url: str, data_dir: Path, peer: str = "127.0.0.1", **others: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """An application with settings of its own, and a peer that connects to it."""
    app = create_app(settings_for(url, data_dir, **others))

    @app.get("/seen")
    async def seen(request: Request) -> dict[str, str]:
        return {"client": client_address(request.scope), "scheme": request.scope["scheme"]}

    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 5))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://tend") as http,
    ):
        yield http


async def test_every_route_s_answers_carry_the_headers(app: FastAPI, http: httpx.AsyncClient, alice: Client) -> None:
    for path in sorted(OPEN):
        assert_hardened(await http.get(path))
    for method, path in routes(app):
        address, body = filled(path, anything()), filled(BODIES.get((method, path)), anything())
        assert_hardened(await http.request(method, address, json=body))
        assert_hardened(await alice.call(method, address, json=body))
        assert_hardened(await http.options(address))


async def test_errors_and_answers_without_a_body_carry_them_too(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = await alice.get("/v1/tasks")
    answers = [
        await alice.get("/v1/tasks", headers={"If-None-Match": listing.headers["ETag"]}),
        await alice.call("HEAD", "/v1/tasks"),
        await alice.get("/nothing"),
        await alice.call("PUT", "/v1/tasks"),
        await alice.post("/v1/tasks", content=LARGE, headers=JSON),
        await alice.post("/v1/nothing", content=LARGE, headers=JSON),
    ]
    monkeypatch.setattr("backend.services.listing.page", None)
    monkeypatch.setattr("backend.services.health.migration", None)
    answers += [await alice.get("/v1/tasks"), await alice.get("/health/ready")]

    assert [answer.status_code for answer in answers] == [304, 200, 404, 405, 413, 413, 500, 500]
    assert answers[0].headers["ETag"] == listing.headers["ETag"]
    for answer in answers:
        assert_hardened(answer)


async def test_https_is_asked_to_stay_https_and_production_always(database_url: str, tmp_path: Path) -> None:
    lasting = "max-age=31536000; includeSubDomains"
    async with speaking_to(database_url, tmp_path) as http:
        assert "Strict-Transport-Security" not in (await http.get("/health/live")).headers
        answer = await http.get("https://tend/health/live")
        assert answer.headers["Strict-Transport-Security"] == lasting
    async with speaking_to(database_url, tmp_path, environment="production") as http:
        assert (await http.get("/health/live")).headers["Strict-Transport-Security"] == lasting


@pytest.mark.parametrize("path", ["/docs", "/docs/oauth2-redirect"])
async def test_a_page_may_run_its_own_scripts_and_no_other(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    scripts = re.findall(rb"<script>(.*?)</script>", answer.content, re.DOTALL)
    hashes = {f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in scripts}

    assert hashes
    assert set(policy["script-src"].split()) == {"'self'", *hashes}
    assert (policy["default-src"], policy["frame-ancestors"]) == ("'none'", "'none'")
    assert "unsafe" not in str(policy)


async def test_what_is_inside_adds_headers_and_its_own_word_stands() -> None:
    inner = Tend()
    inner.add_middleware(SecurityHeaders, production=False)

    @inner.get("/v1/kept")
    async def kept(request: Request) -> Response:
        request.scope["tend.headers"].append((b"ratelimit", b'"default";r=5;t=9'))
        return Response("{}", headers={"Cache-Control": "max-age=60"})

    @inner.get("/v1/wrong")
    async def wrong(request: Request) -> Response:
        request.scope["tend.headers"].append((b"ratelimit", b'"default";r=0;t=9'))
        raise RuntimeError

    transport = httpx.ASGITransport(inner, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://tend") as http:
        for method in ("GET", "HEAD", "GET"):
            answer = await http.request(method, "/v1/kept")
            assert answer.headers.get_list("Cache-Control") == ["max-age=60"]
            assert answer.headers.get_list("RateLimit") == ['"default";r=5;t=9']
            assert answer.headers.get_list("X-Frame-Options") == ["DENY"]
        failed = await http.get("/v1/wrong")
        assert (failed.status_code, failed.headers["RateLimit"]) == (500, '"default";r=0;t=9')


async def test_without_origins_configured_there_is_no_cors(http: httpx.AsyncClient) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
    for answer in (await http.get("/v1/tasks", headers=asked), await http.options("/v1/tasks", headers=asked)):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "Vary" not in answer.headers


@pytest.fixture
async def open_to_a_page(database_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with speaking_to(database_url, tmp_path, cors_origins=f"{PAGE}, http://localhost:5173") as http:
        yield http


async def test_a_page_that_is_named_may_read_answers_and_errors(
    open_to_a_page: httpx.AsyncClient, alice: Client
) -> None:
    asked = {"Origin": PAGE, "Authorization": f"Bearer {alice.token}"}
    answers = [
        await open_to_a_page.get("/v1/tasks", headers=asked),
        await open_to_a_page.get("/v1/me", headers=asked),
        await open_to_a_page.get("/v1/tasks", headers={"Origin": PAGE}),
        await open_to_a_page.get("/nothing", headers=asked),
        await open_to_a_page.post("/v1/tasks", content=LARGE, headers={**asked, **JSON}),
        await open_to_a_page.post("/v1/nothing", content=LARGE, headers=asked),
    ]
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr("backend.services.listing.page", None)
        broken.setattr("backend.services.health.migration", None)
        answers += [await open_to_a_page.get(path, headers=asked) for path in ("/v1/tasks", "/health/ready")]

    assert [answer.status_code for answer in answers] == [200, 200, 401, 404, 413, 413, 500, 500]
    for answer in answers:
        assert answer.headers.get_list("Access-Control-Allow-Origin") == [PAGE]
        assert answer.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        exposed = answer.headers["Access-Control-Expose-Headers"].lower().split(", ")
        assert {"etag", "link", "location", "retry-after", "www-authenticate"} <= set(exposed)
        assert_hardened(answer)


async def test_a_stranger_s_page_may_read_nothing(open_to_a_page: httpx.AsyncClient) -> None:
    for origin in (STRANGER, "null", "http://app.example.com", PAGE + ":8443", "*"):
        answer = await open_to_a_page.get("/v1/tasks", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Vary"] == "Origin"


async def test_a_preflight_allows_what_is_used_here_and_no_more(
    app: FastAPI, open_to_a_page: httpx.AsyncClient
) -> None:
    assert {method for method, _ in routes(app)} <= set(METHODS)

    async def asks(path: str, origin: str, method: str, headers: str) -> httpx.Response:
        names = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
        return await open_to_a_page.options(path, headers=names)

    sent = "authorization,content-type,if-match,if-none-match,idempotency-key"
    for path in ("/v1/tasks", "/v1/tasks/batch", "/nothing"):
        for method in METHODS:
            answer = await asks(path, PAGE, method, sent)
            assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, PAGE)
            assert answer.headers["Access-Control-Max-Age"] == "600"
            assert_hardened(answer)
        for refused in ((STRANGER, "GET", sent), (PAGE, "TRACE", sent), (PAGE, "GET", "x-other")):
            answer = await asks(path, *refused)
            assert_problem(answer, 400)
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert "Origin" in answer.headers["Vary"]


async def test_options_that_is_no_preflight_tells_what_is_allowed(open_to_a_page: httpx.AsyncClient) -> None:
    for headers in ({}, {"Origin": PAGE}):
        answer = await open_to_a_page.options("/v1/tasks", headers=headers)
        assert (answer.status_code, answer.headers["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize("given", [f"{PAGE},http://localhost:5173 ,", f'["{PAGE}", "http://localhost:5173"]'])
def test_origins_are_written_with_commas_or_as_json(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", given)

    assert Settings(_env_file=None).cors_origins == (PAGE, "http://localhost:5173")


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("cors_origins", "*", "name each origin"),
        ("cors_origins", "https://*.example.com", "name each origin"),
        ("cors_origins", f"{PAGE},app.example.com", "without its scheme"),
        ("cors_origins", "localhost:5173", "without its scheme"),
        ("cors_origins", "null", "without its scheme"),
        ("cors_origins", f"{PAGE}/", "without a slash"),
        ("cors_origins", f"{PAGE}/app", "no path"),
        ("cors_origins", f"{PAGE}?x", "no path"),
        ("cors_origins", "https://App.example.com", "lower case"),
        ("cors_origins", "https://user@example.com", "an origin is a host"),
        ("cors_origins", "https://:80", "an origin is a host"),
        ("cors_origins", "https://bücher.example", "an origin is a host"),
        ("cors_origins", "https://app.example.com:443", "own port"),
        ("cors_origins", "https://app.example.com:x", "not an origin"),
        ("cors_origins", "[https://app", "neither a JSON list"),
        ("trusted_proxies", "*", "not an address or a network"),
        ("trusted_proxies", "10.0.0.0/8, proxy.internal", "not an address or a network"),
        ("trusted_proxies", "10.0.0.1/8", "not an address or a network"),
        ("trusted_proxies", "0.0.0.0/0", "every address"),
        ("trusted_proxies", "::/0", "every address"),
    ],
)
def test_what_cannot_be_an_origin_or_a_network_is_refused_in_words(name: str, given: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings(_env_file=None, **{name: given})  # type: ignore[arg-type]


async def seen_from(http: httpx.AsyncClient, *forwarded: str, scheme: str = "https") -> tuple[str, str]:
    headers = [("X-Forwarded-For", each) for each in forwarded] + [("X-Forwarded-Proto", scheme)]
    seen = (await http.get("/seen", headers=headers)).json()
    return seen["client"], seen["scheme"]


async def test_without_trusted_proxies_nobody_s_word_counts(database_url: str, tmp_path: Path) -> None:
    async with speaking_to(database_url, tmp_path) as http:
        assert await seen_from(http, "198.51.100.7") == ("127.0.0.1", "http")


async def test_a_peer_that_is_not_a_trusted_proxy_is_not_believed(database_url: str, tmp_path: Path) -> None:
    proxies = "10.0.0.0/8, 2001:db8:1::/48"
    for peer, client in (("203.0.113.9", "203.0.113.9"), ("2001:db8:2::9", "2001:db8:2::/64")):
        async with speaking_to(database_url, tmp_path, peer, trusted_proxies=proxies) as http:
            assert await seen_from(http, "198.51.100.7") == (client, "http")


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8:1::5", "192.0.2.1"])
async def test_a_trusted_proxy_is_believed_as_far_as_it_has_seen(database_url: str, tmp_path: Path, peer: str) -> None:
    proxies = "10.0.0.0/8,192.0.2.1,2001:db8:1::/48"
    async with speaking_to(database_url, tmp_path, peer, trusted_proxies=proxies) as http:
        assert await seen_from(http, "198.51.100.7") == ("198.51.100.7", "https")
        assert await seen_from(http, "1.2.3.4, 198.51.100.7") == ("198.51.100.7", "https")  # the first is forged
        assert await seen_from(http, "10.9.9.9, 198.51.100.7, 10.4.4.4") == ("198.51.100.7", "https")
        assert await seen_from(http, "1.2.3.4", "198.51.100.7") == ("198.51.100.7", "https")  # in two lines
        assert await seen_from(http, "[2001:db8:2::a:b]:443") == ("2001:db8:2::/64", "https")
        assert await seen_from(http, "not an address") == ("unknown", "https")
        assert await seen_from(http, "198.51.100.7", scheme="javascript") == ("198.51.100.7", "http")


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("198.51.100.7", 5), "198.51.100.7"),
        (("::ffff:198.51.100.7", 5), "198.51.100.7"),
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"),
        (("2001:DB8:1:2::", 5), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5), "fe80::/64"),
        (("::1", 5), "::/64"),
        (("", 5), "unknown"),
        (("198.51.100.07.1", 5), "unknown"),
        (None, "unknown"),
    ],
)
def test_a_client_has_one_address_however_it_is_written(client: Any, address: str) -> None:
    assert client_address({"client": client}) == address


def test_a_scope_without_a_client_is_an_unknown_one() -> None:
    assert client_address({}) == "unknown"
