"""The same verbs without a window: info, enhance, denoise, impute, predict, evaluate, and more."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from napari_stsr.cli.parser import parser
from napari_stsr.cli.stopping import Stopping
from napari_stsr.errors import Cancelled, InputError, StsrError

__all__ = ["main", "parser"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after ``napari-stsr``; those of the process by default.

    Returns
    -------
    int
        0 done, 1 failed on the way, 2 bad input, 130 stopped by Ctrl-C (143 by SIGTERM).
    """
    options = parser().parse_args(arguments)
    with Stopping() as stopping:
        options.stopping = stopping
        try:
            options.verb(options)
        except (Cancelled, KeyboardInterrupt):
            _say(stopping.said)
            return stopping.code
        except BrokenPipeError:
            # The reader of our output, `head` for instance, has seen enough.
            sys.stderr.close()
            return 0
        except Exception as error:
            if options.debug:
                traceback.print_exc()
            _say(_words(error))
            return 2 if isinstance(error, InputError) else 1
    return 0


def _words(error: Exception) -> str:
    if isinstance(error, StsrError):
        return f"Error: {error}"
    if isinstance(error, MemoryError):
        return "Error: The memory ran out. Choose fewer genes or a smaller region."
    first = (str(error).splitlines() or [""])[0]
    return f"Error: {type(error).__name__}: {first} (--debug shows where)"


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
