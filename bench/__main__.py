"""Command line: python -m bench."""

import sys

from bench.run import main

# Guarded, because processes that are spawned may import this module again.
if __name__ == "__main__":
    sys.exit(main())
