"""`tend account` and `tend clean`: other people's accounts."""

from typing import Annotated

import typer

from backend.operations.working import with_state
from backend.services import accounts, housekeeping, second_factors
from backend.terminal import console, fail

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Other people's accounts.")

Email = Annotated[str, typer.Argument(help="The account's address.")]


@app.command()
def disable(email: Email) -> None:
    """Keep somebody out: sign-ins and tokens stop within 10 seconds; nothing of theirs is deleted."""
    if not with_state(lambda state: accounts.set_disabled(state.database, email, True)):
        fail(f"No account has the address {email}.")
    console.print(f"{email} is disabled.", markup=False)


@app.command()
def enable(email: Email) -> None:
    """Let somebody in again whose account was disabled. They sign in anew."""
    if not with_state(lambda state: accounts.set_disabled(state.database, email, False)):
        fail(f"No account has the address {email}.")
    console.print(f"{email} is enabled.", markup=False)


@app.command()
def second_factor_off(email: Email) -> None:
    """Turn somebody's second factor off who has lost the app and the recovery codes. Make sure first who asks."""
    if not with_state(lambda state: second_factors.turn_off_for(state.database, email)):
        fail(f"No account with the address {email} has a second factor.")
    console.print(f"{email} signs in with the password alone.", markup=False)


def clean() -> None:
    """Delete what is over: accounts whose grace has ended, old sessions, events, keys.

    The service does so by itself once an hour while it is used; this is for those who want a clock of their own.
    """
    with_state(lambda state: housekeeping.clean(state.database))
    console.print("Clean.")
