"""``latentem gallery``: from a checkout and from an installed wheel, wrong names, interruptions."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import latentem as lem
from latentem import gallery
from latentem.cli import main
from latentem.em.loop import State
from latentem.em.search import Run

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "models").glob("*.py"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, without a network."""
    pytest.importorskip("pip")
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    run_pip("wheel", str(ROOT), "--no-build-isolation", "--wheel-dir", str(folder))
    (built,) = folder.glob("*.whl")
    return built


def run_pip(command: str, *arguments: str) -> None:
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    words = [sys.executable, "-m", "pip", command, *options, *arguments]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_the_gallery_and_its_photograph_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    wanted = {f"latentem/_gallery/{file.name}": file for file in FILES}
    wanted["latentem/_gallery/pagoda.png"] = ROOT / "models" / "pagoda.png"
    assert {name for name in held if "_gallery" in name} == set(wanted)
    assert all(held[name] == file.read_bytes() for name, file in wanted.items())
    outside = {name.split("/")[0] for name in held if not name.startswith("latentem/")}
    assert outside == {f"latentem-{lem.__version__}.dist-info"}
    assert {"latentem/py.typed", "latentem/models/mixtures.py"} <= set(held)


def test_an_installed_wheel_lists_the_gallery_and_runs_it(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    run_pip("install", "--target", str(site), "--no-compile", str(wheel))
    code = """if True:
        import sys
        import latentem.cli
        print(latentem.__file__)
        listed = latentem.cli.main(["gallery"])
        # A problem that reads the photograph:
        run = latentem.cli.main(["gallery", "image_segmentation", "--out", "drawn"])
        sys.exit(max(listed, run))
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(site), "COLUMNS": "140"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(site))
    assert all(file.stem in done.stdout for file in FILES)
    assert [drawn.name for drawn in (tmp_path / "drawn").iterdir()] == ["image_segmentation.png"]


def test_an_editable_install_reads_the_checkout(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    code = f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        (pointer,) = [name for name in archive.namelist() if "dist-info" not in name]
        assert archive.read(pointer).decode() == str(ROOT)
    assert gallery.path("coins") == ROOT / "models" / "coins.py"


def test_the_list_has_every_problem_and_its_lesson(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["gallery"]) == 0
    *listed, last = [line.strip() for line in capsys.readouterr().out.splitlines()]
    lessons = [file.read_text(encoding="utf-8").splitlines()[0].strip('"') for file in FILES]
    assert [line.split(maxsplit=1) for line in listed] == [
        [file.stem, lesson] for file, lesson in zip(FILES, lessons, strict=True)
    ]
    assert last == "Run one with: latentem gallery NAME"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("coin", "got 'coin'. Did you mean 'coins'?"),
        ("liknage", "Did you mean 'linkage'?"),
        ("faithful", "Did you mean 'em_old_faithful' or 'kmeans_old_faithful'?"),
        ("Seven", "Did you mean 'carcinoma'?"),  # a word of its lesson
        ("xyzzy", "got 'xyzzy'. 'latentem gallery' lists them."),
        ("", "got ''. 'latentem gallery' lists them."),
        ("../coins", "Did you mean 'coins'?"),
        ("models/linkage.py", "Did you mean 'linkage'?"),
        ("COINS.PY", "Did you mean 'coins'?"),
        ("blood groups", "Did you mean 'blood_groups'?"),
        ("..", "got '..'. 'latentem gallery' lists them."),
    ],
)
def test_a_wrong_name_is_refused_with_those_that_are_near(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gallery", name, "--out", str(tmp_path / "new")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("latentem: gallery: name must be one of its ")
    assert printed.err.endswith(f"{words}\n")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", [None, 3, Path("coins")])
def test_a_name_that_is_no_string_is_refused(name: Any) -> None:
    with pytest.raises(lem.DataError, match=r"^gallery: name must be one of its \d+ problems, got"):
        gallery.path(name)


@pytest.mark.parametrize("command", [["gallery", "coins"], ["demo"]])
def test_a_folder_that_is_a_file_is_refused_before_the_fit(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    wanted = {
        taken: f"latentem: {taken} must be a folder, got a file. Name another.\n",
        taken / "new": f"latentem: {taken / 'new'} must be a folder, got a file in its path: "
        f"{taken}. Name another.\n",
    }
    for folder, sentence in wanted.items():
        assert main([*command, "--out", str(folder)]) == 2
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("", sentence)


def test_a_folder_that_may_not_be_written_is_refused_before_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Who runs the tests may write anywhere.
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)
    assert main(["gallery", "coins", "--out", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"latentem: {tmp_path} must be a folder that you may write")


def test_a_picture_that_cannot_be_written_is_refused_before_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "coins.png"
    picture.mkdir()
    assert main(["gallery", "coins", "--out", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"latentem: {picture} must be a file, got a folder. Take ")


def test_the_folder_may_have_spaces_and_letters_of_any_alphabet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new one" / "Ω ü"
    for _ in range(2):  # an old picture is replaced
        assert main(["gallery", "coins", "--out", str(folder)]) == 0
        assert capsys.readouterr().out.endswith(f"Picture in {folder / 'coins.png'}\n")
    assert [drawn.name for drawn in folder.iterdir()] == ["coins.png"]


def test_a_missing_drawing_library_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["gallery", "coins", "--out", str(tmp_path)]) == 2
    assert "latentem[plot]" in capsys.readouterr().err


def test_a_package_without_its_gallery_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "__file__", str(tmp_path / "latentem" / "gallery.py"))
    with pytest.raises(lem.DataError, match=r"must be in .+_gallery, got none\. Install latentem"):
        gallery.lessons()


def test_an_interruption_while_libraries_are_imported_has_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("latentem.cli.require", interrupt)
    assert main(["gallery"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("step", [0, 30])
def test_an_interruption_ends_the_run_with_130_and_no_traceback(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen, plain = [], Run.steps

    def steps(run: Run, max_iter: int, **_: bool) -> Iterator[State]:
        for state in plain(run, max_iter):
            seen.append(state)
            if len(seen) == step + 1:
                raise KeyboardInterrupt
            yield state

    monkeypatch.setattr(Run, "steps", steps)
    assert main(["gallery", "coins", "--out", str(tmp_path)]) == 130
    assert len(seen) == step + 1  # no further fit was begun
    assert "Traceback" not in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
