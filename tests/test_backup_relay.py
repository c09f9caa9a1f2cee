"""Backups over TLS: by programs that know none, with the server's certificate checked as the address asks."""

import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from socket import AF_UNIX, create_connection, create_server, socket
from typing import cast

import pytest
import trustme
from anyio.abc import ByteStream, SocketStream
from sqlalchemy import make_url

from backend.operations import relay
from tests import servers
from tests.test_backups import another, fill, rows, tend


class Front:
    """TLS before a server that has none, as it is on the internet."""

    def __init__(self, server: str, authority: trustme.CA) -> None:
        url = make_url(server)
        self.unix = url.query.get("host")
        self.tcp = url.host or "localhost", url.port or 5432
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self.context)
        self.listener = create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.greeted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                taken, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(taken,), daemon=True).start()

    def _serve(self, taken: socket) -> None:
        assert taken.recv(8) == relay.SSL_REQUEST
        taken.sendall(b"S")
        with suppress(OSError), self.context.wrap_socket(taken, server_side=True) as outside, self._server() as inside:
            self.greeted += 1
            outside.settimeout(None)
            back = threading.Thread(target=_copy, args=(inside, outside), daemon=True)
            back.start()
            _copy(outside, inside)
            back.join()

    def _server(self) -> socket:
        if not self.unix:
            return create_connection(self.tcp)
        inside = socket(AF_UNIX)
        inside.connect(f"{self.unix}/.s.PGSQL.5432")
        return inside


def _copy(source: socket, target: socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(2)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def front(server: str, authority: trustme.CA) -> Iterator[Front]:
    front = Front(server, authority)
    with closing(front.listener):
        yield front


@pytest.mark.long
def test_a_backup_and_a_restore_go_through_tls_from_end_to_end(
    server: str, front: Front, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with another(server, "tls", servers.TEMPLATE) as url, another(server, "empty") as empty:
        fill(url)

        def through(address: str) -> str:
            given = make_url(address)
            given = given.set(query={}, host="localhost", port=front.port)
            return f"{given.render_as_string(hide_password=False)}?sslmode=verify-full&sslrootcert={tmp_path}/ca.pem"

        made = tend("backup", tmp_path / "made", DATABASE_URL=through(url))
        assert made.code == 0, made.said
        (folder,) = (tmp_path / "made").iterdir()
        password = {"PGPASSWORD": make_url(server).password or "x"}
        into = make_url(through(empty))._replace(password=None).render_as_string()
        restored = tend("restore", folder, "--into", into, **password)

        assert restored.code == 0, restored.said
        assert rows(empty, "SELECT count(*) FROM tasks") == rows(url, "SELECT count(*) FROM tasks")
        assert front.greeted >= 4  # psycopg and pg_dump, psycopg and psql


NOTHING = dict.fromkeys(("sslrootcert", "sslcrl", "sslcrldir", "sslcert", "channel_binding"), "")


@pytest.mark.parametrize(
    ("asked", "certificate", "host"),
    [
        ({"sslmode": "prefer"}, False, False),
        ({"sslmode": "require"}, False, False),
        ({"sslmode": "require", "sslrootcert": "ca.pem"}, True, False),
        ({"sslmode": "verify-ca", "sslrootcert": "ca.pem"}, True, False),
        ({"sslmode": "verify-full", "sslrootcert": "ca.pem"}, True, True),
        ({"sslmode": "verify-full", "sslrootcert": "system"}, True, True),
        ({"sslmode": "require", "channel_binding": "require"}, True, True),  # which it cannot do itself
    ],
)
def test_the_certificate_is_checked_as_the_address_asks(
    asked: dict[str, str],
    certificate: bool,
    host: bool,
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # another ~/.postgresql/root.crt would count
    monkeypatch.chdir(tmp_path)
    authority.cert_pem.write_to_path("ca.pem")

    context = relay.context_for({**NOTHING, **asked})

    assert (context.verify_mode == ssl.CERT_REQUIRED, context.check_hostname) == (certificate, host)


class Stream:
    """Gives out what it has a byte at a time, as a network may."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.sent = b""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        first, self.content = self.content[:1], self.content[1:]
        return first

    async def send(self, data: bytes) -> None:
        self.sent += data


async def test_ways_to_sign_in_that_bind_to_tls_are_not_offered_where_there_is_none() -> None:
    names, less = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", b"SCRAM-SHA-256\0\0"
    trusted = b"R" + struct.pack("!ii", 8, 0)
    for answer, passed_on in (
        (b"R" + struct.pack("!ii", 8 + len(names), 10) + names, b"R" + struct.pack("!ii", 8 + len(less), 10) + less),
        (trusted, trusted),
    ):
        local, remote = Stream(b"x"), Stream(answer)

        assert await relay.first_answer(cast(SocketStream, local), cast(ByteStream, remote)) == passed_on
        assert remote.sent == b"x"
