"""What the README says is so: its tour is run, word for word, against Tend as a newcomer starts it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from backend import config
from backend.config import Settings
from tests.served import serving

ROOT: Final = Path(__file__).parent.parent
README: Final = (ROOT / "README.md").read_text()
DOCUMENTS: Final = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
ADDRESS: Final = "127.0.0.1:8000"
TOUR_SECONDS: Final = 60
MARK: Final = "@@@"

# What is another one each time, in JSON as the API and as `python3 -m json.tool` write it.
CHANGING: Final = {
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "<id>",
    r'("(?:created|updated|completed)_at": ?)"[^"]*"': r'\1"<time>"',
    r'("(?:access_token|refresh_token|next_cursor)": ?)"[^"]*"': r'\1"<secret>"',
}


class Step(NamedTuple):
    command: str
    shown: list[str]


def tour() -> Iterator[Step]:
    """The commands between the two marks, each with the lines that stand under it."""
    marked = README.split("<!-- tour")[1].split("<!-- end of the tour")[0]
    for block in re.findall(r"^```console\n(.*?)^```$", marked, re.DOTALL | re.MULTILINE):
        command: list[str] = []
        shown: list[str] = []
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield Step("\n".join(command), shown)
                command, shown = [line[2:]], []
            elif line.startswith("> ") and not shown:
                command.append(line[2:])
            else:
                shown.append(line)
        yield Step("\n".join(command), shown)


def masked(lines: list[str]) -> list[str]:
    text = "\n".join(line.rstrip() for line in lines)
    for changing, name in CHANGING.items():
        text = re.sub(changing, name, text)
    return text.splitlines()


def pasted(commands: list[str], home: Path) -> list[list[str]]:
    """What one bash prints for each of the commands, in order."""
    script = "".join(f"{command}\necho {MARK}\n" for command in commands)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"}  # no .curlrc, no proxy
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-s"],
        input=script.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=home,
        timeout=TOUR_SECONDS,
        check=False,
    )
    printed = done.stdout.decode().replace("\r", "").split(f"{MARK}\n")
    assert len(printed) == len(commands) + 1, f"bash stopped in the middle:\n{printed[-1]}"
    return [text.splitlines() for text in printed[:-1]]


def test_the_tour_prints_what_the_readme_shows(tmp_path: Path) -> None:
    assert shutil.which("curl"), "The tour of the README needs curl, and it is not installed here."
    steps = list(tour())
    assert len(steps) > 20

    with serving(tmp_path / "data") as server:
        address = server.url.removeprefix("http://")
        printed = pasted([step.command.replace(ADDRESS, address) for step in steps], tmp_path)

    for step, lines in zip(steps, printed, strict=True):
        assert masked([line.replace(address, ADDRESS) for line in lines]) == masked(step.shown), step.command


def test_the_example_of_the_settings_is_the_one_that_the_code_makes() -> None:
    example = (ROOT / ".env.example").read_text()

    assert example == config.example()
    assert set(re.findall(r"^# ([A-Z_]+)=", example, re.MULTILINE)) == {name.upper() for name in Settings.model_fields}


def test_the_settings_in_the_readme_have_the_defaults_that_it_names() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| `?([^`|]+?)`? \|", README, re.MULTILINE))

    assert rows.keys() == {"HOST", "PORT", "DATA_DIR", "DATABASE_URL"}
    for name, shown in rows.items():
        default = Settings.model_fields[name.lower()].default
        assert shown == ("unset" if default is None else str(default)), name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_that_is_named_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))

    named = set(re.findall(r"(?:`|^\$ )make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE))

    assert named <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_is_linked_exists(document: str) -> None:
    path = ROOT / document

    linked = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text())

    assert [name for name in linked if not (path.parent / name).exists()] == []
