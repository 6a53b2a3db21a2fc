"""A file that HDF5 may write to although the disk is full."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Self


class PatientFile(io.RawIOBase):
    """Binary file whose failed writes are kept in memory and told by `check`.

    HDF5 cannot close a file it failed to write to: its state is broken from then on, and the
    whole process crashes sooner or later. So it is never told. Who writes calls `check` after
    each block and at the end, and throws the file away.

    Parameters
    ----------
    path : Path
        File to create.
    """

    def __init__(self, path: Path) -> None:
        self._file = io.FileIO(path, "w+")
        self._at = 0
        self._kept: list[tuple[int, bytes]] = []
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def check(self) -> None:
        """Raise what went wrong since the start, an OSError for a full disk."""
        if self._failure is not None:
            raise self._failure

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; the end counts what is only kept in memory."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end()}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the place of the next reading or writing."""
        return self._at

    def _end(self) -> int:
        return max([self._file.seek(0, io.SEEK_END), *(at + len(b) for at, b in self._kept)])

    def write(self, data: object) -> int:
        """Write all of the data, to memory after a failure."""
        content = bytes(memoryview(data))  # type: ignore[arg-type]  # any buffer of HDF5's
        if self._failure is None:
            try:
                self._write_all(content)
            except BaseException as error:  # even Ctrl-C must not pass through HDF5
                self._failure = error
        if self._failure is not None:
            self._kept.append((self._at, content))
        self._at += len(content)
        return len(content)

    def _write_all(self, content: bytes) -> None:
        self._file.seek(self._at)
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]

    def readinto(self, buffer: object) -> int:
        """Read what was written, kept or not; zeros where nothing was."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]  # any buffer of HDF5's
        view[:] = bytes(len(view))
        self._file.seek(self._at)
        found = self._file.read(len(view)) or b""
        view[: len(found)] = found
        for at, content in self._kept:
            low, high = max(at, self._at), min(at + len(content), self._at + len(view))
            if low < high:
                view[low - self._at : high - self._at] = content[low - at : high - at]
        self._at += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Cut or grow the file; a failure is kept like that of a write."""
        length = self._at if size is None else size
        try:
            self._file.truncate(length)
        except OSError as error:
            self._failure = self._failure or error
        return length

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""
