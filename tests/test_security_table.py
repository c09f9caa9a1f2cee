"""docs/security.md names what is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = re.findall(
    r"^\| ([\d., ()]+) \| (.+) \| `(.+)` \| `(.+)::(.+)` \|$", (ROOT / "docs/security.md").read_text(), re.M
)


def functions(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_the_table_is_read() -> None:
    assert len(ROWS) > 70


@pytest.mark.parametrize(("number", "said", "kept_in", "file", "test"), ROWS)
def test_a_requirement_names_a_file_and_a_test_that_exist(
    number: str, said: str, kept_in: str, file: str, test: str
) -> None:
    assert (ROOT / "backend" / kept_in).is_file(), (number, said)
    assert test in functions(ROOT / "tests" / file), (number, said)
