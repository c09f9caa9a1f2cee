"""`tend account` and `tend clean`: other people's accounts."""

from typing import Annotated

import typer
from rich.progress import track

from backend.operations.working import with_state
from backend.services import accounts, housekeeping, second_factors, signing_out
from backend.state import State
from backend.terminal import console, errors, fail, interruptible

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


@app.command()
def sign_out(
    email: Annotated[str | None, typer.Argument(help="The account's address.")] = None,
    everybody: Annotated[bool, typer.Option("--everybody", help="All accounts.")] = False,
) -> None:
    """End somebody's sessions, personal access tokens and mailed tokens, or everybody's: in 10 seconds none works.

    For a device or a token that was lost, and for everybody after a backup was restored, in which sessions and tokens
    live that had ended since. Whoever knows the password signs in again: `tend account disable` keeps somebody out. It
    can be run again, and goes on where it was interrupted.
    """
    if (email is None) is not everybody:
        raise typer.BadParameter("give an address, or --everybody", param_hint="EMAIL")
    if email is not None:
        if not with_state(lambda state: signing_out.sign_out(state.database, email)):
            fail(f"No account has the address {email}.")
        console.print(f"{email} is signed out everywhere.", markup=False)
        return

    async def all_of_them(state: State) -> int:
        keys = await signing_out.signed_in(state.database)
        for key in track(keys, "Signing out", console=errors, disable=not errors.is_terminal):
            await signing_out.sign_out(state.database, key)
        return len(keys)

    with interruptible("Those before are signed out; run it again for the others."):
        console.print(f"{with_state(all_of_them):,} accounts were signed in, and are no longer.")


def clean() -> None:
    """Delete what is over: accounts whose grace has ended, old sessions, events, keys.

    The service does so by itself once an hour while it is used; this is for those who want a clock of their own.
    """
    with_state(lambda state: housekeeping.clean(state.database))
    console.print("Clean.")
