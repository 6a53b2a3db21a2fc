"""Choices kept between starts."""

from __future__ import annotations

import json
from typing import Any

from qtpy.QtCore import QSettings


def _settings() -> QSettings:
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-stsr", "window")


def keep(name: str, value: Any) -> None:
    """Remember a JSON-ready value."""
    _settings().setValue(name, json.dumps(value))


def kept(name: str, default: Any) -> Any:
    """Return what was kept, if it is still of the default's type; else the default."""
    text = _settings().value(name)
    if not isinstance(text, str):
        return default
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return default
    return value if default is None or isinstance(value, type(default)) else default
