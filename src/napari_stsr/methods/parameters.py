"""Parameters that describe themselves: one declaration draws the form, the options and the docs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, get_type_hints

from napari_stsr.errors import InputError


@dataclass(frozen=True)
class Described:
    """Label, range and help of one parameter."""

    label: str
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] | None = None
    advanced: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest value allowed."""
        low = -math.inf if self.low is None else self.low
        return low, math.inf if self.high is None else self.high

    @property
    def advice(self) -> str:
        """What to give instead of a value out of range; empty where there is no range."""
        low, high = self.limits
        return "" if low == -math.inf and high == math.inf else f"Choose {low:g} to {high:g}."


def parameter(
    default: Any,
    label: str,
    help: str,  # noqa: A002 - the word users know
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] | None = None,
    advanced: bool = False,
) -> Any:
    """Declare a field of a `Params` class with its label, help and range or choices."""
    described = Described(label, help, low, high, choices, advanced)
    return dataclasses.field(default=default, metadata={"parameter": described})


@dataclass(frozen=True)
class Params:
    """Base of all parameter classes: values are checked when they are set."""

    def __post_init__(self) -> None:
        for name, kind, described in self.fields():
            object.__setattr__(self, name, _checked(name, getattr(self, name), kind, described))

    @classmethod
    def fields(cls) -> list[tuple[str, type, Described]]:
        """Name, type and description of every parameter, in order."""
        hints = get_type_hints(cls)
        return [(f.name, hints[f.name], f.metadata["parameter"]) for f in dataclasses.fields(cls)]

    def changed(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with some values replaced; text is converted (``"0.1"``, ``"true"``).

        Raises
        ------
        InputError
            When a name is unknown or a value is out of range.
        """
        known = [name for name, _, _ in self.fields()]
        for name in values:
            if name not in known:
                raise InputError(
                    f"There is no parameter {name!r}.", f"Parameters are: {', '.join(known)}."
                )
        return dataclasses.replace(self, **values)

    def as_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return dataclasses.asdict(self)


def _checked(name: str, value: Any, kind: type, described: Described) -> Any:
    value = _converted(name, value, kind, described)
    if described.choices is not None and value not in described.choices:
        able = ", ".join(map(str, described.choices))
        raise InputError(f"{name} cannot be {value!r}.", f"Choose one of: {able}.")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = described.limits
        if not low <= value <= high:
            raise InputError(f"{name} = {value} is out of range.", described.advice)
    return value


def _converted(name: str, value: Any, kind: type, described: Described) -> Any:
    words = _WORDS.get(kind, kind.__name__)
    wrong = InputError(f"{name} = {value!r} is not {words}.", described.advice)
    if kind is bool:
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower()
        if word in ("true", "yes", "on", "1"):
            return True
        if word in ("false", "no", "off", "0"):
            return False
        raise wrong
    if kind in (int, float):
        if isinstance(value, bool):
            raise wrong
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise wrong from None
        if math.isnan(number) or (kind is int and number != int(number)):
            raise wrong
        return kind(number)
    return kind(value)


_WORDS: dict[type, str] = {int: "a whole number", float: "a number", bool: "yes or no"}
