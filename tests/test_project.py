"""The parts that hold the project together: manifest, versions, documents."""

import doctest
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import h5py
import numpy as np
import pytest
from npe2 import PluginManifest
from scipy import sparse

import napari_stsr
from napari_stsr.methods.square import Square
from napari_stsr.slides.readers import open_slide

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|(?:src|href)=\"([^\"]+)\"")


def test_the_manifest_is_valid_and_every_command_can_be_imported():
    manifest = PluginManifest.from_file(ROOT / "src" / "napari_stsr" / "napari.yaml")
    assert manifest.name == "napari-stsr"
    assert manifest.contributions.commands
    manifest.validate_imports()


def test_the_manifest_at_the_root_is_the_one_in_the_package():
    link = ROOT / "napari.yaml"
    assert link.is_symlink()
    assert link.resolve() == ROOT / "src" / "napari_stsr" / "napari.yaml"


def test_the_changelog_knows_this_version():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == napari_stsr.__version__


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_pictures_in_documents_are_there(document):
    prose = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [first or second for first, second in _LINK.findall(prose)]
    local = [link for link in links if not re.match(r"[a-z]+:|#", link)]
    missing = [
        link for link in local if not (document.parent / unquote(link).partition("#")[0]).exists()
    ]
    assert not missing


def example(language: str) -> str:
    """First code block of a language in the README."""
    found = re.search(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_readme_and_docstring_show_the_same_five_lines():
    shown = doctest.DocTestParser().get_examples(napari_stsr.__doc__)
    lines = [line for line in example("python").splitlines() if line]
    assert len(lines) == 5
    assert [item.source.split("  #")[0].rstrip() for item in shown] == lines


def with_fewer_genes(outs: Path, folder: Path, many: int = 300) -> None:
    """Copy a Space Ranger folder with its first genes and ERBB2: a real slide, quick to learn."""
    shutil.copytree(outs / "spatial", folder / "spatial")
    name = "filtered_feature_bc_matrix.h5"
    with h5py.File(outs / name) as source, h5py.File(folder / name, "w") as target:
        old, new = source["matrix"], target.create_group("matrix")
        kept = [*range(many), *np.flatnonzero(old["features/name"][:] == b"ERBB2")]
        parts = (old["data"][:], old["indices"][:], old["indptr"][:])
        counts = sparse.csc_matrix(parts, shape=old["shape"][:])[kept]
        new["barcodes"] = old["barcodes"][:]
        for part in ("data", "indices", "indptr", "shape"):
            new[part] = np.asarray(getattr(counts, part))
        for part, values in old["features"].items():
            new[f"features/{part}"] = values[:][kept] if len(values) > len(kept) else values[:]


def test_the_five_lines_of_the_readme_run(data, tmp_path, monkeypatch):
    brief = {**Square.presets["auto"], "embedding_steps": 5, "graph_steps": 3}
    monkeypatch.setattr(Square, "presets", {**Square.presets, "auto": brief})
    with_fewer_genes(data("her2st_C2/spaceranger_like"), tmp_path / "outs")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(example("python"), "README.md", "exec"), names)
    assert names["values"].shape == (9 * len(open_slide("outs")), 1)
    assert names["values"].sum() == pytest.approx(open_slide("outs").counts.column(300).sum())
    again = napari_stsr.read_enhancement(tmp_path / "enhanced.h5ad")
    assert again.targets.kind == "subspots"
    assert np.allclose(again.expression(["ERBB2"]), names["values"])
