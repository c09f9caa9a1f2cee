"""Large blocks go back to the system when they are freed.

glibc raises its own limit for that whenever a large block is freed, and a password's hash takes 19 MB: from
then on what batches and hashes had is kept. A worker held 151 MB after some of both, and 107 with fixed limits.
"""

import ctypes
from contextlib import suppress
from typing import Final

M_TRIM_THRESHOLD: Final = -1  # malloc.h
M_MMAP_THRESHOLD: Final = -3
LIMIT: Final = 256 * 1024


def give_back() -> None:
    """For this process. Does nothing where the C library is another, as on macOS or Alpine."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LIMIT)
        mallopt(M_TRIM_THRESHOLD, LIMIT)
