"""The errors a user can meet, each a sentence with its value and its remedy."""

from __future__ import annotations


class StsrError(Exception):
    """Base of every error this package raises on purpose.

    Parameters
    ----------
    what : str
        What failed, with the offending value.
    remedy : str
        What the user can do about it.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what} {remedy}".strip())


class InputError(StsrError, ValueError):
    """The given file, slide, gene, region or parameter cannot be used (exit code 2)."""


class RunError(StsrError, RuntimeError):
    """A valid request failed on the way: memory, disk, device (exit code 1)."""


class MemoryExhausted(RunError):
    """The device or the computer ran out of memory."""


class Cancelled(StsrError):
    """The user asked to stop; nothing is wrong."""

    def __init__(self, what: str = "The run was cancelled.", remedy: str = "") -> None:
        super().__init__(what, remedy)
