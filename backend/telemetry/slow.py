"""Statements that took long: what they were, for which request, and how Postgres would run them.

The text is safe to show, since every value is a parameter. A plan is not: Postgres writes the values into its
conditions, for the user's own words to be read in a log. A plan for any values (`EXPLAIN (GENERIC_PLAN)`, from
Postgres 16) has none, but is not the plan that was slow: much here is planned for its values on purpose. So it is
planned for the values, and what is kept of a plan is a list of names and numbers, without any condition. It is one
statement without any state, which a pooler in transaction mode may send wherever it likes.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from backend.background import Background
from backend.db import EXPLAIN, Database, Values
from backend.errors import TendError
from backend.sql import Sql
from backend.telemetry import exchange, logs

log = logs.logger("tend.slow")

EVERY_SECONDS: Final = 60  # a statement's text and plan
MOST_KNOWN: Final = 500  # texts whose last time is remembered
MOST_PLANNING: Final = 2  # at once: a database that is slow is not to be slowed further


class SlowStatements:
    def __init__(self, database: Database, later: Background, milliseconds: int) -> None:
        self._database = database
        self._later = later
        self._limit = milliseconds / 1000
        self._told: dict[str, float] = {}
        self._planning = 0

    def look(self, sql: Sql, values: Values, seconds: float) -> None:
        """A line for each; the text and the plan with the first of a minute, and later by the same `statement`."""
        if seconds < self._limit or sql.text.startswith(EXPLAIN):
            return
        fields: dict[str, Any] = {
            "statement": hashlib.sha256(sql.text).hexdigest()[:12],
            "ms": round(seconds * 1000, 1),
            "route": exchange.route(),
        }
        if not self._is_due(fields["statement"]):
            log.warning("slow_statement", **fields)
        else:
            self._later.start(self._tell(sql, values, fields))

    def _is_due(self, statement: str) -> bool:
        now = time.monotonic()
        if now - self._told.get(statement, float("-inf")) < EVERY_SECONDS:
            return False
        self._told.pop(statement, None)  # so that the order is that of the times
        self._told[statement] = now
        if len(self._told) > MOST_KNOWN:
            del self._told[next(iter(self._told))]
        return True

    async def _tell(self, sql: Sql, values: Values, fields: dict[str, Any]) -> None:
        if self._planning >= MOST_PLANNING:
            log.warning("slow_statement", **fields, text=sql.text.decode())
            return
        self._planning += 1
        try:
            plan = [*lines_of(await self._database.explain(sql, values))]
        except TendError as error:
            plan = [f"It could not be planned. {error.detail}"]
        except Exception as error:  # its words may hold the values
            plan = [f"It could not be planned: {type(error).__name__}."]
        finally:
            self._planning -= 1
        log.warning("slow_statement", **fields, text=sql.text.decode(), plan=plan)


def lines_of(node: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """A plan of EXPLAIN (FORMAT JSON), a line a node: kinds, names of the schema, and estimates."""
    words = [node["Node Type"]]
    for name, before in _SHOWN.items():
        if name in node:
            words += [f"{before} {node[name]}".strip()]
    words.append(f"(cost={node['Total Cost']:.0f} rows={node['Plan Rows']})")
    yield "  " * depth + " ".join(words)
    for part in node.get("Plans", ()):
        yield from lines_of(part, depth + 1)


_SHOWN: Final = {
    "Operation": "",
    "Join Type": "",
    "Strategy": "",
    "Scan Direction": "",
    "Relation Name": "on",
    "CTE Name": "of",
    "Function Name": "of",
    "Index Name": "using",
    "Subplan Name": "as",
}
