"""The trace of a fit: one row for every half-step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs
import narwhals.stable.v2 as nw
import numpy as np

from latentem.distributions.arrays import Array
from latentem.errors import ModelError, require

#: The data frames that a table can become: those that narwhals holds in memory.
BACKENDS = ("pandas", "polars", "pyarrow", "modin", "cudf")


def to_frame(columns: Mapping[str, Any], backend: Any) -> Any:
    """Return columns of equal length as a data frame; errors as in `Trace.to_dataframe`."""
    chosen = nw.Implementation.from_backend(backend)
    if chosen.value not in BACKENDS:
        raise ModelError(
            f"backend must be one of {', '.join(map(repr, BACKENDS))}, got {backend!r}. "
            "Choose one of these."
        )
    require(chosen.value, extra="pandas" if chosen.is_pandas() else None)
    return nw.from_dict(columns, backend=backend).to_native()


@attrs.frozen
class HalfStep:
    """The state of the objective after an E-step or an M-step.

    Attributes
    ----------
    iteration : int
        0 is the start.
    phase : str
        "E" or "M".
    objective : float
        F = Q + temperature * H + log p(θ), in nats (minus the distortion for prototypes).
    q : float
        Q(θ, θ_old), in nats.
    entropy : float
        Entropy of the posterior, in nats.
    log_likelihood : float or None
        log p(X | θ), known after a soft E-step.
    distortion : float or None
        J, for prototypes.
    log_prior : float or None
        log p(θ), a term of F, where parameters have a prior.
    """

    iteration: int
    phase: str
    objective: float
    q: float
    entropy: float
    log_likelihood: float | None = None
    distortion: float | None = None
    log_prior: float | None = None


@attrs.frozen(eq=False)
class Iterations:
    """The half-steps of several iterations, made where they are asked for.

    Attributes
    ----------
    first : int
    entropy : float
        Of the posterior before the first.
    values : array, (3, iterations)
        Q after the M-step, NaN where there was none, and after the E-step, and log p(X), but for a
        constant.
    constant : float
    """

    first: int
    entropy: float
    values: Array
    constant: float

    def __iter__(self) -> Iterator[HalfStep]:
        entropy = self.entropy
        columns = (self.values + self.constant).T.tolist()
        for iteration, (q_before, q, likelihood) in enumerate(columns, self.first):
            if not math.isnan(q_before):
                yield HalfStep(iteration, "M", q_before + entropy, q_before, entropy)
            entropy = likelihood - q
            yield HalfStep(iteration, "E", likelihood, q, entropy, likelihood)


@attrs.frozen(eq=False, repr=False, slots=False)
class Trace:
    """Half-steps in order. ``trace["objective"]`` is a column, iteration is over rows.

    Attributes
    ----------
    rows : tuple of HalfStep
    """

    _parts: Sequence[Iterable[HalfStep]]

    @cached_property
    def rows(self) -> tuple[HalfStep, ...]:
        """The half-steps."""
        return tuple(itertools.chain.from_iterable(self._parts))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[HalfStep]:
        return iter(self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns; ``distortion`` and ``log_prior`` only where there are some."""
        names = tuple(field.name for field in attrs.fields(HalfStep))
        optional = ("distortion", "log_prior")
        there = {o for o in optional if any(getattr(row, o) is not None for row in self.rows)}
        return tuple(name for name in names if name not in optional or name in there)

    def __getitem__(self, column: str) -> Array:
        """Return a column; unknown numbers are NaN."""
        if column not in self.columns:
            raise KeyError(f"no column {column!r}; the columns are {', '.join(self.columns)}")
        values = [getattr(row, column) for row in self.rows]
        return np.array([np.nan if value is None else value for value in values])

    def to_dataframe(self, backend: Any = "pandas") -> Any:
        """Return the trace as a data frame.

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
        return to_frame({name: self[name] for name in self.columns}, backend)

    def __repr__(self) -> str:
        if not self.rows:
            return "Trace of no half-steps"
        first, last = self.rows[0], self.rows[-1]
        ends = f"objective F {first.objective:.6f} -> {last.objective:.6f} nats (total)"
        if first.distortion is not None and last.distortion is not None:
            ends = f"distortion J {first.distortion:.6f} -> {last.distortion:.6f} (total)"
        return f"Trace of {len(self)} half-steps: {ends} in {last.iteration} iterations"
