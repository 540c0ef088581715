"""The command line's entry: run it, and turn what a user can mend into one sentence."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from latentem.errors import LatentemError, require

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``latentem`` and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after ``latentem``; those of the process if not given.

    Returns
    -------
    int
        0, or 2 after one sentence on standard error; 130 when interrupted, after the results of
        the best fit so far if there was one.
    """
    try:
        for library in ("rich", "typer"):
            require(library, extra="cli")
        from latentem._commands import app

        app(args=arguments, prog_name="latentem")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:  # while the libraries above were imported
        return 130
    except LatentemError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{error.filename}: {error.strerror}." if error.filename else str(error))
    return 0


def _refuse(sentence: str) -> int:
    print(f"latentem: {sentence}", file=sys.stderr)
    return 2
