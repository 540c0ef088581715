"""Several fits to the same data side by side, and the choice among them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.em.fit import fit
from latentem.em.result import Fit
from latentem.em.status import Status
from latentem.em.trace import to_frame
from latentem.errors import (
    ConvergenceWarning,
    DataError,
    DegenerateError,
    LatentemError,
    ModelError,
    require,
)
from latentem.graph import Model
from latentem.tables import render

#: What a choice may be made by; of all of them smaller is better.
CRITERIA = ("aic", "bic", "icl")
#: The numbers of a fit that are shown, with what each is.
LIKELIHOODS = {
    "log_likelihood": "log-\nlikelihood,\ntotal nats",
    "n_parameters": "free\nparameters",
    "aic": "AIC",
    "bic": "BIC",
    "icl": "ICL",
    "entropy": "entropy of\nposterior,\ntotal nats",
}
DISTORTIONS = {"distortion": "distortion J,\ntotal"}


@attrs.frozen(eq=False, repr=False, slots=False)
class Comparison:
    """Fits to the same data side by side; see `compare`. Print it, or show it with rich.

    Printing needs the extra ``cli``.

    Attributes
    ----------
    fits : dict
        The fits by name.
    criterion : {"bic", "aic", "icl"}
        What the best is chosen by.
    failed : dict
        Why there is no fit, by name.
    """

    fits: dict[Hashable, Fit]
    criterion: str = "bic"
    failed: dict[Hashable, LatentemError] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        _check_criterion(self.criterion)
        if not self.fits:
            raise ModelError("compare must be given at least one fit, got none. Fit a model.")
        for name, each in self.fits.items():
            if not isinstance(each, Fit):
                raise ModelError(
                    f"compare must be given fits by name, got {each!r} for {name!r}. "
                    "Pass {'one': fit_1, 'two': fit_2}."
                )
        sizes = {name: (each.n_rows, each.total_weight) for name, each in self.fits.items()}
        (n, weight), *others = sizes.values()
        if any(m != n or not math.isclose(w, weight, rel_tol=1e-9) for m, w in others):
            found = ", ".join(f"{name!r}: {m} and {w:g}" for name, (m, w) in sizes.items())
            raise DataError(
                "compare must be given fits to the same data, so of the same number of rows and "
                f"total weight, got {found}. Fit all models to the same rows."
            )
        if len({bool(each.model.requires_hard) for each in self.fits.values()}) > 1:
            prototypes = [name for name, each in self.fits.items() if each.model.requires_hard]
            raise ModelError(
                "compare must be given probability models only, or prototypes only, because a "
                f"distortion is no likelihood, got prototypes for {prototypes}. "
                "Compare them apart."
            )

    @property
    def has_likelihoods(self) -> bool:
        """Whether the fits are of probability models: prototypes have a distortion only."""
        return not next(iter(self.fits.values())).model.requires_hard

    @cached_property
    def numbers(self) -> dict[str, Array]:
        """The numbers of the fits, in their order, by the name that `Fit` gives them."""
        names = LIKELIHOODS if self.has_likelihoods else DISTORTIONS
        return {
            name: np.array([getattr(each, name) for each in self.fits.values()]) for name in names
        }

    @property
    def differences(self) -> Array:
        """How much larger the criterion of each fit is than that of the best, ``(fits,)``."""
        values = self._values
        return np.asarray(values - values[list(self.fits).index(self.best)])

    @property
    def best(self) -> Hashable:
        """The name of the fit whose criterion is smallest.

        One that a constraint holds (status DEGENERATE) is the best only if all are: its likelihood
        says where the constraint is.

        Raises
        ------
        ModelError
            For prototypes, whose distortion falls with every further one.
        """
        held = self._held
        values = self._values if held.all() else np.where(held, np.inf, self._values)
        return list(self.fits)[int(np.argmin(values))]

    @property
    def _held(self) -> Array:
        """Which fits a constraint holds, ``(fits,)``."""
        return np.array([each.status is Status.DEGENERATE for each in self.fits.values()])

    @property
    def _values(self) -> Array:
        if not self.has_likelihoods:
            raise ModelError(
                "The best fit must be one of probability models, got prototypes, whose distortion "
                "falls with every further one. Read to_dataframe()['distortion']."
            )
        return self.numbers[self.criterion]

    def to_dataframe(self, backend: Any = "pandas") -> Any:
        """Return a data frame: a row for each fit, and then for each that failed.

        Parameters
        ----------
        backend : str or module
            "pandas", "polars", "pyarrow", "modin" or "cudf".

        Raises
        ------
        ModelError
            If it is not one of these.
        MissingExtraError
            If it is not installed.
        """
        fits, failed = list(self.fits.values()), list(self.failed.values())
        unknown = np.full(len(failed), np.nan)
        numbers = dict(self.numbers)
        if self.has_likelihoods:
            numbers[f"{self.criterion}_difference"] = self.differences
        names = [*self.fits, *self.failed]
        columns: dict[str, Any] = {
            "name": names if len({type(name) for name in names}) == 1 else list(map(str, names)),
            "n": [fits[0].n_rows] * len(names),
            "total_weight": [fits[0].total_weight] * len(names),
        }
        columns |= {
            name: np.concatenate([values, unknown]) if failed else values
            for name, values in numbers.items()
        }
        columns["ending"] = [each.status.name.lower() for each in fits] + ["failed"] * len(failed)
        if failed:
            columns["error"] = [None] * len(fits) + [str(error) for error in failed]
        return to_frame(columns, backend)

    def tables(self) -> Iterator[Any]:
        """Yield a rich table, and what has to be said of the fits that are not in the running."""
        rich_table, rich_text = (require(f"rich.{m}", extra="cli") for m in ("table", "text"))
        first = next(iter(self.fits.values()))
        title = f"Fits to the same {first.n_rows} rows"
        if first.total_weight != first.n_rows:
            title += f" of total weight {first.total_weight:g}"
        headers = {**LIKELIHOODS, **DISTORTIONS}
        cells = {headers[name]: values.tolist() for name, values in self.numbers.items()}
        best = self.best if self.has_likelihoods else None
        if self.has_likelihoods:
            criterion = self.criterion.upper()
            title += f". Of AIC, BIC and ICL smaller is better; * has the best {criterion}."
            cells[f"{criterion} −\nthe best"] = self.differences.tolist()
        table = rich_table.Table(title=title, title_justify="left")
        for header in ("", *cells, "ending"):
            table.add_column(header, justify="right", vertical="bottom", overflow="fold")
        for (name, each), *values in zip(self.fits.items(), *cells.values(), strict=True):
            mark, style = ("*", "bold") if name == best else (" ", None)
            ending = each.status.name.lower()
            table.add_row(f"{name} {mark}", *map(_number, values), ending, style=style)
        for name in self.failed:
            table.add_row(f"{name}  ", *[""] * len(cells), "failed")
        yield table
        if best is not None and self._held.any() and not self._held.all():
            yield rich_text.Text(
                "Degenerate fits are not chosen: a constraint makes their likelihood."
            )
        for name, error in self.failed.items():
            yield rich_text.Text(f"{name}: {error}")

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        yield from self.tables()

    def __str__(self) -> str:
        return render(self.tables(), width=140)

    __repr__ = __str__


def _number(value: float) -> str:
    # Adding 0 drops the sign of what is rounded to nothing.
    return str(value) if isinstance(value, int) else f"{round(value, 2) + 0.0:.2f}"


def _check_criterion(criterion: str) -> None:
    if criterion not in CRITERIA:
        raise ModelError(
            f"criterion must be 'aic', 'bic' or 'icl', got {criterion!r}. Choose one of these."
        )


def compare(fits: Mapping[Any, Fit], *, criterion: str = "bic") -> Comparison:
    """Put fits to the same data side by side.

    Prototypes have a distortion only, and are not mixed with probability models. That the data are
    the same is up to the caller: only their number and total weight are checked.

    Parameters
    ----------
    fits : mapping of str to Fit
        The fits by name.
    criterion : {"bic", "aic", "icl"}
        What the best is chosen by: see `Fit`. Of all of them smaller is better.

    Returns
    -------
    Comparison
        Prints as a table; ``to_dataframe()`` has the numbers.

    Raises
    ------
    DataError
        If the data differ in number of rows or total weight.
    ModelError
        If prototypes stand beside probability models, or the criterion is none.

    Examples
    --------
    >>> import latentem as lem
    >>> x = lem.datasets.old_faithful().data
    >>> fits = {k: lem.fit(lem.models.gaussian_mixture(k), x, seed=0) for k in (1, 2)}
    >>> comparison = lem.compare(fits)
    >>> comparison.best
    2
    >>> comparison.differences.round(1)
    array([285.4,   0. ])
    """
    if not isinstance(fits, Mapping):
        raise ModelError(
            f"compare must be given a mapping of names to fits, got {type(fits).__name__}. "
            "Name them: {'two': fit2, 'three': fit3}."
        )
    return Comparison(dict(fits), criterion)


@attrs.frozen(eq=False, repr=False)
class Selection:
    """The fits of a family of models, and the best of them; see `select`. Prints as a table.

    Attributes
    ----------
    comparison : Comparison
    """

    comparison: Comparison

    @property
    def criterion(self) -> str:
        """What the best is chosen by."""
        return self.comparison.criterion

    @property
    def fits(self) -> dict[Any, Fit]:
        """The fits by k."""
        return dict(self.comparison.fits)

    @property
    def failed(self) -> dict[Any, LatentemError]:
        """Why there is no fit, by k."""
        return dict(self.comparison.failed)

    @property
    def best_k(self) -> Any:
        """The k of the best fit."""
        return self.comparison.best

    @property
    def best(self) -> Fit:
        """The fit whose criterion is smallest; see `Comparison.best`."""
        return self.comparison.fits[self.comparison.best]

    def to_dataframe(self, backend: Any = "pandas") -> Any:
        """Return `Comparison.to_dataframe`."""
        return self.comparison.to_dataframe(backend)

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        yield from self.comparison.tables()

    def __str__(self) -> str:
        return str(self.comparison)

    __repr__ = __str__


def select(
    model_of_k: Callable[[Any], Model],
    data: Any,
    ks: Iterable[Any],
    *,
    criterion: str = "bic",
    progress: bool = False,
    **fit_options: Any,
) -> Selection:
    """Fit a model for each k, and choose the one with the smallest criterion.

    A k without a fit, because it degenerates or has more states than there are rows, is listed with
    its error. An interrupt ends the search and keeps the fits that were done.

    Parameters
    ----------
    model_of_k : callable
        Returns the `Model` of a k.
    data : array, mapping or data frame
    ks : iterable
        The k to try, often numbers of states; anything that is hashable and tells models apart.
    criterion : {"bic", "aic", "icl"}
        See `Fit`. Of all of them smaller is better.
    progress : bool
        Show how many are done (needs the extra ``cli``).
    **fit_options
        Given to `fit`: ``seed``, ``weights``, ``restarts``, ...

    Returns
    -------
    Selection

    Raises
    ------
    DegenerateError, DataError
        If there is no k with a fit: the error of the first.
    ModelError
        If the criterion is none, or the model has no likelihood.
        If a model cannot be made: the message begins with its k.

    Warns
    -----
    ConvergenceWarning
        If it was interrupted.

    References
    ----------
    Schwarz, Estimating the dimension of a model, Annals of Statistics 6, 1978. Biernacki, Celeux
    and Govaert, Assessing a mixture model for clustering with the integrated completed likelihood,
    IEEE PAMI 22, 2000.

    Examples
    --------
    >>> import latentem as lem
    >>> x = lem.datasets.old_faithful().data
    >>> chosen = lem.select(lem.models.gaussian_mixture, x, range(1, 4), seed=0)
    >>> chosen.best_k, round(chosen.best.bic, 2)
    (2, 2322.19)
    """
    _check_criterion(criterion)
    if not callable(model_of_k):
        raise ModelError(
            f"select must be given a function from k to a Model, got {model_of_k!r}. "
            "Pass lem.models.gaussian_mixture, say."
        )
    ks = list(ks) if isinstance(ks, Iterable) else ks
    if not isinstance(ks, list) or not ks:
        raise ModelError(f"select must be given some k to try, got {ks!r}. Pass range(1, 9), say.")
    for k in ks:
        if not isinstance(k, Hashable):
            raise ModelError(
                f"select: each k must be hashable because fits are kept by it, got {k!r}. "
                "Pass a number, a name or a tuple."
            )
    fits: dict[Hashable, Fit] = {}
    failed: dict[Hashable, LatentemError] = {}
    try:
        for k in _watched(ks, progress):
            try:
                found = fit(_made(model_of_k, k), data, **fit_options)
            except (DegenerateError, DataError) as error:
                failed[k] = error
                continue
            if found.interrupted:
                raise KeyboardInterrupt
            _ = getattr(found, criterion)  # a model without one says so at the first k
            fits[k] = found
    except KeyboardInterrupt:
        if not fits:
            raise
        done = ", ".join(map(str, fits))
        message = f"Interrupted: the choice is among the fits that were done, k = {done}."
        warnings.warn(message, ConvergenceWarning, stacklevel=2)
    if failed and not fits:
        raise next(iter(failed.values()))
    return Selection(Comparison(fits, criterion, failed))


def _made(model_of_k: Callable[[Any], Model], k: Any) -> Model:
    """Return the model of a k, or raise saying which k has none."""
    try:
        return model_of_k(k)
    except ModelError as error:
        raise ModelError(f"k = {k!r}: {error}", node=error.node) from error


def _watched(ks: list[Any], progress: bool) -> Iterable[Any]:
    """Return the k to try, with a live line of how many are done if asked for and watched."""
    if not progress:
        return ks
    console = require("rich.console", extra="cli").Console(stderr=True)
    watched: Iterable[Any] = require("rich.progress", extra="cli").track(
        ks,
        "selecting",
        console=console,
        transient=True,
        disable=not (console.is_terminal or console.is_jupyter),
    )
    return watched
