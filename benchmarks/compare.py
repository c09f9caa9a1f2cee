"""The cases, and four sides that take turns at them: whatever else the machine does meanwhile meets all alike."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from backend.embedded import programs
from backend.rules.text import sort_key
from benchmarks import bare, data
from benchmarks.load import Broken, Job, Load, Result, request
from benchmarks.scale import HUGE, READERS, WRITERS, Scale, Tick
from benchmarks.serve import Server

TEND, USUAL, BARE, PGBENCH = "Tend", "the usual way", "bare", "pgbench"
HTTP_SIDES = (USUAL, TEND, BARE)
TASKS, USUAL_TASKS = "/v1/tasks", "/tasks"
CLIENTS = 4  # of pgbench: as many connections as Tend has
WORD = "request"  # in two of a hundred tasks
TAGS = ("fix", "sync")
FILTER = "&".join(f"tags={tag}" for tag in TAGS) + "&priority=high"


@dataclass(frozen=True)
class Side:
    server: Server
    tokens: Mapping[int, str]
    """By the user's number."""


@dataclass(frozen=True)
class Case:
    name: str
    targets: Mapping[str, str]
    statement: str
    values: Mapping[str, str] = field(default_factory=dict)
    bodies: Sequence[str] = ()
    """To create; none: to read."""

    def requests(self, side: str, tokens: Mapping[int, str]) -> list[str]:
        """For each connection a user of its own."""
        if not self.bodies:
            return [request("GET", self.targets[side], tokens[number]) for number in READERS]
        users = [*WRITERS]
        return [
            request("POST", self.targets[side], tokens[users[n % len(users)]], body)
            for n, body in enumerate(self.bodies)
        ]


def bodies(tasks: Sequence[data.Task]) -> list[str]:
    """What a client sends to create them, by Tend's and by the reference's names alike."""
    names = ("title", "description", "priority", "due_date", "tags")
    return [json.dumps({name: task[name] for name in names}) for task in tasks]


_FILTERED, _SEARCH = f"{TASKS}?{FILTER}&status=pending", f"{TASKS}?search={WORD}"
FIRST = Case("first page", {TEND: TASKS, BARE: TASKS, USUAL: USUAL_TASKS}, bare.FIRST)
FILTERED = Case(
    "filtered page",
    {TEND: _FILTERED, BARE: _FILTERED, USUAL: f"{USUAL_TASKS}?{FILTER}&completed=false"},
    bare.FILTERED,
    {"tags": json.dumps(TAGS), "priority": "high"},
)
SEARCH = Case(
    "search", {TEND: _SEARCH, BARE: _SEARCH, USUAL: f"{USUAL_TASKS}?search={WORD}"}, bare.SEARCH, {"search": WORD}
)


def create(tasks: Sequence[data.Task]) -> Case:
    """Ten different tasks a user, over and over; pgbench's is always the last of them."""
    last = tasks[-1]
    values = {
        "title": last["title"],
        "title_key": sort_key(last["title"]),
        "description": last["description"] or "",
        "priority": last["priority"],
        "due_date": last["due_date"] or last["created_at"],
        "tags": json.dumps(last["tags"]),
    }
    targets = {TEND: TASKS, BARE: TASKS, USUAL: USUAL_TASKS}
    return Case("create", targets, bare.CREATE, values, bodies(tasks[-len(WRITERS) * 10 :]))


def agree(sides: Mapping[str, Side]) -> None:
    """Raises Broken when the sides do not do the same: then there is nothing to compare."""
    number = READERS[0]
    for case in (FIRST, FILTERED, SEARCH):
        answers = {
            name: side.server.ask("GET", case.targets[name], headers={"Authorization": f"Bearer {side.tokens[number]}"})
            for name, side in sides.items()
        }
        ids = {name: [item["id"] for item in answer["items"]] for name, answer in answers.items()}
        if ids[TEND] != ids[BARE] or (case is not SEARCH and answers[TEND]["total"] != answers[USUAL]["total"]):
            raise Broken(f"The sides do not agree on the {case.name}: {ids}")


@dataclass
class Turns:
    """What the sides reached in a case, a round after another."""

    rates: dict[str, list[float]] = field(default_factory=dict)  # answers a second
    latencies: dict[str, list[float]] = field(default_factory=dict)  # milliseconds

    def note(self, side: str, rate: float, latency: float) -> None:
        self.rates.setdefault(side, []).append(rate)
        self.latencies.setdefault(side, []).append(latency)

    def rate(self, side: str) -> float:
        return median(self.rates[side])

    def latency(self, side: str) -> float:
        return median(self.latencies[side])

    def ratio(self, side: str, other: str) -> float:
        """Of the rates: the median of what each round gave."""
        return median(a / b for a, b in zip(self.rates[side], self.rates[other], strict=True))

    def slower(self, side: str, other: str) -> float:
        """Of the latencies."""
        return median(a / b for a, b in zip(self.latencies[side], self.latencies[other], strict=True))


def turns(rounds: int, sides: Sequence[str]) -> Iterator[str]:
    """Each side once a round, beginning with another one each time."""
    for number in range(rounds):
        for place in range(len(sides)):
            yield sides[(number + place) % len(sides)]


