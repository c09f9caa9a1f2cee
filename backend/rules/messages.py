"""The words of every message that is sent by mail. What one looks like, the two templates in `templates/` say."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from backend.rules.text import counted
from backend.rules.webhooks import GIVEN_UP

# A name is whatever somebody typed who registers, for any address: without this, one could have us send
# `Win at evil.example` to a stranger, and mail programs would make a link of it.
_LINK: Final = re.compile(r"[/:@]|\w\.\w{2}")
_JOINERS: Final = "\u200c\u200d"  # Persian and emoji need them; all other invisible characters go


@dataclass(frozen=True, slots=True)
class Link:
    """Where the message leads. Without APP_URL it holds the token itself, and the route that takes it."""

    label: str
    path: str
    token: str = field(repr=False)
    route: str


@dataclass(frozen=True, slots=True)
class Message:
    """`to` is a valid address; `name` is taken as it was typed. `closing` comes below the link."""

    to: str
    name: str
    subject: str
    paragraphs: tuple[str, ...]
    link: Link | None = None
    closing: tuple[str, ...] = ()

    @property
    def shown_name(self) -> str:
        """The name on one line, or nothing when a mail program could make a link of it."""
        name = " ".join("".join(_visible(self.name)).split())
        return "" if _LINK.search(name) else name


def verify_email(to: str, name: str, token: str, minutes: int) -> Message:
    return Message(
        to,
        name,
        "Confirm your address",
        ("This address was given for an account at Tend. Confirm that it is yours.",),
        Link("Confirm address", "verify-email", token, "POST /v1/auth/verify-email/confirm"),
        (_holds(minutes), "If you have no account at Tend, do nothing: the address stays unconfirmed."),
    )


def reset_password(to: str, name: str, token: str, minutes: int) -> Message:
    return Message(
        to,
        name,
        "Choose a new password",
        ("Somebody, most likely you, asked for a new password for your account at Tend.",),
        Link("Choose a new password", "reset-password", token, "POST /v1/auth/password-reset/confirm"),
        (_holds(minutes), "If it was not you, do nothing: your password stays as it is."),
    )


def password_changed(to: str, name: str, when: datetime, address: str | None) -> Message:
    """`when` is shown in its own time zone; `address` is the network address it was done from, if known."""
    origin = f", from {address}" if address else ""
    return Message(
        to,
        name,
        "Your password was changed",
        (f"The password of your account at Tend was changed on {_moment(when)}{origin}.",),
        closing=("If it was not you, ask for a new password at once: somebody else knows this one.",),
    )


def email_changed(to_old: str, name: str, new_email: str) -> Message:
    """To the address that no longer is the account's: its owner may know nothing of the change."""
    return Message(
        to_old,
        name,
        "Your address was changed",
        (f"Your account at Tend now has the address {new_email}, and no longer this one.",),
        closing=("If it was not you, somebody else has your account: tell those who run this service.",),
    )


def second_factor_changed(to: str, name: str, on: bool) -> Message:
    state = "on" if on else "off"
    effect = "asks for a code besides the password" if on else "asks for the password alone"
    return Message(
        to,
        name,
        f"Two-factor authentication is {state}",
        (f"Two-factor authentication was turned {state} for your account at Tend: signing in now {effect}.",),
        closing=("If it was not you, change your password at once: somebody else knows it.",),
    )


def account_ending(to: str, name: str, when: datetime) -> Message:
    """`when` is shown in its own time zone."""
    return Message(
        to,
        name,
        "Your account will be deleted",
        (f"Your account at Tend will be deleted on {_moment(when)}, and all its tasks with it.",),
        closing=("To keep it, or if it was not you who asked for this, sign in before then.",),
    )


def account_kept(to: str, name: str) -> Message:
    return Message(
        to,
        name,
        "Your account will be kept",
        ("Your account at Tend will not be deleted. Everything in it is as it was.",),
        closing=("If it was not you who kept it, change your password at once: somebody else knows it.",),
    )


def webhook_switched_off(to: str, name: str, which: str, because: str) -> Message:
    """`because`: `failing` or `gone`."""
    why = {
        "failing": f"it has taken none of its messages for {GIVEN_UP.days} days",
        "gone": "it answered that it is gone for good (410)",
    }
    return Message(
        to,
        name,
        "A webhook was switched off",
        (f"Your webhook to {which} was switched off, since {why[because]}.",),
        closing=("Switched on again (enabled: true), it goes on where it stopped.",),
    )


def _visible(name: str) -> Iterator[str]:
    for character in name:
        if character.isspace():
            yield " "
        elif not unicodedata.category(character).startswith("C") or character in _JOINERS:
            yield character


def _holds(minutes: int) -> str:
    return f"This is good once, and for {_span(minutes)}."


def _span(minutes: int) -> str:
    units = {"day": 24 * 60, "hour": 60, "minute": 1}
    unit = next(name for name, size in units.items() if minutes % size == 0)
    return counted(minutes // units[unit], unit)


def _moment(when: datetime) -> str:
    return f"{when.day} {when:%B %Y at %H:%M %Z}"
