"""Run the documentation: every ``python`` block of every page, a page in one namespace."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = [ROOT, ROOT / "docs", ROOT / "models", ROOT / "benchmarks"]
PAGES = [page for folder in FOLDERS for page in sorted(folder.glob("*.md"))]
PAGES_WITH_CODE = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]
FENCED_PYTHON = re.compile(r"^( *)```python[^\n]*\n(.*?)^\1```\s*?$", re.DOTALL | re.MULTILINE)
DOCTEST_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@attrs.frozen
class Block:
    """One fenced block, and the line of the page on which its code starts (from 0)."""

    code: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    for match in FENCED_PYTHON.finditer(page):
        indent, code = match.groups()
        dedented = re.sub(rf"^{indent}", "", code, flags=re.MULTILINE)
        yield Block(dedented, line=page[: match.start(2)].count("\n"))


def run(block: Block, namespace: dict[str, Any], file: str) -> None:
    """Execute a block; one with ``>>>`` prompts must also print what it shows."""
    if re.search(r"^\s*>>> ", block.code, flags=re.MULTILINE):
        example = doctest.DocTestParser().get_doctest(
            block.code, namespace, name=file, filename=file, lineno=block.line
        )
        report: list[str] = []
        runner = doctest.DocTestRunner(verbose=False, optionflags=DOCTEST_OPTIONS)
        failed, _ = runner.run(example, out=report.append, clear_globs=False)
        namespace.update(example.globs)
        if failed:
            pytest.fail("".join(report), pytrace=False)
    else:
        # The empty lines make a traceback show the line of the page.
        exec(compile("\n" * block.line + block.code, file, "exec"), namespace)


@pytest.fixture(autouse=True)
def scratch_folder_without_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Let a page write files, and draw, where nobody sees them."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    monkeypatch.chdir(tmp_path)
    yield
    pyplot.close("all")


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_runs(page: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page.read_text(encoding="utf-8")):
        run(block, namespace, str(page.relative_to(ROOT)))


def test_a_wrong_output_is_noticed() -> None:
    (block,) = blocks("Text\n\n```python\n>>> 1 + 1\n3\n```\n")
    with pytest.raises(pytest.fail.Exception, match=r"Expected:\n +3\nGot:\n +2\n"):
        run(block, {}, "page.md")


def test_an_exception_is_noticed_with_its_line() -> None:
    (block,) = blocks("Text\n\n```python\nx = 1\nx / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as caught:
        run(block, {}, "page.md")
    assert (caught.traceback[-1].lineno, str(caught.traceback[-1].path)[-7:]) == (4, "page.md")


def test_blocks_of_a_page_share_one_namespace() -> None:
    namespace: dict[str, Any] = {}
    for block in blocks("```python\nx = 1\n```\n```python\n>>> x\n1\n>>> y = x + 1\n```\n"):
        run(block, namespace, "page.md")
    assert namespace["y"] == 2


def test_links_between_pages_lead_somewhere() -> None:
    missing = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not missing
