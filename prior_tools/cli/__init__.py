"""The command line: `python -m prior_tools`, or `scp-prior` where installed.

A module per command, with `add_parser(commands)` and `run(args)`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ..errors import PriorError, printable, reason
from . import (
    build,
    compare,
    evaluate,
    export,
    find_palette,
    generate,
    grain,
    import_published,
    inspect,
    merge,
    score,
    utility,
)

# Command -> its module, in the order of the help text.
COMMANDS = {
    "build": build,
    "import": import_published,
    "merge": merge,
    "inspect": inspect,
    "grain": grain,
    "score": score,
    "generate": generate,
    "evaluate": evaluate,
    "compare": compare,
    "export": export,
    "utility": utility,
    "palette": find_palette,
}

WRONG_INPUT = 2
INTERRUPTED = 130
PIPE_CLOSED = 141


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for wrong input, 130 after Ctrl-C.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Wrong input, a PriorError or an OSError, ends in one line on stderr. Raises SystemExit (2) where
    the arguments themselves are wrong, and (0) after --help, as argparse does.
    """
    args = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Class names may hold letters that the terminal's encoding lacks.
            stream.reconfigure(errors="backslashreplace")
    try:
        code: int = COMMANDS[args.command].run(args)
        sys.stdout.flush()
        return code
    except PriorError as error:
        return _wrong_input(args.command, str(error))
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain at exit when it
        # flushes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        return _wrong_input(args.command, _os_error_text(error))
    except KeyboardInterrupt:
        print(f"{args.command}: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    started_as = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(
        prog="scp-prior" if started_as == "scp-prior" else "python -m prior_tools",
        description="Priors of labelled datasets for SCP-Diff. '%(prog)s COMMAND --help' "
        "explains a command.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS.values():
        module.add_parser(commands)
    return parser


def _wrong_input(command: str, text: str) -> int:
    print(f"{command}: error: {text}", file=sys.stderr)
    return WRONG_INPUT


def _os_error_text(error: OSError) -> str:
    if error.strerror is None:
        return printable(reason(error))
    # Where a file was to be moved into place, the second name is the one that was asked for.
    name = error.filename2 or error.filename
    text = printable(f"{name}: {error.strerror}" if name else error.strerror)
    return f"{text}; --overwrite replaces it" if isinstance(error, FileExistsError) else text
