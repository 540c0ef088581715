"""The commands of ``latentem``; `latentem.cli.main` runs them."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import latentem as lem
from latentem.datasets import Dataset, old_faithful
from latentem.errors import DataError, require
from latentem.io import make_folder, read_csv, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from latentem.em.assign import Assignment

app = typer.Typer(
    help="Fit latent-variable models by expectation-maximisation.",
    no_args_is_help=True,
    add_completion=False,
)
fit_commands = typer.Typer(no_args_is_help=True)
app.add_typer(fit_commands, name="fit", help="Fit a model to the columns of a CSV file.")


CsvFile = Annotated[
    Path, typer.Argument(metavar="CSV", help="A file whose first line is a header.")
]
K = Annotated[int, typer.Option("--k", min=1, help="Number of components or clusters.")]
Columns = Annotated[
    str | None, typer.Option(help="The columns to take, separated by commas.", show_default="all")
]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same result.")]
PlotFile = Annotated[Path | None, typer.Option("--plot", help="Draw the result: .png, .pdf, .svg.")]
OutFile = Annotated[Path | None, typer.Option("--out", help="Write the result as JSON.")]
Folder = Annotated[Path, typer.Option("--out", help="The folder for the pictures.")]


# --- the commands --------------------------------------------------------------------------------


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"latentem {lem.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Fit latent-variable models by expectation-maximisation."""


@app.command()
def demo(out: Folder = Path("latentem-demo"), seed: Seed = 0) -> None:
    """Fit Old Faithful with a Gaussian mixture and with K-means, and draw both."""
    from latentem import plot

    make_folder(out)
    faithful = old_faithful()
    mixture = _fit(lem.models.gaussian_mixture(2), faithful, seed)
    k_means = _fit(lem.models.kmeans(2), faithful, seed, lem.hard)
    _print_mixture(mixture, faithful)
    _print_k_means(k_means, faithful)
    pictures: dict[str, Callable[[Axes], object]] = {
        "gaussian-mixture.png": lambda ax: _draw(mixture, faithful, ax),
        "k-means.png": lambda ax: _draw(k_means, faithful, ax),
        "gaussian-mixture-trace.png": lambda ax: plot.trace(mixture, ax=ax),
        "k-means-trace.png": lambda ax: plot.trace(k_means, ax=ax),
        "graph.png": lambda ax: plot.graph(mixture.model, ax=ax),
    }
    for name, draw in pictures.items():
        _save_picture(out / name, draw)
    typer.echo(f"Pictures in {out.resolve()}: {', '.join(pictures)}")
    _end(mixture, k_means)


@app.command()
def gallery(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The problem to run; without, a list.")
    ] = None,
    out: Folder = Path("pictures"),
) -> None:
    """List the gallery of textbook problems, or run one and draw its picture."""
    from latentem.gallery import lessons, run

    if name is not None:
        typer.echo(f"Picture in {run(name, out)}")
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    for problem, lesson in lessons().items():
        table.add_row(problem, lesson)
    Console(highlight=False, markup=False).print(table)
    typer.echo("Run one with: latentem gallery NAME")


@fit_commands.command("gmm")
def fit_gmm(
    csv: CsvFile,
    k: K,
    columns: Columns = None,
    covariance: Annotated[
        str,
        typer.Option(help="full, diagonal, spherical, or three letters such as VEV."),
    ] = "full",
    seed: Seed = 0,
    plot: PlotFile = None,
    out: OutFile = None,
) -> None:
    """Fit a mixture of Gaussians."""
    results = Results(plot, out, csv)
    table = read_csv(csv, _names(columns))
    fit = _fit(lem.models.gaussian_mixture(k, covariance=covariance), table, seed)
    _print_mixture(fit, table)
    results.write(fit, table)
    _end(fit)


@fit_commands.command("kmeans")
def fit_kmeans(
    csv: CsvFile,
    k: K,
    columns: Columns = None,
    seed: Seed = 0,
    plot: PlotFile = None,
    out: OutFile = None,
) -> None:
    """Fit clusters by K-means."""
    results = Results(plot, out, csv)
    table = read_csv(csv, _names(columns))
    fit = _fit(lem.models.kmeans(k), table, seed, lem.hard)
    _print_k_means(fit, table)
    results.write(fit, table)
    _end(fit)


def _names(columns: str | None) -> list[str] | None:
    return None if columns is None else [name.strip() for name in columns.split(",")]


# --- fitting and showing --------------------------------------------------------------------------


def _fit(model: lem.Model, table: Dataset, seed: int, assign: Assignment = lem.soft) -> lem.Fit:
    """Fit, with progress on a terminal only; warnings become lines of their own."""
    on_terminal = sys.stdout.isatty() and sys.stderr.isatty()
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        try:
            fit = lem.fit(model, table.data, assign=assign, seed=seed, progress=on_terminal)
        except DataError as error:
            names = ", ".join(f"{j} {name}" for j, name in enumerate(table.columns))
            raise DataError(f"{error} (The columns are {names}.)") from error
    for note in notes:
        typer.echo(f"latentem: {note.message}", err=True)
    return fit


