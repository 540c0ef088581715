"""Logistic regression, of a binary variable or of successes among trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import attrs
import numpy as np
from scipy.special import gammaln, log_expit

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import Distribution, Inputs, parameter
from latentem.distributions.checks import check_integers, listed
from latentem.distributions.formulas import Formulas
from latentem.distributions.linear_kernel import Lines
from latentem.distributions.newton import Curve
from latentem.distributions.regressions import (
    Columns,
    Regression,
    beside_parents,
    weighted_mean,
)
from latentem.errors import ModelError, Unsuitable

#: Predictors beyond it give probabilities that are 0 to rounding.
FARTHEST = 30.0


@attrs.frozen(eq=False)
class Logistic(Regression):
    r"""Logistic regression, of a binary variable or of successes among trials.

    .. math:: {log_density}

    with n = 1 unless said otherwise. The maximiser solves

    .. math:: {update}

    by Newton's method with steps that never lower the likelihood (McCullagh and Nelder, Generalized
    Linear Models, 2nd ed., 1989, chapter 4). Where covariates separate the rows of a state the
    likelihood rises without end; the fit stops where it gains nothing but rounding, and says so.

    As the node of a latent it has two states, of which 1 has the probability
    :math:`\pi_k`.

    Parameters
    ----------
    intercept : array, (\*parents,), optional
    coefficients : array, (\*parents, p), optional
    offset : str, optional
        The covariate, a parent of the node, that is added to the predictor as it is: log-odds that
        are known.
    trials : int or str
        Number of trials, or the covariate, a parent of the node, that holds it for each row.

    Raises
    ------
    ModelError
        If only one of the parameters is given, shapes disagree, or trials are no number of them.

    Examples
    --------
    >>> import latentem as lem
    >>> u = lem.covariate("u")
    >>> y = lem.observed("y", lem.Logistic(), given=u)
    >>> data = {"u": [0, 0, 0, 1, 1, 1], "y": [0, 0, 1, 0, 1, 1]}
    >>> fit = lem.fit(lem.Model([u, y]), data)
    >>> fit.model["y"].coefficients.round(4)  # log 4, the log of the odds ratio
    array([1.3863])
    """

    formulas = Formulas(
        log_density=(
            r"\log p(y \mid u, k) = \log \binom{n}{y} + y \log \pi_k + (n - y) \log (1 - \pi_k), "
            r"\qquad "
            r"\pi_k = 1 / (1 + e^{-\eta_k}), \qquad "
            r"\eta_k = a_k + B_k u + o"
        ),
        update=(
            r"\sum_i r_{ik} (y_i - n_i \pi_{ik}) = 0, \qquad "
            r"\sum_i r_{ik} (y_i - n_i \pi_{ik}) u_i = 0"
        ),
        symbols={"a": "intercept", "B": "coefficients", "n": "trials"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"intercept": 0, "coefficients": 1}
    named: ClassVar[tuple[str, ...]] = ("offset", "trials")

    intercept: Array | None = parameter(converter=as_float_array)
    coefficients: Array | None = parameter(converter=as_float_array)
    offset: str | None = attrs.field(default=None, kw_only=True)
    trials: int | str = attrs.field(default=1, kw_only=True)
    inputs: Inputs | None = attrs.field(default=None, kw_only=True, repr=False)
    reference: Lines | None = attrs.field(default=None, kw_only=True, repr=False)
    rounding: Array | None = attrs.field(default=None, kw_only=True, repr=False)
    collinear: Array | None = attrs.field(default=None, kw_only=True, repr=False)
    separated: Array | None = attrs.field(default=None, kw_only=True, repr=False)
    # Of renumbered states: what is added to the log-odds of one is subtracted from the other's.
    swapped: bool = attrs.field(default=False, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        self.check_given()
        whole = isinstance(self.trials, int | np.integer) and not isinstance(self.trials, bool)
        if not (isinstance(self.trials, str) or (whole and int(self.trials) >= 1)):
            raise ModelError(
                "Logistic: trials must be a whole number of at least 1, or the name of a "
                f"covariate, got {self.trials!r}. Give the number of trials."
            )

    @property
    def n_states(self) -> int | None:
        """Two, if there is one trial."""
        return 2 if self.trials == 1 else None

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return {**super().state_arrays, "separated": self.separated}

    @property
    def events(self) -> tuple[str, ...]:
        if self.separated is None or not self.separated.any():
            return super().events
        separated = (
            f"the covariates separate the rows of state {listed(self.separated)}: its "
            "coefficients grow without end, and stop where the likelihood gains nothing more"
        )
        return (separated, *super().events)

    def check(self, value: Array) -> Array:
        largest = None if isinstance(self.trials, str) else int(self.trials)
        return check_integers(value, 0, largest, "Logistic")

    def _trials(self, named: Columns) -> Array | float:
        return named["trials"] if "trials" in named else float(self.trials)

    def check_rows(self, value: Array) -> None:
        """Raise `Unsuitable` where there are more successes than trials."""
        _, _, named = self.parts(value[:, :-1])
        if "trials" not in named:
            return
        n = named["trials"]
        wrong = (value[:, -1] > n) | (n != np.floor(n))
        if wrong.any():
            row = int(wrong.argmax())
            raise Unsuitable(
                f"be at most the number of trials, whole numbers in '{self.trials}'",
                f"{value[row, -1]:g} of {n[row]:g} in row {row}",
                "Correct the counts or the trials.",
            )

    def parts(self, inputs: Array) -> tuple[Array, Array, Columns]:
        u, offset, named = super().parts(inputs)
        return u, -offset if self.swapped else offset, named

    def started_from(self, other: Distribution) -> Self:
        started = super().started_from(other)
        return attrs.evolve(started, swapped=getattr(other.free, "swapped", False))

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        self.check_rows(np.asarray(value))
        return super().bind(value, weights)

    def curve(self, y: Array, named: Columns, predictor: Array) -> Curve:
        n = self._trials(named)
        log_p, log_q = log_expit(predictor), log_expit(-predictor)
        p = np.exp(log_p)
        return Curve(y * log_p + (n - y) * log_q, y - n * p, n * p * np.exp(log_q))

    def first_predictor(self, y: Array, named: Columns, offset: Array, weights: Array) -> Array:
        trials = np.broadcast_to(self._trials(named), y.shape)
        share = weighted_mean(y, weights) / np.maximum(weighted_mean(trials, weights), 1e-300)
        share = np.clip(share, 0.01, 0.99)
        return np.asarray(np.log(share / (1.0 - share)) - weighted_mean(offset, weights))

    def others(
        self, y: Array, named: Columns, predictor: Array, weights: Array
    ) -> dict[str, Array]:
        far = np.where(weights > 0, np.abs(predictor), np.inf).min(axis=0)
        return {"separated": np.isfinite(far) & (far > FARTHEST / 2)}

    def log_density(self, y: Array, named: Columns, predictor: Array) -> Array:
        n = self._trials(named)
        possible = (y >= 0) & (y <= n) & (y == np.floor(y))
        y = np.where(possible, y, 0.0)
        choose = gammaln(n + 1.0) - gammaln(y + 1.0) - gammaln(n - y + 1.0)
        log_prob = choose + y * log_expit(predictor) + (n - y) * log_expit(-predictor)
        return np.where(possible, log_prob, -np.inf)

    def permuted(self, order: Array) -> Self:
        if tuple(order) == (0, 1):
            return self
        arrays = {
            name: -value
            for name, value in self.state_arrays.items()
            if value is not None and value.dtype != bool
        }
        return attrs.evolve(self, swapped=not self.swapped, **arrays)  # type: ignore[arg-type]

    def probabilities(self, inputs: Array) -> Array:
        """Return the probability of a success given covariates, ``(n, *parents)``."""
        return np.exp(log_expit(self.predictor(inputs)))

    def expected_value(self, inputs: Array) -> Array:
        """Return the means given covariates, ``(n, *parents)``."""
        _, _, named = self.parts(inputs)
        a, _ = self.known()
        trials = beside_parents(np.broadcast_to(self._trials(named), len(inputs)), a)
        return np.asarray(trials * self.probabilities(inputs))

    def sample(self, rng: np.random.Generator, state: Array, inputs: Array) -> Array:
        """Draw a number of successes for each parent state and covariates, ``(n,)``."""
        _, _, named = self.parts(inputs)
        probs = self.probabilities(inputs)[np.arange(len(state)), state]
        return rng.binomial(np.asarray(self._trials(named)).astype(np.int64), probs)
