"""Where messages go that are sent for users: to the internet, and to no machine that only this one can reach."""

import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from backend import egress
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
        there.answers += [Answer(307, f"http://hooks.example:{port}/")]
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
    assert len(open_way._pool.connections) == 1
