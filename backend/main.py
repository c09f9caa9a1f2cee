"""The one file that knows every room: `uvicorn --factory backend.main:create_app`."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html, get_swagger_ui_oauth2_redirect_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend import config, handlers, memory, orphans
from backend.deps import State
from backend.direct import Direct, Read, Write
from backend.routers import auth, health, saved_filters, tags, tasks
from backend.routers.answers import Problem
from backend.rules import filters
from backend.schemas.tasks import TaskCreate

BODY_BYTES: Final = 1024 * 1024
STATIC: Final = "/docs/static"
ABOUT: Final = """
Tasks of many users, behind a wall: a token yields its user, and every statement is fenced by it.

Register, press **Authorize** with your address and password, and try everything here.
Errors are `application/problem+json` (RFC 9457); a task's `version` is its ETag.
"""


class Tend(FastAPI):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """HEAD answers as GET without its body, and a body that is too large gets the same error as all."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        head = scope["method"] == "HEAD"
        too_large = False

        async def answer(message: Message) -> None:
            nonlocal too_large
            if message["type"] == "http.response.start" and message["status"] == 413:
                kind: bytes = dict(message["headers"]).get(b"content-type", b"")
                too_large = kind.startswith(b"text/plain")
                if too_large:
                    await handlers.too_large(scope["path"])(scope, receive, send)
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            if not too_large:
                await send(message)

        await super().__call__({**scope, "method": "GET"} if head else scope, receive, answer)

    def build_middleware_stack(self) -> ASGIApp:
        """What `add_middleware` adds lies around the direct way as well."""
        added, self.user_middleware = self.user_middleware, []
        reads: Mapping[str, Read] = {"/v1/tasks": tasks.list_tasks}
        writes: Mapping[str, tuple[type[BaseModel], Write]] = {"/v1/tasks": (TaskCreate, tasks.create_task)}
        stack: ASGIApp = Direct(super().build_middleware_stack(), reads, writes, BODY_BYTES)
        for middleware, arguments, options in reversed(added):
            stack = middleware(stack, *arguments, **options)
        return stack


def create_app(settings: config.Settings | None = None) -> FastAPI:
    """The application. Reads the environment unless it is given settings; raises SettingsError."""
    memory.give_back()
    settings = settings or config.load()
    state = State(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if supervisor := os.environ.get("TEND_WORKER_OF"):
            orphans.follow(int(supervisor))
        filters.language()  # a tenth of a second, which no request should wait for
        yield
        await state.database.close()

    app = Tend(
        title="Tend",
        version="1",
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        max_body_size=BODY_BYTES,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.tend = state
    handlers.install(app)
    for router in (tasks.router, tags.router, saved_filters.router, auth.me_router, auth.router, health.router):
        app.include_router(router)
    _serve_docs(app)
    return app


def _serve_docs(app: FastAPI) -> None:
    """Swagger UI from a package, so that it works without the internet."""
    files = Path(fastapi_offline.__file__).parent / "static"
    app.mount(STATIC, StaticFiles(directory=files), name="docs-static")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Tend",
            swagger_js_url=f"{STATIC}/swagger-ui-bundle.js",
            swagger_css_url=f"{STATIC}/swagger-ui.css",
            swagger_favicon_url=f"{STATIC}/favicon.png",
            oauth2_redirect_url="/docs/oauth2-redirect",
            swagger_ui_parameters={"persistAuthorization": True, "tryItOutEnabled": True},
        )

    @app.get("/docs/oauth2-redirect", include_in_schema=False)
    async def oauth2_redirect() -> HTMLResponse:
        return get_swagger_ui_oauth2_redirect_html()

    generated = app.openapi

    def openapi() -> dict[str, Any]:
        """With the one shape of all errors in place of FastAPI's own."""
        if app.openapi_schema is not None:
            return app.openapi_schema
        schema = generated()
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = schema["components"]["schemas"]
        schemas |= {**problem.pop("$defs"), "Problem": problem}
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
