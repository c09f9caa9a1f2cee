"""How a listener takes leave: who is there is taken out, and nobody new comes in."""

import select
import socket
import sys

import pytest

from backend import draining

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the way in which it is done is Linux's")


def listener(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family, backlog=100)


def knock(port: int, host: str) -> socket.socket | None:
    """A connection, or None when nobody answers."""
    try:
        return socket.create_connection((host, port), timeout=0.2)
    except TimeoutError:
        return None


@pytest.mark.parametrize(
    ("host", "peer"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "::1"), ("::", "::1")]
)
def test_who_came_before_is_there_and_who_comes_now_hears_nothing(host: str, peer: str) -> None:
    with listener(host) as door:
        port = door.getsockname()[1]
        before = knock(port, peer)
        assert before

        with draining.closed_to_new([door]):
            assert [knock(port, peer) for _ in range(5)] == [None] * 5
            taken, _ = door.accept()
            assert select.select([door], [], [], 0) == ([], [], [])

        after = knock(port, peer)
        assert after
        for each in (before, taken, after):
            each.close()


def test_where_the_kernel_cannot_one_at_a_time_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "_SO_ATTACH_REUSEPORT_CBPF", 9999)
    with listener("127.0.0.1") as door:
        port = door.getsockname()[1]

        with draining.closed_to_new([door]):
            came = [knock(port, "127.0.0.1") for _ in range(5)]

        assert len([each for each in came if each]) == 1
        for each in came:
            if each:
                each.close()
