"""The command line: what it prints and writes, and one sentence for what a user can mend."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import matplotlib.image
import numpy as np
import pytest

import latentem as lem
from latentem.cli import main
from latentem.datasets import old_faithful
from latentem.em.loop import State
from latentem.em.progress import Progress
from latentem.em.search import Run
from latentem.io import read_csv, save

# Published: see the sources in the data sets' docstrings; maximum likelihood over many starts.
OLD_FAITHFUL_LOG_LIKELIHOOD = -1130.26396
OLD_FAITHFUL_DISTORTION = 8901.768721

RUN_MAIN = "import sys; from latentem.cli import main; sys.exit(main())"


@pytest.fixture
def old_faithful_csv(tmp_path: Path) -> Path:
    faithful = old_faithful()
    rows = [",".join(f"{entry}" for entry in row) for row in faithful.data]
    return write(tmp_path / "faithful.csv", ",".join(faithful.columns), *rows)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


Refusal = Callable[..., str]


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Run a command that must be refused: exit code 2, nothing printed, one line of reason."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("latentem: ")
        assert printed.err.count("\n") == 1
        return printed.err

    return run


# --- what it does ---------------------------------------------------------------------------------


def test_demo_prints_both_results_and_draws_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(tmp_path / "pictures")]) == 0
    printed = capsys.readouterr()
    assert "-1130.2639" in printed.out
    assert "8901.7687" in printed.out
    assert str(tmp_path / "pictures") in printed.out
    assert printed.err == ""
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert len(pictures) == 5
    for picture in pictures:
        assert picture.name in printed.out
        assert matplotlib.image.imread(picture).std() > 0.0  # not blank


def test_gmm_writes_the_fit_as_json(old_faithful_csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "fit.json"
    assert main(["fit", "gmm", "--k", "2", str(old_faithful_csv), "--out", str(out)]) == 0
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["log_likelihood"] == pytest.approx(OLD_FAITHFUL_LOG_LIKELIHOOD, abs=1e-4)
    assert record["bic"] == pytest.approx(2322.1917, abs=1e-3)
    assert record["n_parameters"] == 11
    assert record["model"] == "p(z) p(x | z)"
    assert record["status"]["name"] == "CONVERGED"
    x = record["nodes"]["x"]
    assert (x["family"], x["kind"], x["given"]) == ("Gaussian", "observed", ["z"])
    assert np.shape(x["parameters"]["covariance"]) == (2, 2, 2)
    assert record["trace"]["objective"][-1] == pytest.approx(record["objective"])
    assert set(record["trace"]["phase"]) == {"E", "M"}
    assert record["trace"]["log_likelihood"][1] is None  # not known between M and E


def test_kmeans_writes_its_distortion(old_faithful_csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "fit.json"
    assert main(["fit", "kmeans", "--k", "2", str(old_faithful_csv), "--out", str(out)]) == 0
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["distortion"] == pytest.approx(OLD_FAITHFUL_DISTORTION, abs=1e-4)
    assert "log_likelihood" not in record
    assert np.shape(record["nodes"]["x"]["parameters"]["prototypes"]) == (2, 2)


@pytest.mark.parametrize("columns", ["waiting", "waiting, eruptions"])
def test_columns_are_taken_in_the_order_given(
    columns: str, old_faithful_csv: Path, tmp_path: Path
) -> None:
    out = tmp_path / "fit.json"
    command = ["fit", "kmeans", "--k", "1", str(old_faithful_csv)]
    assert main([*command, "--columns", columns, "--out", str(out)]) == 0
    (prototype,) = json.loads(out.read_text())["nodes"]["x"]["parameters"]["prototypes"]
    assert len(prototype) == columns.count(",") + 1
    assert prototype[0] == pytest.approx(70.897059)  # R: mean(faithful$waiting)


@pytest.mark.parametrize("command", ["gmm", "kmeans"])
@pytest.mark.parametrize("columns", ["waiting", "eruptions,waiting", "a,b,c"])
def test_a_picture_is_drawn_for_any_number_of_columns(
    command: str, columns: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 5)) + 4.0 * rng.integers(2, size=(60, 1))
    lines = [",".join(map(str, row)) for row in rows]
    csv = write(tmp_path / "data.csv", "eruptions,waiting,a,b,c", *lines)
    picture = tmp_path / "out.png"
    arguments = ["--k", "2", str(csv), "--columns", columns, "--plot", str(picture)]
    assert main(["fit", command, *arguments]) == 0
    assert matplotlib.image.imread(picture).std() > 0.0


@pytest.mark.parametrize("covariance", ["full", "diagonal", "spherical"])
def test_covariance_shapes_the_mixture(
    covariance: str, old_faithful_csv: Path, tmp_path: Path
) -> None:
    out = tmp_path / "fit.json"
    arguments = ["--k", "2", str(old_faithful_csv), "--covariance", covariance, "--out", str(out)]
    assert main(["fit", "gmm", *arguments]) == 0
    n_parameters = {"full": 11, "diagonal": 9, "spherical": 7}
    assert json.loads(out.read_text())["n_parameters"] == n_parameters[covariance]


def test_same_seed_same_result(old_faithful_csv: Path, tmp_path: Path) -> None:
    written = []
    for name in ("first.json", "second.json"):
        arguments = ["--k", "3", "--seed", "7", "--out", str(tmp_path / name)]
        assert main(["fit", "gmm", str(old_faithful_csv), *arguments]) == 0
        written.append((tmp_path / name).read_text())
    assert written[0] == written[1]


def test_many_columns_are_printed_one_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"column{j}" for j in range(12)]
    rows = np.random.default_rng(0).normal(size=(40, 12))
    lines = [",".join(map(str, row)) for row in rows]
    csv = write(tmp_path / "wide.csv", ",".join(names), *lines)
    assert main(["fit", "kmeans", "--k", "2", str(csv)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert all(any(name in line for line in printed) for name in names)


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("latentem ")


# --- what it refuses ------------------------------------------------------------------------------


@pytest.fixture
def mixed_csv(tmp_path: Path) -> Path:
    return write(tmp_path / "mixed.csv", "a,species,b", "1,setosa,2", "2,setosa,", "4,x,5")


@pytest.mark.parametrize("command", ["gmm", "kmeans"])
def test_a_wrong_column_is_refused(command: str, mixed_csv: Path, refusal: Refusal) -> None:
    reason = refusal("fit", command, "--k", "2", mixed_csv, "--columns", "a,weight")
    assert "'weight'" in reason
    assert "a, species, b" in reason


@pytest.mark.parametrize("command", ["gmm", "kmeans"])
def test_a_text_column_is_refused(command: str, mixed_csv: Path, refusal: Refusal) -> None:
    reason = refusal("fit", command, "--k", "2", mixed_csv)
    assert "'species' must hold finite numbers, got 'setosa' in row 1" in reason


@pytest.mark.parametrize("command", ["gmm", "kmeans"])
def test_missing_entries_are_counted_and_marginalised(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faithful = old_faithful().data
    holed = faithful.copy()
    holed[::9, 0] = holed[4::9, 1] = np.nan
    lines = [",".join("" if np.isnan(entry) else str(entry) for entry in row) for row in holed]
    csv = write(tmp_path / "holed.csv", "e,w", *lines)
    out, picture = tmp_path / "fit.json", tmp_path / "out.png"
    arguments = ["--k", "2", str(csv), "--out", str(out), "--plot", str(picture)]
    assert main(["fit", command, *arguments]) == 0
    printed = capsys.readouterr()
    missing = np.count_nonzero(np.isnan(holed))
    assert f"missing entries {missing} of 544, in {missing} of 272 rows" in " ".join(
        printed.out.split()
    )
    record = json.loads(out.read_text())
    assign = lem.hard if command == "kmeans" else lem.soft
    model = lem.models.kmeans(2) if command == "kmeans" else lem.models.gaussian_mixture(2)
    fit = lem.fit(model, holed, assign=assign, seed=0)
    assert record["objective"] == fit.objective
    assert matplotlib.image.imread(picture).std() > 0.0


def test_nothing_is_said_of_missing_entries_where_there_are_none(
    old_faithful_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "gmm", "--k", "1", str(old_faithful_csv)]) == 0
    assert "missing" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("a,b", "1,", "2,x"), "'b' must hold finite numbers, got 'x' in row 2"),
        (("a,b", ",inf", "2,3"), "'b' must hold finite numbers, got 'inf' in row 1"),
        (("a,a", "1,", "2,3"), "'a' 2 times"),
        (("a,b", "1,", "2,"), "column 'b' must have a number in some row, got none"),
    ],
)
def test_what_else_is_wrong_is_refused_beside_missing_entries(
    lines: tuple[str, ...], reason: str, tmp_path: Path, refusal: Refusal
) -> None:
    assert reason in refusal("fit", "gmm", "--k", "1", write(tmp_path / "data.csv", *lines))


def test_the_table_says_what_stands_behind_plus_minus(
    old_faithful_csv: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "gmm", "--k", "2", str(old_faithful_csv)]) == 0
    assert "mean ± standard deviation of each component" in capsys.readouterr().out


@pytest.mark.parametrize("entry", ["inf", "True", "1e999", "1_000"])
def test_an_entry_that_is_no_finite_number_is_refused(
    entry: str, tmp_path: Path, refusal: Refusal
) -> None:
    csv = write(tmp_path / "data.csv", "a,b", f"1,{entry}", f"2,{entry}")
    assert "'b' must hold finite numbers" in refusal("fit", "gmm", "--k", "1", csv)


def test_an_empty_file_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "empty.csv").touch()
    assert "empty file" in refusal("fit", "gmm", "--k", "2", tmp_path / "empty.csv")


def test_a_file_of_a_header_alone_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    csv = write(tmp_path / "header.csv", "a,b")
    assert "must have rows after its header" in refusal("fit", "gmm", "--k", "2", csv)


def test_a_file_without_a_header_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    csv = write(tmp_path / "numbers.csv", "3.6,79", "1.8,54")
    assert "must name the columns, got 3.6, 79" in refusal("fit", "gmm", "--k", "1", csv)


def test_a_header_of_numbers_with_underscores_is_one_of_names(tmp_path: Path) -> None:
    csv = write(tmp_path / "years.csv", "2_000,2_001", "1,2", "3,5", "7,4")
    assert main(["fit", "kmeans", "--k", "1", str(csv)]) == 0


@pytest.mark.parametrize("columns", [[], ["--columns", "a"]])
@pytest.mark.parametrize(
    "lines",
    [("a;b", "1;2", "3;4"), ("a;b", "1,5;2,25", "3,5;4,0"), ("a ; b", "1 ; 2", "3 ; 4")],
)
def test_a_file_with_another_separator_is_refused_with_what_to_change(
    lines: tuple[str, ...], columns: list[str], tmp_path: Path, refusal: Refusal
) -> None:
    csv = write(tmp_path / "semicolons.csv", *lines)
    reason = refusal("fit", "gmm", "--k", "1", csv, *columns)
    assert "semicolons.csv must have its columns separated by commas" in reason
    assert "';'" in reason


@pytest.mark.parametrize("row", ["1,2,3", '1,"2'])
def test_a_broken_row_is_refused(row: str, tmp_path: Path, refusal: Refusal) -> None:
    csv = write(tmp_path / "broken.csv", "a,b", "1,2", row)
    assert "broken.csv" in refusal("fit", "gmm", "--k", "1", csv)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "picture.csv").write_bytes(bytes(range(128, 256)) * 8)
    assert "CSV file in UTF-8" in refusal("fit", "gmm", "--k", "1", tmp_path / "picture.csv")


def test_a_missing_file_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    reason = refusal("fit", "gmm", "--k", "2", tmp_path / "nowhere.csv")
    assert "nowhere.csv: No such file" in reason


@pytest.mark.parametrize("command", ["gmm", "kmeans"])
def test_more_states_than_rows_are_refused(command: str, tmp_path: Path, refusal: Refusal) -> None:
    csv = write(tmp_path / "short.csv", "a,b", "1,2", "3,5", "7,4")
    reason = refusal("fit", command, "--k", "4", csv)
    assert "4" in reason
    assert "3" in reason


@pytest.mark.parametrize("option", ["--out", "--plot"])
def test_an_output_in_no_folder_is_refused_before_the_fit(
    option: str, old_faithful_csv: Path, tmp_path: Path, refusal: Refusal
) -> None:
    place = tmp_path / "nowhere" / "out.png"
    reason = refusal("fit", "gmm", "--k", "2", old_faithful_csv, option, place)
    assert "must be in a folder that exists" in reason


@pytest.mark.parametrize("option", ["--out", "--plot"])
def test_an_output_that_is_a_folder_is_refused(
    option: str, old_faithful_csv: Path, tmp_path: Path, refusal: Refusal
) -> None:
    reason = refusal("fit", "kmeans", "--k", "2", old_faithful_csv, option, tmp_path)
    assert "must be a file, got a folder" in reason


def test_a_picture_of_an_unknown_kind_is_refused(
    old_faithful_csv: Path, tmp_path: Path, refusal: Refusal
) -> None:
    reason = refusal("fit", "gmm", "--k", "2", old_faithful_csv, "--plot", tmp_path / "out.docx")
    assert ".png" in reason


def test_a_demo_folder_that_is_a_file_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "taken").touch()
    assert "taken" in refusal("demo", "--out", tmp_path / "taken")


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_a_missing_library_is_one_sentence_that_names_the_extra(
    library: str, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    assert "latentem[cli]" in refusal("demo")


def test_a_missing_drawing_library_is_one_sentence_that_names_the_extra(
    old_faithful_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    arguments = ["--k", "2", old_faithful_csv, "--plot", tmp_path / "out.png"]
    assert "latentem[plot]" in refusal("fit", "gmm", *arguments)


def test_k_of_zero_is_refused(old_faithful_csv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "gmm", "--k", "0", str(old_faithful_csv)]) == 2
    assert "--k" in capsys.readouterr().err


# --- terminals, pipes, interruption ---------------------------------------------------------------


def test_nothing_but_the_result_goes_into_a_pipe(old_faithful_csv: Path) -> None:
    command = [sys.executable, "-c", RUN_MAIN, "fit", "gmm", "--k", "2", str(old_faithful_csv)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    assert "\x1b" not in ended.stdout
    assert "-1130.2639" in ended.stdout


def test_a_terminal_shows_progress(old_faithful_csv: Path) -> None:
    shown = run_on_terminal("fit", "gmm", "--k", "2", str(old_faithful_csv))
    assert all(word in shown for word in ("iteration", "objective", "change"))
    assert "-1130.2639" in shown


def run_on_terminal(*arguments: str) -> str:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    command = [sys.executable, "-c", RUN_MAIN, *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while part := read_terminal(ours):
            shown += part
    os.close(ours)
    assert process.returncode == 0
    return shown.decode()


def read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # how a terminal says that nobody writes to it any more
        return b""


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Press Ctrl-C at a step of the next fit; the list fills with the objectives before it."""
    seen: list[float] = []
    plain = Run.steps

    def steps(run: Run, max_iter: int, **_: bool) -> Iterator[State]:
        for state in plain(run, max_iter):
            if len(seen) == step:
                raise KeyboardInterrupt
            seen.append(state.objective)
            yield state

    monkeypatch.setattr(Run, "steps", steps)
    return seen


