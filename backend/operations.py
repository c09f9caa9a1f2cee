"""The operator's commands about keys and accounts: `tend keys`, `tend account`, `tend clean`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from rich.table import Table

from backend.security.sealing import Broken
from backend.services import accounts, housekeeping, keys, second_factors
from backend.state import State
from backend.terminal import console, database, fail

T = TypeVar("T")

keys_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="The keys that sign access tokens.")
account_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Other people's accounts.")

Email = Annotated[str, typer.Argument(help="The account's address.")]


def _with_state(work: Callable[[State], Awaitable[T]]) -> T:
    async def run() -> T:
        state = State(settings)
        try:
            return await work(state)
        finally:
            await state.close()

    with database() as settings:
        return asyncio.run(run())


@keys_app.command("list")
def list_keys() -> None:
    """Show the ring: which key signs, and until when the former ones are accepted.

    Empty means that JWT_SECRET itself signs.
    """
    rows = _with_state(lambda state: keys.listed(state.database))
    if not rows:
        console.print("The ring is empty: JWT_SECRET signs. `tend keys rotate` adds a key.")
        return
    shown = Table("algorithm", "number", "kid", "signs from", "those before it are read until")
    for row in rows:
        shown.add_row(
            row.algorithm, str(row.number), row.kid, f"{row.signs_from:%F %T %Z}", f"{row.former_until:%F %T %Z}"
        )
    console.print(shown)


@keys_app.command()
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

    if not _with_state(work):
        fail("Another rotation came first. Look with `tend keys list`.")
    console.print("A new key signs now." if at_once else "A new key signs in two minutes.")


@keys_app.command()
def reseal() -> None:
    """Seal everything that is sealed in the database (keys, second factors) under the JWT_SECRET of now.

    To replace JWT_SECRET: set JWT_SECRET_FORMER to the old one, restart with both, run this, and take
    JWT_SECRET_FORMER away an hour later.
    """
    try:
        done = _with_state(lambda state: keys.reseal(state.database, state.seal))
    except Broken:
        fail("Something was sealed under a secret that is neither JWT_SECRET nor JWT_SECRET_FORMER. Nothing is lost.")
    console.print(f"{done:,} sealed anew.")


@account_app.command()
def disable(email: Email) -> None:
    """Keep somebody out: sign-ins and tokens stop within 10 seconds; nothing of theirs is deleted."""
    if not _with_state(lambda state: accounts.set_disabled(state.database, email, True)):
        fail(f"No account has the address {email}.")
    console.print(f"{email} is disabled.", markup=False)


@account_app.command()
def enable(email: Email) -> None:
    """Let somebody in again whose account was disabled. They sign in anew."""
    if not _with_state(lambda state: accounts.set_disabled(state.database, email, False)):
        fail(f"No account has the address {email}.")
    console.print(f"{email} is enabled.", markup=False)


@account_app.command()
def second_factor_off(email: Email) -> None:
    """Turn somebody's second factor off who has lost the app and the recovery codes. Make sure first who asks."""
    if not _with_state(lambda state: second_factors.turn_off_for(state.database, email)):
        fail(f"No account with the address {email} has a second factor.")
    console.print(f"{email} signs in with the password alone.", markup=False)


def clean() -> None:
    """Delete what is over: accounts whose grace has ended, old sessions, events, keys.

    The service does so by itself once an hour while it is used; this is for those who want a clock of their own.
    """
    _with_state(lambda state: housekeeping.clean(state.database))
    console.print("Clean.")
