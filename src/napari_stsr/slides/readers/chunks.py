"""Read a long h5 vector in its stored chunks, decompressed with libdeflate.

At HD size most of the time of opening goes into gzip; libdeflate takes less than half of what
HDF5's own filter takes, and one chunk at a time needs next to no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PLAIN_CHUNK = 8_000_000
_GZIP, _SHUFFLE = 1, 2


def parts_of(vector: Any) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield the parts of a one-dimensional h5 data set, in order.

    Raises
    ------
    OSError
        When a part is damaged.
    """
    filters = _filters(vector)
    step = vector.chunks[0] if filters is not None else _PLAIN_CHUNK
    for start in range(0, vector.shape[0], step):
        part = slice(start, min(start + step, vector.shape[0]))
        yield part, vector[part] if filters is None else _decoded(vector, part, filters)


def _filters(vector: Any) -> list[int] | None:
    """Filters of a data set when they are gzip, or shuffle and gzip; else None."""
    if vector.chunks is None or vector.dtype.kind not in "iuf":
        return None
    plan = vector.id.get_create_plist()
    filters = [plan.get_filter(number)[0] for number in range(plan.get_nfilters())]
    return filters if filters in ([_GZIP], [_SHUFFLE, _GZIP]) else None


def _decoded(vector: Any, part: slice, filters: list[int]) -> NDArray[Any]:
    import imagecodecs

    skipped, packed = vector.id.read_direct_chunk((part.start,))
    if skipped:
        return np.asarray(vector[part])
    dtype, size = vector.dtype, vector.chunks[0]
    try:
        raw = imagecodecs.deflate_decode(packed, out=size * dtype.itemsize)
    except imagecodecs.DeflateError as error:
        raise OSError(f"damaged at value {part.start:,} ({error})") from None
    if len(raw) != size * dtype.itemsize:
        raise OSError(f"damaged at value {part.start:,}")
    if _SHUFFLE in filters:
        # Stored byte by byte: all first bytes, then all second bytes …
        planes = np.frombuffer(raw, dtype=np.uint8).reshape(dtype.itemsize, size)
        values = np.ascontiguousarray(planes.T).view(dtype)[:, 0]
    else:
        values = np.frombuffer(raw, dtype=dtype)
    return np.asarray(values[: part.stop - part.start])
