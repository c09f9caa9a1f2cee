"""Where messages go that are sent for users: to the internet, and to no machine that only this one can reach."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpcore
import pytest
import trustme

from backend import egress, ways
from backend.egress import Egress
from backend.rules.addresses import is_reachable
from tests.receiver import Answer, Receiver, receiving

HEADERS = {"webhook-id": "1", "content-type": "application/json"}


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def open_way() -> AsyncIterator[Egress]:
    """To this machine too."""
    found = Egress(["127.0.0.1"])
    yield found
    await found.close()


@pytest.fixture
async def way() -> AsyncIterator[Egress]:
    found = Egress()
    yield found
    await found.close()


def names(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Every name leads there, one after the other; what was asked for is noted."""
    asked: list[str] = []

    def look_up(host: str, port: int, **_named: Any) -> list[Any]:
        asked.append(host)
        address = addresses[min(len(asked), len(addresses)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


@pytest.mark.parametrize(
    ("address", "reachable"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::5db8:d822", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("239.1.1.1", False),
        ("255.255.255.255", False),
        ("198.18.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("2001:0:7f00:1::", False),
        ("::7f00:1", False),
        ("::127.0.0.1", False),
        ("fec0::1", False),
        ("64:ff9b:1::a00:1", False),
        ("::ffff:0:a00:1", False),
        ("5f00::1", False),
        ("2001:db8::1", False),
        ("168.63.129.16", False),
    ],
)
def test_what_is_only_near_is_not_reachable(address: str, reachable: bool) -> None:
    assert is_reachable(address) is reachable


def test_a_network_that_is_allowed_is_reachable_and_no_other() -> None:
    allowed = ("10.0.0.0/8", "fd00::/8")
    assert is_reachable("10.1.2.3", allowed)
    assert is_reachable("::ffff:10.1.2.3", allowed)
    assert is_reachable("fd00::1", allowed)
    assert not is_reachable("192.168.0.1", allowed)


async def test_a_name_that_leads_to_a_near_machine_is_not_connected_to(
    there: Receiver, way: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = there.address.rpartition(":")[2]
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254"):
        names(monkeypatch, address)
        outcome = await way.post(f"http://harmless.example:{port}/", HEADERS, "{}")
        assert (outcome.status, outcome.is_taken) == (None, False)
        assert outcome.error == "It leads to an address that is not public, or one that is not allowed."
    for literal in ("127.0.0.1", "[::1]", "localhost"):
        assert (await way.post(f"http://{literal}:{port}/", HEADERS, "{}")).status is None
    assert there.got == []


async def test_what_was_looked_at_is_what_is_connected_to(
    there: Receiver, open_way: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that says something else the second time is not asked a second time."""
    port = there.address.rpartition(":")[2]
    asked = names(monkeypatch, "127.0.0.1", "169.254.169.254")
    outcome = await open_way.post(f"http://turning.example:{port}/", HEADERS, "{}")

    assert outcome.is_taken
    assert asked == ["turning.example"]
    assert there.got[0].headers["host"] == f"turning.example:{port}"


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_that_keeps_the_method_is_followed(there: Receiver, open_way: Egress, status: int) -> None:
    there.answers += [Answer(status, "/there"), Answer(status, f"{there.address}/at-last?x=1")]
    outcome = await open_way.post(f"{there.address}/here", HEADERS, '{"a":1}')

    assert outcome.is_taken
    assert [message.path for message in there.got] == ["/here", "/there", "/at-last"]
    assert {message.body for message in there.got} == {'{"a":1}'}


async def test_a_redirect_leads_to_no_near_machine(
    there: Receiver, open_way: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = there.address.rpartition(":")[2]
    for location in (f"http://[::1]:{port}/", f"http://127.0.0.2:{port}/", "http://169.254.169.254/latest", "file:///"):
        there.got.clear()
        there.answers += [Answer(307, location)]
        outcome = await open_way.post(f"{there.address}/", HEADERS, "{}")
        assert not outcome.is_taken, location
        assert len(there.got) == 1


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([Answer(302, "/x")], "It answered with 302, a redirect that is not followed: set the URL anew."),
        ([Answer(307)], "It answered with 307, a redirect that is not followed: set the URL anew."),
        ([Answer(307, "/x")] * 9, "It was redirected more than 3 times."),
        ([Answer(404)], "It answered with 404."),
        ([Answer(500, body=b"x" * 1_000_000)], "It answered with 500."),
        ([Answer(hangs_up=True)], "It answered with 500."),
    ],
)
async def test_what_is_no_success_says_why(
    there: Receiver, open_way: Egress, answers: list[Answer], words: str
) -> None:
    there.answers += answers
    outcome = await open_way.post(f"{there.address}/", HEADERS, "{}")
    assert (outcome.is_taken, outcome.error) == (False, words)


@asynccontextmanager
async def answering(*pieces: bytes, endless: bool = False) -> AsyncIterator[str]:
    """A server that says just this, the last of it again and again, or nothing more."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                writer.write(piece)
            while endless:
                writer.write(pieces[-1] * 1_000)
                await writer.drain()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 100 Continue\r\n\r\n", b"x-header: more\r\n", b"a"],
)
async def test_an_answer_without_an_end_is_cut_off(open_way: Egress, said: bytes) -> None:
    begun = b"" if said.startswith(b"HTTP") else b"HTTP/1.1 500 No\r\n"
    async with answering(begun, said, endless=True) as address:
        outcome = await open_way.post(address, HEADERS, "{}")
    assert not outcome.is_taken
    assert outcome.error == "The connection broke before it had answered, or its answer was no HTTP."
    assert outcome.seconds < 5


async def test_what_was_taken_is_taken_though_the_answer_goes_on(
    open_way: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "SECONDS", 0.3)
    async with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab") as address:
        outcome = await open_way.post(address, HEADERS, "{}")
    assert (outcome.status, outcome.error, outcome.is_taken) == (200, None, True)


async def test_an_address_that_does_not_answer_is_passed_over(there: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(there.address.rpartition(":")[2])
    connect = httpcore.AnyIOBackend.connect_tcp

    async def sometimes(self: Any, host: str, *arguments: Any) -> Any:
        if host == "127.0.0.2":
            raise httpcore.ConnectTimeout
        return await connect(self, host, *arguments)

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", sometimes)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port)) for n in (2, 3, 1)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_named: found)
    way = Egress(["127.0.0.0/8"])
    outcome = await way.post(f"http://many.example:{port}/", HEADERS, "{}")
    await way.close()
    assert outcome.is_taken


async def test_a_slow_name_keeps_nobody_else_waiting(
    there: Receiver, open_way: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(there.address.rpartition(":")[2])
    monkeypatch.setattr(ways, "LOOK_UP_SECONDS", 0.5)

    def look_up(host: str, *_arguments: Any, **_named: Any) -> list[Any]:
        if host == "slow.example":
            time.sleep(2)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    slow = [asyncio.create_task(open_way.post("http://slow.example/", HEADERS, "{}")) for _ in range(60)]
    await asyncio.sleep(0.05)
    quick = await open_way.post(f"http://quick.example:{port}/", HEADERS, "{}")

    assert quick.is_taken
    assert quick.seconds < 0.5
    assert {outcome.error for outcome in await asyncio.gather(*slow)} == {
        "Its name was not found within 0.5 seconds (DNS)."
    }


async def test_without_tls_only_networks_that_are_named_are_reached(
    there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = Egress(["127.0.0.1"], plain=False)
    assert (await strict.post(f"{there.address}/", HEADERS, "{}")).is_taken
    names(monkeypatch, "93.184.216.34")
    outcome = await strict.post("http://public.example/", HEADERS, "{}")
    await strict.close()
    assert outcome.error == "It is not https, which is needed on the internet."


async def test_whoever_does_not_answer_is_left(
    there: Receiver, open_way: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "SECONDS", 0.2)
    there.answers += [Answer(seconds=1)]
    outcome = await open_way.post(f"{there.address}/", HEADERS, "{}")
    assert (outcome.status, outcome.error) == (None, "No answer within 0.2 seconds.")
    assert 0.1 < outcome.seconds < 0.9


async def test_nobody_there_and_no_such_name_are_told(open_way: Egress) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = await open_way.post(f"http://127.0.0.1:{unused.getsockname()[1]}/", HEADERS, "{}")
    assert nobody.error == "It could not be connected to."
    assert (await open_way.post("http://nowhere.invalid/", HEADERS, "{}")).error == "Nobody knows its name (DNS)."


async def test_tls_is_for_the_name_and_by_known_authorities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("hooks.example")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    async with receiving(ssl_certfile=str(certificate), ssl_keyfile=str(key)) as there:
        port = there.address.rpartition(":")[2]
        names(monkeypatch, "127.0.0.1")
        stranger = Egress(["127.0.0.1"])
        unknown = await stranger.post(f"https://hooks.example:{port}/", HEADERS, "{}")
        await stranger.close()
        context = ssl.create_default_context()
        authority.configure_trust(context)
        monkeypatch.setattr(egress, "authorities", lambda: context)
        friend = Egress(["127.0.0.1"])
        good = await friend.post(f"https://hooks.example:{port}/", HEADERS, "{}")
        other = await friend.post(f"https://other.example:{port}/", HEADERS, "{}")
        there.answers += [Answer(307, f"HTTP://hooks.example:{port}/")]
        downgraded = await friend.post(f"https://hooks.example:{port}/", HEADERS, "{}")
        await friend.close()

    assert (unknown.error or "").startswith("Its certificate is not believed: unable to get")
    assert good.is_taken
    assert (other.error or "").startswith("Its certificate is not believed: Hostname mismatch")
    assert downgraded.error == "It answered with 307, which leads away from https."
    assert len(there.got) == 2


async def test_a_connection_is_used_again(there: Receiver, open_way: Egress) -> None:
    for _ in range(3):
        assert (await open_way.post(f"{there.address}/", HEADERS, "{}")).is_taken
    assert len(open_way._pools["http"].connections) == 1
