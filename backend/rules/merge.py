"""Which of two changes of one field group holds, when neither knew of the other.

The clocks are hybrid logical ones (Kulkarni et al., 2014) in one number: microseconds since 1970, and one more than
the last where time has not moved. They decide only between changes that did not see each other; what came after what
was seen says its `base`. Whatever they say, all devices end alike, since the server decides and in one order.
"""

from typing import Final, Literal, NamedTuple

AHEAD: Final = 60_000_000
"""Microseconds by which a device's clock may be ahead of the server's; more is cut off."""

Verdict = Literal["after", "won", "lost"]


class Register(NamedTuple):
    """Who last changed a field group: as the door writes it (`clocks.stamped`)."""

    clock: int
    version: int  # of the row, when it was changed
    client: str | None  # None: no device of those that synchronise


class Writer(NamedTuple):
    client: str
    clock: int
    base: int  # the version of the row that the device had seen


def verdict(register: Register | None, writer: Writer) -> Verdict:
    """`after`: it was made of what is there, or of what the same device made. `won` and `lost`: at the same time.

    Without a register the group is as the row was created, which whoever changes it has seen.
    """
    if register is None or register.version <= writer.base or register.client == writer.client:
        return "after"
    return "won" if (writer.clock, writer.client) > (register.clock, register.client or "") else "lost"


def clamped(clock: int, now: int) -> int:
    """A clock that runs far ahead would win for ever."""
    return min(clock, now + AHEAD)
