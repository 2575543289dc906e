"""Thousands of damaged inputs of each kind, and what they did that none may do."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from .kinds import KINDS
from .run import go_over

# Offenders that are told of, and kept, of each kind.
_SHOWN = 20


def main() -> int:
    """1 if there was an offender."""
    parser = argparse.ArgumentParser(prog="python -m dev.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="inputs of each kind (10000)")
    parser.add_argument("--seed", type=int, help="of the first input (default: by chance)")
    parser.add_argument("--only", choices=list(KINDS), action="append", help="this kind")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(".cache/fuzz"),
        help="where offenders are kept, on their way to tests/unit/fuzzed (%(default)s)",
    )
    args = parser.parse_args()
    first = random.SystemRandom().randrange(10**9) if args.seed is None else args.seed
    print(f"{args.count} inputs of each kind, from seed {first} on", flush=True)
    print(f"{'kind':12} {'inputs':>8} {'taken':>8} {'seconds':>8} {'offenders':>9}", flush=True)
    total = 0
    for kind in args.only or KINDS:
        taken, seconds, offenders = go_over(kind, first, args.count, _Told(kind, args.out))
        print(f"{kind:12} {args.count:8} {taken:8} {seconds:8.1f} {offenders:9}", flush=True)
        total += offenders
    return int(total > 0)


class _Told:
    """Prints and keeps the first offenders of a kind."""

    def __init__(self, kind: str, out: Path) -> None:
        self._kind, self._folder, self._left = kind, out / kind, _SHOWN

    def __call__(self, seed: int, offence: str) -> None:
        if self._left == 0:
            return
        self._left -= 1
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / str(seed)).write_bytes(KINDS[self._kind].make(seed))
        print(f"{self._kind}, seed {seed}: {offence}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
