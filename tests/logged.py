"""What Tend logs, as production writes it: a JSON object a line."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from backend.telemetry import logs
from tests.client import Json


class Lines:
    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def of(self, logger: str) -> list[Json]:
        every = [json.loads(line) for line in self.text.splitlines()]
        return [each for each in every if each["logger"] == logger]


@contextmanager
def listening(*, words: bool = False) -> Iterator[Lines]:
    lines, tend = Lines(), logging.getLogger("tend")
    handler = logging.StreamHandler(lines.stream)
    handler.setFormatter(logs.formatter(as_json=True, words=words))
    level = tend.level
    tend.addHandler(handler)
    tend.setLevel("INFO")
    try:
        yield lines
    finally:
        tend.removeHandler(handler)
        tend.setLevel(level)


@pytest.fixture
def lines() -> Iterator[Lines]:
    with listening() as heard:
        yield heard
