"""What every command needs: where to print, how to fail, and a database."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from rich.console import Console

from backend import config, embedded
from backend.config import Settings

console: Final = Console(highlight=False)
errors: Final = Console(stderr=True, highlight=False)

GIVE_ONE: Final = "Set DATABASE_URL, or run this in the folder in which the service runs (or with its DATA_DIR)."


def fail(message: str) -> NoReturn:
    errors.print(message, style="bold red", markup=False, soft_wrap=True)
    sys.exit(1)


@contextmanager
def interruptible(outcome: str) -> Iterator[Callable[[str], None]]:
    """Ctrl-C says what became of it; gives what to call when that has changed."""
    outcomes = [outcome]
    try:
        yield outcomes.append
    except KeyboardInterrupt:
        errors.print(f"Interrupted. {outcomes[-1]}", soft_wrap=True, markup=False)
        sys.exit(130)


@contextmanager
def database(*, make: bool = False, say: Callable[[str], None] = errors.print) -> Iterator[Settings]:
    """The settings with the address of a database: the configured one, or the embedded one while this lasts.

    `make`: an embedded one, where there is none yet. Without it, a command in the wrong folder would work on nothing.
    """
    settings = config.load()
    if settings.database_url:
        yield settings
        return
    if not make and not embedded.exists(settings.data_dir):
        place = settings.data_dir.resolve()
        fail(f"There is no database: DATABASE_URL is not set, and none is in {place}.\n{GIVE_ONE}")
    with embedded.server(settings.data_dir, say=say) as url:
        os.environ["DATABASE_URL"] = url  # for the workers, which read the environment anew
        yield config.load()
