"""Command line: python -m demo.scenes OUT --count N."""

from . import main

main()
