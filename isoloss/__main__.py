"""`python -m isoloss` is `isoloss`."""

import sys

from isoloss.cli import main

if __name__ == "__main__":
    sys.exit(main())
