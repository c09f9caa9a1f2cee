"""`tend keys`: the ring that signs, and what is sealed."""

from typing import Annotated

import typer
from rich.table import Table

from backend.operations.working import with_state
from backend.security.sealing import Broken
from backend.services import keys
from backend.state import State
from backend.terminal import console, fail

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="The keys that sign access tokens.")


@app.command("list")
def list_keys() -> None:
    """Show the ring: which key signs, and until when the former ones are accepted.

    Empty means that JWT_SECRET itself signs.
    """
    rows = with_state(lambda state: keys.listed(state.database))
    if not rows:
        console.print("The ring is empty: JWT_SECRET signs. `tend keys rotate` adds a key.")
        return
    shown = Table("algorithm", "number", "kid", "signs from", "those before it are read until")
    for row in rows:
        shown.add_row(
            row.algorithm, str(row.number), row.kid, f"{row.signs_from:%F %T %Z}", f"{row.former_until:%F %T %Z}"
        )
    console.print(shown)


@app.command()
def rotate(
    at_once: Annotated[
        bool, typer.Option(help="The new key signs now and no former one is believed: everybody refreshes at once.")
    ] = False,
) -> None:
    """Make a new key. Every worker takes it up by itself, and nobody is signed out.

    It signs after two minutes, and the keys before it are accepted until their last token has expired. Use
    `--at-once` when a key was stolen.
    """

    async def work(state: State) -> bool:
        settings = state.settings
        seconds = settings.access_token_minutes * 60
        return await keys.rotate(state.database, state.seal, settings.token_algorithm, seconds, at_once=at_once)

    if not with_state(work):
        fail("Another rotation came first. Look with `tend keys list`.")
    console.print("A new key signs now." if at_once else "A new key signs in two minutes.")


@app.command()
def reseal() -> None:
    """Seal everything that is sealed in the database under the JWT_SECRET of now: keys, second factors, webhooks.

    To replace JWT_SECRET: set JWT_SECRET_FORMER to the old one, restart with both, run this, and take
    JWT_SECRET_FORMER away an hour later.
    """
    try:
        done = with_state(lambda state: keys.reseal(state.database, state.seal))
    except Broken:
        fail("Something was sealed under a secret that is neither JWT_SECRET nor JWT_SECRET_FORMER. Nothing is lost.")
    console.print(f"{done:,} sealed anew.")
