"""TLS for programs that were built without: a socket of our own, from which bytes go on to the server through TLS.

The Postgres programs in the wheel of the embedded server know no TLS, and a server on the internet takes nothing else.
So they talk to a Unix socket in a folder that only we may enter, and what they say is encrypted from here on. Formats:
"Message Formats" in the documentation of Postgres's frontend/backend protocol.
"""

import ssl
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import ByteStream, SocketStream, TaskStatus
from anyio.from_thread import start_blocking_portal
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream
from psycopg import Connection, ConnectionInfo

PORT: Final = 5432  # part of the socket's name
SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)  # "SSLRequest" of Postgres's frontend protocol
SASL: Final = struct.pack("!i", 10)
GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, anyio.IncompleteRead)
ROOTS: Final = Path("~/.postgresql/root.crt")


class TLSError(Exception):
    """The server cannot be spoken to as the settings ask."""


@contextmanager
def relayed(connection: Connection) -> Iterator[str]:
    """The folder of a socket that leads to where `connection` is, while this lasts. Raises TLSError."""
    asked = {option.keyword.decode(): (option.val or b"").decode() for option in connection.pgconn.info}
    context = context_for(asked)
    with tempfile.TemporaryDirectory(prefix="tend-relay-") as folder, start_blocking_portal() as portal:
        running, _ = portal.start_task(_serve, connection.info, context, f"{folder}/.s.PGSQL.{PORT}")
        try:
            yield folder
        finally:
            running.cancel()


async def _serve(info: ConnectionInfo, context: ssl.SSLContext, socket: str, *, task_status: TaskStatus[None]) -> None:
    async def encrypted() -> ByteStream:
        plain = await anyio.connect_tcp(info.hostaddr or info.host, info.port)
        await plain.send(SSL_REQUEST)
        if await plain.receive(1) != b"S":
            raise TLSError(f"{info.host} speaks no TLS any more.")
        return await TLSStream.wrap(plain, hostname=info.host, ssl_context=context, standard_compatible=False)

    async def serve(local: SocketStream) -> None:
        with suppress(OSError, TLSError, *GONE):  # the program sees a connection that was closed, and says so
            async with local, await encrypted() as remote:
                await local.send(await first_answer(local, remote))
                async with anyio.create_task_group() as both:
                    both.start_soon(_pass_on, local, remote, both.cancel_scope)
                    both.start_soon(_pass_on, remote, local, both.cancel_scope)

    try:
        await (await encrypted()).aclose()
    except OSError as error:
        raise TLSError(f"No TLS with {info.host}: {error}. Is sslrootcert right?") from None
    async with await anyio.create_unix_listener(socket) as listener:
        task_status.started()
        await listener.serve(serve)


async def first_answer(local: SocketStream, remote: ByteStream) -> bytes:
    """To the program's first message, without the ways to sign in that bind to TLS: libpq refuses a server that
    names them where there is none. The message is AuthenticationSASL: `R`, length, 10, names that end in NUL."""
    await remote.send(await local.receive())
    answer = BufferedByteReceiveStream(remote)
    head = await answer.receive_exactly(5)
    body = await answer.receive_exactly(struct.unpack("!xi", head)[0] - 4)
    if head[:1] == b"R" and body[:4] == SASL:
        body = body.replace(b"SCRAM-SHA-256-PLUS\0", b"")
    return head[:1] + struct.pack("!i", len(body) + 4) + body + answer.buffer


async def _pass_on(source: ByteStream, target: ByteStream, both: anyio.CancelScope) -> None:
    with suppress(*GONE):
        async for data in source:
            await target.send(data)
    both.cancel()


def context_for(asked: Mapping[str, str]) -> ssl.SSLContext:
    """As strict as libpq was with the same settings ("SSL Support" in its documentation).

    A client without TLS cannot bind its channel: who demands that gets the certificate checked instead, host included.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    mode, roots = asked["sslmode"], asked["sslrootcert"]
    bound = asked["channel_binding"] == "require"
    context.check_hostname = mode == "verify-full" or bound
    if not roots and ROOTS.expanduser().exists():
        roots = str(ROOTS.expanduser())
    if not roots and not bound and mode not in {"verify-ca", "verify-full"}:
        context.verify_mode = ssl.CERT_NONE
    elif roots in {"", "system"}:
        context.load_default_certs()
    else:
        context.load_verify_locations(roots)
    if asked["sslcrl"] or asked["sslcrldir"]:
        raise TLSError("sslcrl and sslcrldir are not known here: leave them out for backups.")
    if asked["sslcert"]:
        key: dict[str, Any] = {"keyfile": asked["sslkey"] or None, "password": asked["sslpassword"] or None}
        context.load_cert_chain(asked["sslcert"], **key)
    return context
