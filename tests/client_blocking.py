"""The client's blocking half is made of its async one: `python -m tests.client_blocking [--check]`.

By unasync, which replaces words: both are there to be read, stepped through and type-checked, and only one is written.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

from tests.servers import ROOT

CLIENT = ROOT / "clients" / "python" / "tend_client"
WORDS = {
    "AsyncTend": "Tend",
    "AsyncCollection": "Collection",
    "AsyncOffline": "Offline",
    "AsyncClient": "Client",
    "AsyncBaseTransport": "BaseTransport",
    "AsyncLock": "Lock",
    "async_sleep": "sleep",
    "aclose": "close",
    "aclosing": "closing",
    "aiter_lines": "iter_lines",
    "aread": "read",
    "_async": "_sync",
}
MADE = "# Made of ../_async by `make client`: what is changed here is lost.\n"


def make(target: Path) -> None:
    sources = sorted((CLIENT / "_async").glob("*.py"))
    rule = unasync.Rule(  # type: ignore[no-untyped-call]
        str(CLIENT / "_async"), str(target), additional_replacements=WORDS
    )
    unasync.unasync_files([str(source) for source in sources], [rule])  # type: ignore[no-untyped-call]
    for source in sources:
        made = target / source.name
        made.write_text(MADE + made.read_text())
    ruff = [Path(sys.executable).parent / "ruff"]
    for what in (["check", "--quiet", "--fix", "--select", "I"], ["format", "--quiet"]):
        subprocess.run([*ruff, *what, "--config", ROOT / "pyproject.toml", target], check=True)


def main() -> int:
    there = CLIENT / "_sync"
    if "--check" not in sys.argv[1:]:
        make(there)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        differ = [each.name for each in sorted(Path(folder).iterdir()) if each.read_text() != read(there / each.name)]
    if differ:
        print(f"Not as _async has it: {', '.join(differ)}. Run `make client`.")  # noqa: T201
        return 1
    print("The client's two halves agree.")  # noqa: T201
    return 0


def read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
