"""A process whose parent was killed ends itself: the parent can pass no signal on any more."""

import os
import signal
import sys
import threading
import time


def follow(parent: int) -> None:
    """Sends this process a SIGTERM within half a second of `parent`'s end."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    sys.stderr.write("The process that started this one is gone: stopping.\n")
    os.kill(os.getpid(), signal.SIGTERM)