def _end(*fits: lem.Fit) -> None:
    """End the command as an interrupted one if a fit was interrupted: 128 + SIGINT."""
    if any(fit.interrupted for fit in fits):
        raise typer.Exit(130)


def _print_mixture(fit: lem.Fit, table: Dataset) -> None:
    """Print shares, means and standard deviations."""
    shares, gaussian = fit.model["z"].probs, fit.model["x"]
    deviations = np.sqrt(np.diagonal(gaussian.covariance, axis1=1, axis2=2))  # (k, d)
    cells = [
        [f"{share:.4f}", *(f"{m:#.5g} ± {s:#.3g}" for m, s in zip(mean, deviation, strict=True))]
        for share, mean, deviation in zip(shares, gaussian.mean, deviations, strict=True)
    ]
    title = f"Gaussian mixture, {len(table.data)} rows: mean ± standard deviation of each component"
    _print(title, ("share", *table.columns), cells, fit, table)


def _print_k_means(fit: lem.Fit, table: Dataset) -> None:
    """Print sizes and prototypes."""
    prototypes = fit.model["x"].prototypes  # (k, d)
    sizes = np.bincount(fit.predict(), minlength=len(prototypes))
    cells = [
        [str(size), *(f"{entry:#.5g}" for entry in prototype)]
        for size, prototype in zip(sizes, prototypes, strict=True)
    ]
    title = f"K-means, {len(table.data)} rows: prototypes"
    _print(title, ("rows", *table.columns), cells, fit, table)


def _print(
    title: str, header: Sequence[str], cells: list[list[str]], fit: lem.Fit, table: Dataset
) -> None:
    """Print a line for each state, or for each column where columns are many; then the numbers."""
    lines = [["state", *header], *([str(state), *line] for state, line in enumerate(cells))]
    if len(header) > max(len(cells), 6):
        lines = [list(line) for line in zip(*lines, strict=True)]
    states = Table()
    for name in lines[0]:
        states.add_column(name, justify="right")
    for line in lines[1:]:
        states.add_row(*line)
    numbers = Table(box=None, show_header=False, pad_edge=False)
    for what, value in [*_missing_entries(table), *fit.summary().numbers()]:
        numbers.add_row(what, value)
    Console(highlight=False, markup=False).print(title, states, numbers, "")


def _missing_entries(table: Dataset) -> list[tuple[str, str]]:
    """Return a line that says how many entries are missing, if there are any."""
    missing = np.isnan(table.data)
    if not missing.any():
        return []
    n_rows = np.count_nonzero(missing.any(axis=1))
    counts = f"{missing.sum()} of {missing.size}, in {n_rows} of {len(missing)} rows"
    return [("missing entries", counts)]


# --- files ---------------------------------------------------------------------------------------


class Results:
    """Where the results go, checked before any work is done."""

    def __init__(self, picture: Path | None, record: Path | None, source: Path) -> None:
        self.picture, self.record = picture, record
        seen = {source.resolve()}
        for path in filter(None, (picture, record)):
            _check_can_write(path)
            if path.resolve() in seen:
                raise DataError(f"{path} must be a file of its own, got one that is used already.")
            seen.add(path.resolve())
        if picture is not None:
            formats = sorted(_figure().canvas.get_supported_filetypes())
            if picture.suffix.lstrip(".").lower() not in formats:
                raise DataError(f"{picture}: a picture must end in one of .{', .'.join(formats)}.")

    def write(self, fit: lem.Fit, table: Dataset) -> None:
        """Write what was asked for, and say where."""
        if self.picture is not None:
            _save_picture(self.picture, lambda ax: _draw(fit, table, ax))
            typer.echo(f"Picture in {self.picture}")
        if self.record is not None:
            save(fit, self.record)
            typer.echo(f"Result in {self.record}")


def _check_can_write(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"{path} must be a file, got a folder.")
    if path.exists() and not path.is_file():
        raise DataError(f"{path} must be a regular file, got a device or the like.")
    if not path.parent.is_dir():
        raise DataError(f"{path} must be in a folder that exists. Create {path.parent} first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise DataError(f"{path} must be a file that you may write.")


def _figure() -> Figure:
    """Return a figure that needs no screen."""
    figure: Figure = require("matplotlib.figure", extra="plot").Figure(layout="constrained")
    return figure


def _save_picture(path: Path, draw: Callable[[Axes], object]) -> None:
    figure = _figure()
    draw(figure.subplots())
    figure.savefig(path, dpi=150)


def _draw(fit: lem.Fit, table: Dataset, ax: Axes) -> None:
    """Draw rows by their states, responsibilities or clusters, with the columns' names."""
    from latentem import plot

    draw = plot.clusters if fit.model.requires_hard else plot.responsibilities
    draw(fit, table.data, ax=ax)
    ax.set_xlabel(table.columns[0])
    if len(table.columns) > 1:
        ax.set_ylabel(table.columns[1])
