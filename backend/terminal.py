"""What every command needs: where to print, how to fail, and a database."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from rich.console import Console

from backend import config, embedded
from backend.config import Settings

console: Final = Console(highlight=False)
errors: Final = Console(stderr=True, highlight=False)


def fail(message: str) -> NoReturn:
    errors.print(message, style="bold red", markup=False, soft_wrap=True)
    sys.exit(1)


@contextmanager
def database() -> Iterator[Settings]:
    """The settings with the address of a database: the configured one, or the embedded one while this lasts."""
    settings = config.load()
    if settings.database_url:
        yield settings
        return
    with embedded.server(settings.data_dir, say=errors.print) as url:
        os.environ["DATABASE_URL"] = url  # for the workers, which read the environment anew
        yield config.load()
