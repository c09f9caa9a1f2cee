"""Waiting, in both worlds: how long, and by what."""

import asyncio
import random
import threading
import time

import httpx

from tend_client.errors import IN_FLIGHT, Problem, TooMany, Unavailable

async_sleep = asyncio.sleep
sleep = time.sleep
AsyncLock = asyncio.Lock
Lock = threading.Lock

LONGEST_SECONDS = 30.0


def pause(error: Problem | httpx.TransportError, tries: int) -> float | None:
    """Seconds before it is tried again, after so many tries; None where that would not help."""
    backoff = min(LONGEST_SECONDS, 0.25 * 2.0**tries) * random.uniform(0.5, 1.0)  # noqa: S311
    if isinstance(error, httpx.TransportError):
        return backoff
    if isinstance(error, Unavailable | TooMany) or error.type == IN_FLIGHT or error.status in {502, 504}:
        wait = error.retry_after or 0.0
        return None if wait > LONGEST_SECONDS else max(wait, backoff)
    return None
