"""`make test-pooled`: the whole suite through PgBouncer, without prepared statements and, where it keeps them, with."""

import os
import shutil
import subprocess
import sys

from tests.pooler import KEEPS_PREPARED, version


def main() -> int:
    program = shutil.which(os.environ.get("TEST_POOLER", "pgbouncer"))
    if program is None:
        print("There is no pgbouncer: apt-get install pgbouncer, or name one in TEST_POOLER.", file=sys.stderr)  # noqa: T201
        return 1
    kept = version(program) >= KEEPS_PREPARED
    if not kept:
        print("This PgBouncer keeps no prepared statements; 1.22 does. One run, without them.")  # noqa: T201
    for prepared in ("false", "true") if kept else ("false",):
        environment = {**os.environ, "TEST_POOLER": program, "TEST_POOLER_PREPARED": prepared}
        command = [sys.executable, "-m", "pytest", "-n", "auto", *sys.argv[1:]]
        if code := subprocess.run(command, env=environment, check=False).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
