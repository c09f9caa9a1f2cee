"""The application behind a socket, in this process: for what no transport in memory can do."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from backend.peers import Limits
from backend.protocol import protocol


def free_socket() -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    return listener


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """Its address. Stops as a worker does."""
    listener = free_socket()
    http: Any = protocol(Limits())
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="off", log_config=None, http=http, timeout_graceful_shutdown=5)
    )
    serving = asyncio.create_task(server.serve([listener]))
    while not server.started:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listener.close()
