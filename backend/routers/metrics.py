"""Figures for Prometheus. In production `main.py` has this route only with METRICS_TOKEN."""

import hmac

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from backend.deps import NO_PARAMETERS, TheState
from backend.errors import NotSignedIn
from backend.telemetry.watch import Watch

router = APIRouter(dependencies=NO_PARAMETERS)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, state: TheState) -> Response:
    """For the operator, and so no part of the API's documentation."""
    token = state.settings.metrics_token
    if token:
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        fits = hmac.compare_digest(sent.strip().encode(), token.get_secret_value().encode())
        if scheme.lower() != "bearer" or not fits:
            raise NotSignedIn("Send METRICS_TOKEN as `Authorization: Bearer …`.", token_sent=bool(sent))
    watch: Watch = request.app.state.watch
    assert watch.metrics
    return Response(watch.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