def test_an_interruption_keeps_the_best_so_far(
    old_faithful_csv: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupt_at(3, monkeypatch)
    out = tmp_path / "fit.json"
    assert main(["fit", "gmm", "--k", "2", str(old_faithful_csv), "--out", str(out)]) == 130
    printed = capsys.readouterr()
    assert "best fit so far" in printed.err
    record = json.loads(out.read_text())
    assert f"{record['log_likelihood']:.6f}" in printed.out
    assert record["status"]["name"] == "ITERATION_LIMIT"
    assert record["iterations"] == 3


@pytest.mark.parametrize("step", [3, 40])
def test_an_interrupted_command_prints_its_results_and_ends_with_130(
    step: int,
    tmp_path: Path,
    old_faithful_csv: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command in (
        ["fit", "kmeans", "--k", "2", str(old_faithful_csv)],
        ["demo", "--out", str(tmp_path / "pictures")],
    ):
        interrupt_at(step, monkeypatch)
        assert main(command) == 130
        printed = capsys.readouterr()
        assert "K-means, 272 rows" in printed.out
        assert "best fit so far" in printed.err


def test_an_interruption_before_the_first_step_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, old_faithful_csv: Path
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("latentem.em.search.first_theta", interrupt)
    assert main(["fit", "gmm", "--k", "2", str(old_faithful_csv)]) == 130


# --- the file -------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_finished_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = lem.fit(lem.models.kmeans(2), old_faithful().data, assign=lem.hard, seed=0)
    path = write(tmp_path / "fit.json", "the old one")

    def fail(descriptor: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="the disk is full"):
        save(fit, path)
    assert path.read_text() == "the old one\n"
    assert list(tmp_path.iterdir()) == [path]


@attrs.frozen(eq=False)
class Rayleigh(lem.Distribution):
    scale: lem.Array | None = None

    def log_prob(self, value: lem.Array) -> lem.Array:
        x = value[:, None]
        return np.log(x) - 2 * np.log(self.scale) - x**2 / (2 * self.scale**2)

    def fit(self, value: lem.Array, weights: lem.Array) -> Rayleigh:
        return Rayleigh(np.sqrt(weights.T @ value**2 / weights.sum(0) / 2))


def test_a_fit_of_a_plug_in_is_saved_without_what_it_cannot_count(tmp_path: Path) -> None:
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", Rayleigh(), given=z)])
    fit = lem.fit(model, old_faithful().data[:, 0], seed=0)
    save(fit, tmp_path / "fit.json")
    record = json.loads((tmp_path / "fit.json").read_text())
    assert record["nodes"]["x"]["family"] == "Rayleigh"
    assert record["nodes"]["x"]["parameters"]["scale"] == fit.model["x"].scale.tolist()
    assert record["log_likelihood"] == fit.log_likelihood
    assert "bic" not in record


@pytest.mark.parametrize("given", [lem.models.kmeans(2), {"x": 1}, None])
def test_what_is_no_fit_is_not_saved(given: object, tmp_path: Path) -> None:
    message = f"^save must be given a fit, got {type(given).__name__}. Pass what fit"
    with pytest.raises(lem.ModelError, match=message):
        save(given, tmp_path / "fit.json")
    assert list(tmp_path.iterdir()) == []


def test_a_saved_file_may_be_read_by_others(tmp_path: Path) -> None:
    fit = lem.fit(lem.models.kmeans(2), old_faithful().data, assign=lem.hard, seed=0)
    save(fit, tmp_path / "fit.json")
    (tmp_path / "plain").touch()
    assert (tmp_path / "fit.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_columns_of_one_name_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,a\n1,2\n3,4\n5,7\n")
    assert main(["fit", "gmm", "--k", "1", str(path)]) == 2
    assert "each column must have a name of its own, got 'a' 2 times" in capsys.readouterr().err


def test_progress_compares_a_run_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Display:
        def update(self, task: object, description: str) -> None:
            shown.append(description)

    progress = Progress(False)
    progress._display = Display()
    progress.update(0, -9.0, "start 1 of 2")
    progress.update(1, -8.0, "start 1 of 2")
    progress.update(0, -5.0, "start 2 of 2")
    progress.update(2, -7.5, "start 1 of 2")  # gone on with
    progress.update(3, -7.25, "start 1 of 2")
    assert ["change" in line for line in shown] == [False, True, False, False, True]
    assert shown[-1] == "start 1 of 2  iteration 3  objective -7.250000  change 0.25"


def test_names_in_quotes_may_have_commas(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text('"mass, kg","height, kg"\n1,2\n3,4\n5,6\n')
    assert read_csv(path).columns == ("mass, kg", "height, kg")