def compare(
    load: Load, sides: Mapping[str, Side], case: Case, scale: Scale, pgbench: "Pgbench | None", tick: Tick
) -> Turns:
    requests = {name: case.requests(name, side.tokens) for name, side in sides.items()}
    for name, side in sides.items():
        load.run(Job(side.server.port, requests[name], seconds=scale.warm_up))
    found = Turns()
    for name in turns(scale.rounds, [*sides, *([PGBENCH] if pgbench else [])]):
        if name in sides:
            result = load.run(Job(sides[name].server.port, requests[name], seconds=scale.seconds))
            found.note(name, result.rate, result.median_ms)
        elif pgbench:
            found.note(PGBENCH, *pgbench.run(case))
        tick()
    return found


@dataclass(frozen=True)
class Pgbench:
    """Postgres's own load generator, with the statements of `bare.py`, prepared and planned once."""

    address: str
    folder: Path
    seconds: int = 1

    def run(self, case: Case) -> tuple[float, float]:
        """Statements a second, and their latency in milliseconds."""
        command = [programs() / "pgbench", "-n", "-M", "prepared", "-c", CLIENTS, "-j", 1, "-T", self.seconds]
        for name, value in case.values.items():
            command += ["-D", f"{name}={value}"]
        for number in WRITERS if case.bodies else READERS:
            script = self.folder / f"{case.name.replace(' ', '-')}-{number}.sql"
            script.write_text(_script(case.statement, number))
            command += ["-f", script]
        environment = {**os.environ, "PGOPTIONS": bare.PLANNED_ONCE}
        done = subprocess.run(
            [*map(str, command), self.address],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=environment,
        )
        rate = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
        latency = re.search(r"^latency average = ([\d.]+) ms", done.stdout, re.MULTILINE)
        if done.returncode or not rate or not latency:
            raise RuntimeError(f"pgbench failed:\n{done.stdout}{done.stderr}")
        return float(rate[1]), float(latency[1])


def _script(statement: str, number: int) -> str:
    """In pgbench a colon and a letter are a variable, in quotes too."""
    text = statement.replace('\'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\'', r"""E'YYYY-MM-DD"T"HH24\x3aMI\x3aSS.US"Z"'""")
    text = text.replace("%(owner)s", f"'{data.user_id(number)}'::uuid").replace("%(id)s::uuid", "gen_random_uuid()")
    return re.sub(r"%\((\w+)\)s", r":\1", text).replace("\n", " ") + ";\n"


def batches(load: Load, sides: Mapping[str, Side], tasks: Sequence[data.Task], scale: Scale, tick: Tick) -> Turns:
    """Rows a second of one client: in a batch, and one by one. Sides are named `…, batch` and `…, singles`."""
    texts = bodies(tasks[-scale.batch :])
    found = Turns()
    names = [f"{side}, {how}" for side in sides for how in ("batch", "singles")]
    for name in turns(scale.batch_rounds, names):
        side, _, how = name.partition(", ")
        token, port = sides[side].tokens[WRITERS[0]], sides[side].server.port
        path = TASKS if side == TEND else USUAL_TASKS
        if how == "batch":
            whole = ",".join(texts)
            body = f'{{"tasks":[{whole}]}}' if side == TEND else f"[{whole}]"
            rows, sent = len(texts), [request("POST", f"{path}/batch", token, body)]
            result = load.run(Job(port, sent, connections=1, at_most=1))
        else:
            rows = scale.singles if side == TEND else scale.singles // 4  # its rate takes no longer to tell
            sent = [request("POST", path, token, text) for text in texts]
            result = load.run(Job(port, sent, connections=1, seconds=60, at_most=rows))
        found.note(name, rows / result.seconds, result.seconds * 1000 / rows)
        tick()
    return found


def pages(load: Load, sides: Mapping[str, Side], scale: Scale, tick: Tick) -> dict[str, Turns]:
    """For each side the latency of the first page and of a late one, for the user with the most tasks."""
    found = {}
    for name, side in sides.items():
        path, token = (USUAL_TASKS if name == USUAL else TASKS), side.tokens[HUGE]
        late = f"offset={20 * (scale.page - 1)}" if name == USUAL else f"cursor={_cursor(side, scale.page)}"
        targets = {"first": path if name == USUAL else f"{path}?count=none", "late": f"{path}?{late}"}
        found[name] = alternately(
            load, {place: (side.server.port, request("GET", target, token)) for place, target in targets.items()}, scale
        )
        tick()
    return found


def _cursor(side: Side, page: int) -> str:
    """That leads to this page."""
    headers = {"Authorization": f"Bearer {side.tokens[HUGE]}"}
    answer: Any = {"next_cursor": None}
    target = f"{TASKS}?count=none"
    for _ in range(page - 1):
        answer = side.server.ask("GET", target, headers=headers)
        target = f"{TASKS}?cursor={answer['next_cursor']}"
    return str(answer["next_cursor"])


def alternately(load: Load, asked: Mapping[str, tuple[int, str]], scale: Scale) -> Turns:
    """Latencies, on one connection: a few requests of each in turn."""

    def ask(name: str) -> Result:
        port, sent = asked[name]
        return load.run(Job(port, [sent], connections=1, seconds=0.5, at_most=scale.growth_requests))

    for name in asked:
        ask(name)
    found = Turns()
    for name in turns(scale.growth_rounds, list(asked)):
        result = ask(name)
        found.note(name, result.rate, result.median_ms)
    return found
