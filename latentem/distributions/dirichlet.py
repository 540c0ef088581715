"""The Dirichlet distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import LOG_ZERO, Array, as_float_array
from latentem.distributions.base import ExponentialFamily, parameter
from latentem.distributions.checks import naming
from latentem.distributions.composition import (
    Composition,
    concentration_moves,
    limited,
    log_density,
)
from latentem.distributions.dirichlet_gaps import GappedDirichlet, fill_gaps
from latentem.distributions.formulas import Formulas
from latentem.distributions.kernels import LinearKernel
from latentem.distributions.positive import (
    PositiveParameters,
    check_limit,
)
from latentem.errors import ModelError, Unsuitable

#: How far the parts of a row may be from summing to 1.
SUM_TOLERANCE = 1e-8


@attrs.frozen(eq=False, repr=False)
class Dirichlet(PositiveParameters, ExponentialFamily):
    r"""Dirichlet distribution of proportions, rows of positive numbers that sum to 1.

    .. math:: {log_density}

    the density of the first d - 1 entries. The maximiser solves

    .. math:: {update}

    the mean being weighted by the responsibilities (Minka, Estimating a Dirichlet distribution,
    2000), as one equation for the sum of the concentrations, by Newton's method within a bracket.
    Its statistics are about the mean of the data, which keeps the digits of states close to it;
    elsewhere a sum s is found to about s machine precisions.

    Parts of a row may be missing (NaN): the others, with what they leave as one, have a Dirichlet
    distribution too, and the statistics of the missing ones are known in closed form.

    Parameters
    ----------
    concentration : array, (\*parents, d), optional
        The mean is the concentration divided by its sum.
    largest_sum : float
        Largest allowed sum of a concentration: that of a state whose rows are all equal would grow
        without bound. The fit is the exact maximiser under this constraint, and says when it is
        active.

    Raises
    ------
    ModelError
        If a concentration is not positive and finite.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> x = np.array([[0.2, 0.3, 0.5], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4]])
    >>> lem.Dirichlet().fit(x, np.ones(3)).concentration.round(3)
    array([ 6.149, 11.568, 13.91 ])
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = \log \Gamma\left( \textstyle\sum_j \alpha_{kj} \right) "
            r"- \sum_j \log \Gamma(\alpha_{kj}) + \sum_j (\alpha_{kj} - 1) \log x_j"
        ),
        statistics=r"T_j(x) = \log x_j",
        update=(
            r"\psi(\hat\alpha_{kj}) - \psi\left( \textstyle\sum_l \hat\alpha_{kl} \right) "
            r"= \overline{\log x_j}"
        ),
        symbols={r"\alpha": "concentration"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"concentration": 1}
    takes_gaps: ClassVar[bool] = True
    limit: ClassVar[str] = "the sum of the concentration is at its largest, {self.largest_sum:g}"

    concentration: Array | None = parameter(converter=as_float_array)
    largest_sum: float = attrs.field(default=1e8, kw_only=True, validator=check_limit)
    reference: Composition | None = attrs.field(default=None, kw_only=True)  # type: ignore[assignment]

    def known(self) -> tuple[Array]:
        """Return the concentration, or raise `ModelError`."""
        (alpha,) = super().known()
        if not alpha.ndim or alpha.shape[-1] < 2:
            raise ModelError(
                "Dirichlet: concentration must have a last axis of at least 2 entries, got shape "
                f"{alpha.shape}. Give one for each part."
            )
        return (alpha,)

    # -- data ----------------------------------------------------------------------------------

    @property
    def support(self) -> str:
        return "rows of at least 2 positive numbers that sum to 1"

    def supports(self, x: Array) -> Array:
        return _on_simplex(self.fill_gaps(x))

    def check(self, value: Array) -> Array:
        because = f"be {self.support} because {{node}} is Dirichlet"
        if value.ndim != 2 or value.shape[1] < 2:
            raise Unsuitable(because, f"shape {value.shape}", "Use Beta() for a single proportion.")
        if value.dtype.kind not in "fiub":
            raise Unsuitable(because, f"an array of {value.dtype}", "Convert it to numbers.")
        value = value.astype(float, copy=False)
        if self.concentration is not None and value.shape[1] != self.concentration.shape[-1]:
            d = self.concentration.shape[-1]
            raise Unsuitable(
                f"have {d} columns because {{node}} is a Dirichlet of {d} parts",
                f"shape {value.shape}",
            )
        outside = ~_on_simplex(value)
        if outside.any():
            row = int(outside.argmax())
            raise Unsuitable(
                because,
                f"{value[row].tolist()} at row {row}",
                "Divide rows by their sums; drop rows with zeros.",
            )
        return value

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        return attrs.evolve(self, reference=Composition.of(value, weights))

    def dissimilarity(self, value: Array, other: Array) -> Array:
        reference = self.reference or Composition.of(value)
        return reference.squared_distances(value, other)

    # -- exponential family --------------------------------------------------------------------

    def composition(self, d: int) -> Composition:
        """Return the centre of the data of d columns; equal parts before there are any."""
        return self.reference or Composition(np.full(d, 1 / d), 0.0)

    def statistics(self, value: Array) -> Array:
        inside = _on_simplex(value)
        composition = self.composition(value.shape[1])
        if not inside.all():
            # Rows whose gaps were filled from other rows, for a start, are brought to sum to 1.
            positive = (value > 0).all(axis=1, keepdims=True)
            value = np.where(positive, value, composition.centre)
            value = np.where(inside[:, None], value, value / value.sum(axis=1, keepdims=True))
        return composition.statistics(value)

    def log_base_measure(self, value: Array) -> Array:
        inside = _on_simplex(value)
        logs = np.log(np.where(inside[:, None], value, 1.0))
        return np.where(inside, -logs.sum(axis=1), LOG_ZERO)

    def natural_parameters(self) -> tuple[Array, Array]:
        (alpha,) = self.known()
        return self.composition(alpha.shape[-1]).natural_parameters(alpha)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        composition = self.composition(mean.shape[-1])
        alpha, at_limit = composition.maximum(mean, self.largest_sum)
        return attrs.evolve(self, concentration=alpha, at_limit=at_limit)

    def feasible(self) -> Self:
        if self.concentration is None:
            return self
        return attrs.evolve(self, concentration=limited(self.concentration, self.largest_sum))

    def directions(self) -> list[dict[str, Array]]:
        """Vary the sum of a concentration, and its entries against the largest, keeping the sum."""
        (alpha,) = self.known()
        return [{"concentration": move} for move in concentration_moves(alpha, self.at_limit)]

    def log_density(self, x: Array) -> Array:
        (alpha,) = self.known()
        return log_density(alpha, x)

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf for rows off the simplex."""
        (alpha,) = self.known()
        with naming("Dirichlet"):
            value = np.asarray(value, dtype=float)
            if value.ndim != 2 or value.shape[1] != alpha.shape[-1]:
                raise Unsuitable(f"have {alpha.shape[-1]} columns", f"shape {value.shape}")
        inside = _on_simplex(value)
        parts = np.where(inside[:, None], value, 1 / value.shape[1])
        parents = (1,) * (alpha.ndim - 1)
        density = self.log_density(parts.reshape(len(value), *parents, -1))
        return np.where(inside.reshape(-1, *parents), density, -np.inf)

    def expected_value(self) -> Array:
        """Return the means, ``(*parents, d)``."""
        (alpha,) = self.known()
        return np.asarray(alpha / alpha.sum(axis=-1, keepdims=True))

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one row for each parent state, ``(n, d)``."""
        (alpha,) = self.known()
        draws = np.maximum(rng.standard_gamma(alpha[state]), np.finfo(float).tiny)
        parts: Array = draws / draws.sum(axis=-1, keepdims=True)
        return parts

    # -- gaps ----------------------------------------------------------------------------------

    def fill_gaps(self, value: Array) -> Array:
        """Return rows with missing parts filled in such that `check` takes what is observed."""
        return fill_gaps(value) if value.ndim == 2 else value

    def gapped_kernel(self) -> GappedDirichlet:
        """Return the kernel for rows with gaps."""
        return GappedDirichlet(self, LinearKernel.of(self))

    def completed(self, value: Array, weights: Array) -> Array:
        return self.gapped_kernel().on(value).completed(weights)

    def completed_by_draws(self, value: Array, state: Array, rng: np.random.Generator) -> Array:
        return self.gapped_kernel().on(value).drawn(state, rng)


def _on_simplex(x: Array) -> Array:
    """Return which rows ``(..., d)`` are positive and sum to 1."""
    inside: Array = (x > 0).all(axis=-1) & (np.abs(x.sum(axis=-1) - 1) <= SUM_TOLERANCE)
    return inside
