"""Devices: which there are, what they have free, and what to say when memory runs out."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from napari_stsr.errors import InputError, MemoryExhausted

if TYPE_CHECKING:
    from torch import nn

M = TypeVar("M", bound="nn.Module")


@dataclass(frozen=True)
class Device:
    """A device to compute on.

    Attributes
    ----------
    name : str
        As `Run.device` takes it: ``"cpu"``, ``"cuda:0"``, ``"mps"``.
    label : str
        For people, with the free memory.
    free_bytes : int
    """

    name: str
    label: str
    free_bytes: int


def devices() -> list[Device]:
    """Devices of this computer, fastest first; imports torch."""
    import torch

    found = []
    for number in range(torch.cuda.device_count()):
        free, _ = torch.cuda.mem_get_info(number)
        card = torch.cuda.get_device_name(number)
        found.append(Device(f"cuda:{number}", f"{card}, {free / 1e9:.0f} GB free", free))
    free = free_memory()
    if torch.backends.mps.is_available():
        found.append(Device("mps", f"Apple GPU, {free / 1e9:.0f} GB free", free))
    found.append(Device("cpu", f"Processor, {free / 1e9:.0f} GB free", free))
    return found


def free_memory() -> int:
    """Bytes of main memory that can be taken without swapping."""
    try:
        with open("/proc/meminfo", encoding="ascii") as table:
            for line in table:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 8_000_000_000


def resolve_device(name: str) -> str:
    """Turn ``"auto"`` into the fastest device and check that a named one is there.

    Raises
    ------
    InputError
        When the device does not exist on this computer.
    """
    import torch

    present = [device.name for device in devices()]
    if name == "auto":
        return present[0]
    wanted = "cuda:0" if name == "cuda" else name
    if wanted in present:
        return wanted
    try:
        torch.device(wanted)
    except RuntimeError:
        raise InputError(f"{name!r} is no device.", f"Choose auto, {', '.join(present)}.") from None
    raise InputError(f"The device {name!r} is not there.", f"Choose auto, {', '.join(present)}.")


def placed(module: M, name: str) -> M:
    """Return a module on a device: a copy if it lies elsewhere, where others may be using it.

    Raises
    ------
    InputError
        As `resolve_device`.
    """
    import torch

    place = torch.device(resolve_device(name))
    if all(part.device == place for part in module.parameters()):
        return module
    return copy.deepcopy(module).to(place)


@contextlib.contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Compute on some processor threads, and on as many as before afterwards.

    The steps of a small slide are too short to share: on two busy cores a second thread made them
    six times slower, and on idle ones no faster. One thread also makes results independent of
    the number of cores.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def memory_guarded(lower: str) -> Iterator[None]:
    """Turn running out of memory into an error that says what to lower.

    Parameters
    ----------
    lower : str
        What helps, for example ``"batch size, rings of context or genes"``.
    """
    try:
        yield
    except MemoryError as error:
        raise _exhausted("the computer", lower) from error
    except RuntimeError as error:
        text = str(error)
        if "out of memory" in text.lower():
            raise _exhausted("the GPU", lower) from error
        if "can't allocate memory" in text:
            raise _exhausted("the computer", lower) from error
        raise


def _exhausted(where: str, lower: str) -> MemoryExhausted:
    return MemoryExhausted(
        f"Memory of {where} is exhausted.", f"Lower {lower}, draw a smaller ROI, or use the CPU."
    )
