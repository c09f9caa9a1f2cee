"""How log lines look: JSON for programs, or text for people; everybody's go through here, uvicorn's too.

The code logs with `logging`, and with `logger(…)` where a line has fields. No line holds what people wrote: an
error's own message may ("invalid input syntax for type uuid: …"), so that outside development only our own
errors have words, and of all others the kind and the frames are told.
"""

import logging
import sys
from traceback import format_tb
from types import TracebackType
from typing import Any, Final

import psycopg
import structlog
from structlog.processors import ExceptionRenderer, JSONRenderer, TimeStamper, format_exc_info
from structlog.stdlib import ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import EventDict

from backend.config import Settings
from backend.telemetry.exchange import current

_CHAIN: Final = "\n\nThat came after:\n\n"
_Raised = tuple[type[BaseException], BaseException, TracebackType | None]


def logger(name: str) -> Any:
    """For lines with fields: `log.info("what happened", one="field")`. It is `logging`'s logger of that name."""
    return structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )


def config(settings: Settings) -> dict[str, Any]:
    """For `logging.config`, in each process. What others than Tend and uvicorn say below a warning is left out."""
    words = settings.environment != "production"
    formatter = {"()": "backend.telemetry.logs.formatter", "as_json": settings.logs_json, "words": words}
    level = settings.log_level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"default": formatter},
        "handlers": {"default": {"class": "logging.StreamHandler", "formatter": "default"}},
        "root": {"handlers": ["default"], "level": "WARNING"},
        "loggers": {
            "tend": {"level": level},
            "uvicorn": {"level": level},
            "opentelemetry.trace.span": {"level": "ERROR"},  # it warns in the words of whoever sent a `tracestate`
        },
    }


def formatter(*, as_json: bool, words: bool) -> ProcessorFormatter:
    """`words`: whether errors tell their messages."""
    renderer = (
        JSONRenderer(default=str)
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            timestamp_key="at",
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    return ProcessorFormatter(
        processors=[
            add_log_level,
            add_logger_name,
            TimeStamper(fmt="iso", utc=True, key="at"),
            _add_request,
            format_exc_info if words else ExceptionRenderer(without_values),
            ProcessorFormatter.remove_processors_meta,
            renderer,
        ]
    )


def _add_request(_logger: Any, _method: str, event: EventDict) -> EventDict:
    now = current.get()
    if now:
        event.setdefault("request_id", now.id)
        if now.span:
            event["trace_id"] = f"{now.span.get_span_context().trace_id:032x}"
    return event


def without_values(exc_info: _Raised) -> str:
    """The trace of an error, and of those that it came from, with the words of our own alone."""
    error: BaseException | None = exc_info[1]
    parts, told = [], set()
    while error is not None and id(error) not in told:
        told.add(id(error))
        parts.append("".join(format_tb(error.__traceback__)) + _said(error))
        parts += [without_values((type(each), each, None)) for each in getattr(error, "exceptions", ())]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return _CHAIN.join(parts)


def _said(error: BaseException) -> str:
    kind = type(error)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    if kind.__module__.startswith("backend."):
        return f"{name}: {error}"
    if isinstance(error, psycopg.Error):  # names of the schema; the message and its DETAIL hold rows
        diag = error.diag
        known = (error.sqlstate, diag.table_name, diag.column_name, diag.constraint_name)
        return f"{name}: {', '.join(filter(None, known)) or 'without a state'}"
    return name
