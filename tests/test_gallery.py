"""Run the gallery: each file asserts the figures it is about, and writes its picture."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import latentem as lem

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "models").glob("*.py"))
NAMES = [file.stem for file in FILES]


@pytest.fixture(autouse=True)
def no_screen() -> Iterator[None]:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


def load(file: Path) -> ModuleType:
    name = f"gallery_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_main_finds_its_figures_and_draws(file: Path, tmp_path: Path) -> None:
    module = load(file)
    assert isinstance(module.declare(), lem.Model)
    module.main(str(tmp_path))
    picture = tmp_path / f"{file.stem}.png"
    assert picture.stat().st_size > 5000


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_file_has_a_story_and_public_imports_only(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    story = ast.get_docstring(tree)
    assert story is not None
    assert len(story) > 200
    imported = [
        alias.name if isinstance(node, ast.Import) else f"{node.module}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    assert all(name == "latentem" or not name.startswith("latentem") for name in imported)
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "lem"
    }
    assert used
    assert all(hasattr(lem, name) and not name.startswith("_") for name in used)


def test_readme_of_the_gallery_names_every_file() -> None:
    text = (ROOT / "models" / "README.md").read_text(encoding="utf-8")
    assert [file.name for file in FILES if f"({file.name})" not in text] == []
