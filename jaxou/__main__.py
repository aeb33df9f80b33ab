"""`python -m jaxou` is the command `jaxou`."""

import sys

from jaxou.cli import main

if __name__ == "__main__":
    sys.exit(main())
