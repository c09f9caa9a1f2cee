"""The one file that knows every room: `uvicorn --factory backend.main:create_app`."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from fastapi.telemetry import TelemetryConfig
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend import config, handlers, hardening, memory, openapi, orphans
from backend.bodies import Bodies
from backend.direct import Direct, Read, Write
from backend.idempotency import Idempotency
from backend.routers import (
    access_tokens,
    activity,
    auth,
    comments,
    confirmations,
    dependencies,
    events,
    export,
    health,
    me,
    metrics,
    outside,
    projects,
    saved_filters,
    second_factor,
    sessions,
    sync,
    tags,
    tasks,
    trash,
    webhooks,
    well_known,
)
from backend.rules import filters
from backend.schemas.tasks import TaskCreate
from backend.security import passwords
from backend.services import housekeeping
from backend.services.allowances import Allowances
from backend.services.delivering import Sender
from backend.services.export import Exports
from backend.services.live import Live
from backend.services.recognition import Recognition
from backend.state import State
from backend.telemetry.routes import Templates
from backend.telemetry.watch import Watch, Watched

ROOMS: Final = (
    tasks,
    projects,
    trash,
    comments,
    dependencies,
    activity,
    tags,
    saved_filters,
    sync,
    events,
    webhooks,
    auth,
    confirmations,
    outside,
    me,
    export,
    sessions,
    access_tokens,
    second_factor,
    health,
    well_known,
)
BODY_BYTES: Final = 1024 * 1024
STATIC: Final = "/docs/static"
# FastAPI's own would tell paths, queries and the words of errors; `telemetry` does not.
NO_TELEMETRY: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
ABOUT: Final = """
Tasks of many users, behind a wall: a token yields its user, and every statement is fenced by it.

Register, press **Authorize** with your address and password, and try everything here.
Errors are `application/problem+json` (RFC 9457); a task's `version` is its ETag.
"""


class Uniform:
    """HEAD answers as GET without its body, and a body that is too large gets the same error as all.

    An answer to HEAD ends where its body would begin: whatever streams one then hears from `receive`, as of a
    client that went away, that it may stop.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        head = scope["method"] == "HEAD"
        too_large = ended = False

        async def answer(message: Message) -> None:
            nonlocal too_large, ended
            if message["type"] == "http.response.start" and message["status"] == 413:
                kind: bytes = dict(message["headers"]).get(b"content-type", b"")
                too_large = kind.startswith(b"text/plain")
                if too_large:
                    await handlers.too_large(scope)(scope, receive, send)
            elif head and message["type"] == "http.response.body":
                ended, past = True, ended
                message = {**message, "body": b"", "more_body": False}
                if past:
                    return
            if not too_large:
                await send(message)

        await self.app({**scope, "method": "GET"} if head else scope, receive, answer)


class Tend(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        """What `add_middleware` adds lies around everything, the direct way and every error included."""
        added, self.user_middleware = self.user_middleware, []
        reads: Mapping[str, Read] = {"/v1/tasks": tasks.list_tasks}
        writes: Mapping[str, tuple[type[BaseModel], Write]] = {"/v1/tasks": (TaskCreate, tasks.create_task)}
        direct = Direct(super().build_middleware_stack(), reads, writes, BODY_BYTES)
        keyed = Idempotency(direct, Templates(self.routes), tasks.BATCH_BYTES)
        around = Uniform(Bodies(keyed, large="/v1/tasks/batch"))
        stack: ASGIApp = Direct(around, reads, {}, BODY_BYTES)  # a plain GET has no body, and is no HEAD
        for middleware, arguments, options in reversed(added):
            stack = middleware(stack, *arguments, **options)
        return stack


def create_app(settings: config.Settings | None = None) -> FastAPI:
    """The application. Reads the environment unless it is given settings; raises SettingsError."""
    memory.give_back()
    settings = settings or config.load()
    state = State(settings)
    recognition = Recognition(state)
    watch = Watch(state)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if supervisor := os.environ.get("TEND_WORKER_OF"):
            orphans.follow(int(supervisor))
        filters.language()  # tenths of a second, which no request should wait for
        passwords.common()
        chores = asyncio.create_task(housekeeping.regularly(state))
        sender = Sender(state)
        if settings.webhooks:
            sender.start()
        async with watch.running():
            yield
            chores.cancel()
            app.state.live.close()
            await sender.close()
            await state.close()

    app = Tend(
        title="Tend",
        version="1",
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # `openapi.install`
        redirect_slashes=False,
        max_body_size=BODY_BYTES,
        swagger_ui_oauth2_redirect_url=None,
        telemetry=NO_TELEMETRY,
    )
    app.state.tend = state
    app.state.recognition = recognition
    app.state.watch = watch
    app.state.exports = Exports()
    app.state.live = Live(state)
    limit = settings.api_requests_per_minute
    app.state.allowances = Allowances(state.database, limit) if limit else None
    handlers.install(app)
    for room in ROOMS:
        app.include_router(room.router)
    app.webhooks.include_router(webhooks.outgoing)
    if watch.metrics:
        app.include_router(metrics.router)
    openapi.install(app)
    _serve_docs(app)
    hardening.install(app, settings)
    app.add_middleware(Watched, watch=watch, templates=Templates(app.routes))
    return app


def _serve_docs(app: FastAPI) -> None:
    """Swagger UI from a package, so that it works without the internet."""
    files = Path(fastapi_offline.__file__).parent / "static"
    app.mount(STATIC, StaticFiles(directory=files), name="docs-static")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        html = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Tend",
            swagger_js_url=f"{STATIC}/swagger-ui-bundle.js",
            swagger_css_url=f"{STATIC}/swagger-ui.css",
            swagger_favicon_url=f"{STATIC}/favicon.png",
            oauth2_redirect_url="/docs/oauth2-redirect",
            swagger_ui_parameters={"persistAuthorization": True, "tryItOutEnabled": True},
        )
        return hardening.page(html)

    @app.get("/docs/oauth2-redirect", include_in_schema=False)
    async def oauth2_redirect() -> HTMLResponse:
        return hardening.page(get_swagger_ui_oauth2_redirect_html())
