"""What a listing takes when the table grows, when a user grows, and what Postgres does for it."""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.compare import FILTER, TASKS, USUAL_TASKS, WORD, Side, Turns, alternately
from benchmarks.data import Databases, email
from benchmarks.load import Load, request
from benchmarks.scale import HUGE, LARGE, READERS, SMALL, Scale, Tick
from benchmarks.serve import TEND as TEND_APP
from benchmarks.serve import USUAL as USUAL_APP
from benchmarks.serve import Server, serving

USER = READERS[0]  # the one whose tasks stay the same while the table grows
LISTINGS: Mapping[str, str] = {
    "first page, with total": TASKS,
    "filtered page": f"{TASKS}?{FILTER}&status=pending",
    "by due date": f"{TASKS}?sort=due_date",
    "by title": f"{TASKS}?sort=title",
    "search": f"{TASKS}?search={WORD}",
}
USUAL_SEARCH = f"{USUAL_TASKS}?search={WORD}"
UNTIL_PREPARED = 8  # psycopg prepares at the fifth time, and Postgres may choose a generic plan after five more
LOGGED_SECONDS = 0.3  # a statement is logged when its portal is closed, which may be after the answer
AUTO_EXPLAIN = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_parameter_max_length": "0",
}


def of_the_table(load: Load, servers: Mapping[int, Side], scale: Scale, tick: Tick) -> dict[str, Turns]:
    """For each listing the latencies named by the number of tasks in the table; the user's own stay the same."""
    found: dict[str, Turns] = {}
    for name, target in LISTINGS.items():
        asked = {
            str(size): (side.server.port, request("GET", target, side.tokens[USER])) for size, side in servers.items()
        }
        found[name] = alternately(load, asked, scale)
        tick()
    return found


def of_the_user(load: Load, side: Side, usual: Side, scale: Scale, tick: Tick) -> dict[str, Turns]:
    """For each listing the latencies, named by the number of the user's own tasks, in the largest table."""
    users = {**{scale.special[number]: number for number in (SMALL, LARGE, HUGE)}, scale.each: USER}
    found: dict[str, Turns] = {}
    asked_of = {name: (side, target) for name, target in LISTINGS.items()}
    asked_of["search, the usual way"] = (usual, USUAL_SEARCH)
    for name, (asked, target) in asked_of.items():
        requests = {
            str(size): (asked.server.port, request("GET", target, asked.tokens[users[size]])) for size in sorted(users)
        }
        found[name] = alternately(load, requests, scale)
        tick()
    return found


def plans(databases: Databases, name: str, log: Path) -> Iterator[tuple[str, str]]:
    """How Postgres answered each listing, from its own log: true whatever the application sends, and how."""
    with serving(TEND_APP, databases.url(name, **AUTO_EXPLAIN), log) as server:
        token = server.sign_in("/v1/auth/token", email(USER))
        for listing, target in LISTINGS.items():
            yield listing, _plan(databases.log, server, target, token)
    with serving(USUAL_APP, databases.url(name, search_path="reference", **AUTO_EXPLAIN), log) as server:
        token = server.sign_in("/token", email(USER))
        yield "search, the usual way", _plan(databases.log, server, USUAL_SEARCH, token)


def _plan(log: Path, server: Server, target: str, token: str) -> str:
    headers = {"Authorization": f"Bearer {token}"}
    for _ in range(UNTIL_PREPARED):
        server.ask("GET", target, headers=headers)
    time.sleep(LOGGED_SECONDS)
    begin = log.stat().st_size
    server.ask("GET", target, headers=headers)
    time.sleep(LOGGED_SECONDS)
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(begin)
        written = file.read()
    found = re.findall(r"plan:\n((?:\t.*\n)+)", written)
    parts = [json.loads(text.replace("\n\t", "\n")) for text in found]
    asking = [part for part in parts if "task" in part["Query Text"]]
    return "\n".join("\n".join(_lines(part["Plan"], 0)) for part in asking)


def _lines(node: Mapping[str, Any], depth: int) -> Iterator[str]:
    index, table = node.get("Index Name"), node.get("Relation Name")
    by = f" by {index}" if index else ""
    on = f" of {table}" if table else ""
    loops = node["Actual Loops"]
    times = f" × {loops:,}" if loops > 1 else ""
    buffers = node.get("Shared Hit Blocks", 0) + node.get("Shared Read Blocks", 0)
    rows, took = round(node["Actual Rows"]), node["Actual Total Time"]
    yield f"{'  ' * depth}{node['Node Type']}{on}{by}: rows {rows:,}{times}, {took:.3f} ms, buffers {buffers:,}"
    below: Sequence[Mapping[str, Any]] = node.get("Plans", ())
    for part in below:
        yield from _lines(part, depth + 1)
