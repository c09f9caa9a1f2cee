"""`tend`, and `python -m backend`: the command line, and nothing to read when Ctrl-C comes before it is imported."""

import sys


def main() -> None:
    try:
        from backend import cli  # half a second
    except KeyboardInterrupt:
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
