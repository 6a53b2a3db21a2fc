"""``napari-stsr methods``: what can be run, and with which parameters."""

from __future__ import annotations

import argparse
import json
from typing import Any

from napari_stsr.methods import Described, Method, get_method, method_names


def run(options: argparse.Namespace) -> None:
    """Print the installed methods."""
    found = [get_method(name) for name in method_names()]
    if options.json:
        print(json.dumps([_summary(method) for method in found], indent=2))
        return
    for method in found:
        print(f"{method.name}: {method.title}. {method.summary}")
        print(f"  needs {', '.join(method.needs)}; gives {', '.join(method.gives)}")
        print(f"  presets {', '.join(method.presets)}; {method.paper}")


def described() -> str:
    """Return the parameters of every method, for the help of ``enhance``."""
    lines = []
    for name in method_names():
        method = get_method(name)
        lines.append(f"parameters of {name} (--set key=value):")
        for key, kind, about in method.params.fields():
            default = getattr(method.params(), key)
            lines.append(f"  {key}={default}  {kind.__name__}, {_range(about)}{about.help}")
    return "\n".join(lines)


def _range(about: Described) -> str:
    if about.choices is not None:
        return f"{' | '.join(map(str, about.choices))}; "
    if about.low is None and about.high is None:
        return ""
    ends = ["" if end is None else f"{end:g}" for end in (about.low, about.high)]
    return f"{' … '.join(ends).strip()}; "


def _summary(method: Method) -> dict[str, Any]:
    defaults = method.params().as_dict()
    return {
        "name": method.name,
        "title": method.title,
        "summary": method.summary,
        "paper": method.paper,
        "needs": list(method.needs),
        "gives": list(method.gives),
        "presets": {name: dict(values) for name, values in method.presets.items()},
        "parameters": [
            {
                "name": key,
                "type": kind.__name__,
                "default": defaults[key],
                "label": about.label,
                "help": about.help,
                "low": about.low,
                "high": about.high,
                "choices": None if about.choices is None else list(about.choices),
                "advanced": about.advanced,
            }
            for key, kind, about in method.params.fields()
        ],
    }
