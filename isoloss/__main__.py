"""`python -m isoloss`, and what the script `isoloss` runs: the command line, from the first moment on.

In: argv. Out: an exit code. Ctrl-C while the command's own modules still load ends it as later: without a traceback."""

import sys


def main() -> int:
    """Run one command; its exit code (errors.py)."""
    try:
        from isoloss import cli

        return cli.main()
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was begun", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
