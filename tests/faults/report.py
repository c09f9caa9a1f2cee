"""The table of docs/reliability.md, and what a terminal shows."""

import re
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.faults.registry import FAULTS
from tests.faults.stage import Found

PAGE: Final = Path("docs/reliability.md")
BEGIN, END = "<!-- faults: made by `make faults` -->", "<!-- faults: end -->"
HEAD: Final = (
    "fault", "attempts", "requests", "what clients saw", "longest wait", "acknowledged", "found", "lost", "doubled",
    "command",
)  # fmt: skip


def cells(found: Found) -> tuple[str, ...]:
    command = f"`make faults ARGS=\"--only '{found.name}'\"`"
    if found.skipped:
        return (found.title, "0", "", f"not run: {found.skipped}", "", "", "", "", "", command)
    saw, compared = found.saw, found.compared
    seen = ", ".join(f"{count:,} × {answer}" for answer, count in sorted(saw.answers.items()))
    notes = "; ".join([*found.notes, f"{saw.found} of the creates without an answer were done"])
    return (
        found.title,
        f"{found.attempts:,}",
        f"{saw.requests:,}",
        seen + (f". {notes}" if notes else ""),
        f"{saw.longest:.1f} s",
        f"{compared.acknowledged:,}",
        f"{compared.found:,}",
        str(compared.lost),
        str(compared.doubled),
        command,
    )


def show(console: Console, all_found: list[Found]) -> None:
    if console.is_terminal:  # elsewhere each fault had a line when it was over
        table = Table(*HEAD[:-1])
        for found in all_found:
            table.add_row(*cells(found)[:-1])
        console.print(table)
    for found in all_found:
        for error, count in found.saw.breaks.items():
            console.print(f"{found.name}: {count:,} broken: {error}", markup=False, soft_wrap=True)
        said = [*found.saw.wrong, *found.saw.hung, *found.compared.said]
        for line in said[:10]:
            console.print(f"{found.name}: {line}", style="red", markup=False, soft_wrap=True)
        if len(said) > 10:
            console.print(f"{found.name}: and {len(said) - 10} more", style="red", markup=False)


def write(all_found: list[Found]) -> None:
    """The rows of the faults that ran; those of the others stay."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    table, after = rest.split(END)
    rows = {_title(line): line for line in table.splitlines() if line.startswith("| ") and "---" not in line}
    rows.pop(HEAD[0], None)
    rows |= {found.title: "| " + " | ".join(cells(found)) + " |" for found in all_found}
    titles = [fault.title for fault in FAULTS.values()]
    rows = {title: rows[title] for title in titles if title in rows}
    head = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    PAGE.write_text("\n".join([before + BEGIN, *head, *rows.values(), END + after]))


def _title(line: str) -> str:
    return re.split(r"\s*\|\s*", line)[1]
