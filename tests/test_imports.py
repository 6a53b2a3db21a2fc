"""What an import may bring in: little at the top, no learning library behind a panel."""

import json
import pkgutil
import subprocess
import sys

import pytest

import napari_stsr.viewer

HEAVY = ("torch", "torch_geometric", "lightning_fabric", "anndata")

_PROBE = """
import importlib, json, sys
before, brought = set(sys.modules), {{}}
for name in {names!r}:
    importlib.import_module(name)
    brought[name] = sorted({{m.partition(".")[0] for m in set(sys.modules) - before}})
print(json.dumps(brought))
"""


def brought_in(names: list[str]) -> dict[str, list[str]]:
    """Top-level modules a fresh Python has loaded after each of the imports."""
    probe = _PROBE.format(names=names)
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def viewer_modules() -> list[str]:
    found = pkgutil.walk_packages(napari_stsr.viewer.__path__, "napari_stsr.viewer.")
    return ["napari_stsr.viewer", *(module.name for module in found)]


def test_the_package_itself_imports_nothing_but_the_standard_library():
    brought = brought_in(["napari_stsr"])["napari_stsr"]
    assert set(brought) - set(sys.stdlib_module_names) == {"napari_stsr"}


def test_no_viewer_module_imports_a_learning_library():
    names = viewer_modules()
    assert any(".panels." in name for name in names)
    guilty = {
        name: sorted(set(HEAVY) & set(brought)) for name, brought in brought_in(names).items()
    }
    first = next((f"{name} imports {loaded}" for name, loaded in guilty.items() if loaded), None)
    assert first is None


def test_listing_the_methods_imports_no_learning_library():
    probe = """
import sys
from napari_stsr.methods import get_method, method_names
for name in method_names():
    assert get_method(name).title
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not set(HEAVY) & set(done.stdout.split())


def test_the_command_line_starts_without_learning_libraries_and_napari():
    brought = brought_in(["napari_stsr.cli"])["napari_stsr.cli"]
    assert not {*HEAVY, "napari", "qtpy"} & set(brought)


@pytest.mark.parametrize("name", napari_stsr.__all__)
def test_every_public_name_is_there(name):
    assert getattr(napari_stsr, name) is not None
