"""Regressions with a linear predictor: what they share, and those of counts and positive values."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import ClassVar, Self

import attrs
import numpy as np
from scipy.special import gammaln, log_expit

from latentem.distributions.arrays import Array, as_float_array, change_at
from latentem.distributions.base import Distribution, Inputs, parameter
from latentem.distributions.checks import check_column, check_integers, naming
from latentem.distributions.formulas import Formulas
from latentem.distributions.gamma import shape_of_excess
from latentem.distributions.linear_kernel import Lines
from latentem.distributions.newton import Curve, maximise_predictors
from latentem.distributions.positive import check_limit
from latentem.distributions.special import log_minus_digamma, stirling
from latentem.errors import ModelError, Unsuitable

#: Predictors beyond it give probabilities, or rates, that are 0 to rounding.
FARTHEST = 30.0


class Regression(Distribution):
    r"""A family with a linear predictor for each state, eta_k = a_k + B_k u, plus an offset.

    A subclass says how the log-likelihood of a row depends on its predictor (`curve`), where to
    start, and its density, mean and draws at given predictors.
    """

    __slots__ = ()
    takes_covariates: ClassVar[bool] = True
    #: Options that name a covariate which is not in the predictor with a coefficient.
    named: ClassVar[tuple[str, ...]] = ()

    intercept: Array | None
    coefficients: Array | None
    inputs: Inputs | None
    reference: Lines | None
    rounding: Array | None

    # -- what a subclass says ------------------------------------------------------------------

    @abc.abstractmethod
    def curve(self, y: Array, extra: Array | None, predictor: Array) -> Curve:
        """Return the log-likelihoods of y ``(n,)`` at predictors ``(n, K)``, but for constants.

        ``extra`` ``(n,)`` is the column that an option names, offset or trials.
        """

    @abc.abstractmethod
    def first_predictor(self, y: Array, extra: Array | None, weights: Array) -> Array:
        """Return a constant predictor to start from, ``(K,)``."""

    @abc.abstractmethod
    def log_density(self, y: Array, extra: Array | None, predictor: Array) -> Array:
        """Return log p(y) at predictors ``(n, *parents)``; y and extra are ``(n, *ones)``."""

    # -- parameters ----------------------------------------------------------------------------

    def check_given(self) -> None:
        """Raise `ModelError` unless what a user gave belongs together."""
        for option in self.named:
            name = getattr(self, option)
            if not (name is None or isinstance(name, str | int | np.integer)) or (
                option == "offset" and not isinstance(name, str | None)
            ):
                raise ModelError(
                    f"{type(self).__name__}: {option} must be the name of a covariate among the "
                    f"parents of its node, got {name!r}. Give its name."
                )
        given = {name: value for name, value in self.parameters.items() if value is not None}
        if not given:
            return
        name = type(self).__name__
        if len(given) < len(self.parameters):
            raise ModelError(
                f"{name}: {' and '.join(self.parameters)} must be given all or none, "
                f"got only {list(given)}. Give all, or none to fit them."
            )
        a, b = given["intercept"], given["coefficients"]
        if b.shape[:-1] != a.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise ModelError(
                f"{name}: coefficients must be finite, a row of them for each intercept, got "
                f"shapes {a.shape} and {b.shape}. Give coefficients (*parents, p)."
            )

    def known(self) -> tuple[Array, Array]:
        """Return intercept and coefficients, or raise `ModelError`."""
        if self.intercept is None or self.coefficients is None:
            raise ModelError(
                f"{type(self).__name__} must have its parameters to be evaluated or sampled, "
                "got a template. Fit it."
            )
        return self.intercept, self.coefficients

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return {**self.parameters, "rounding": self.rounding}

    @property
    def n_parameters(self) -> int:
        """Intercepts and coefficients."""
        a, b = self.known()
        return a.size + b.size

    # -- data ----------------------------------------------------------------------------------

    def with_inputs(self, inputs: Inputs) -> Self:
        for option in self.named:
            name = getattr(self, option)
            if not isinstance(name, str):
                continue
            if name not in inputs.names:
                raise Unsuitable(
                    f"be '{name}' because {type(self).__name__} has {option}={name!r}",
                    f"only {list(inputs.names)}",
                    f"Add covariate({name!r}) to its parents.",
                )
            columns = inputs.columns(name)
            if columns.stop - columns.start != 1:
                raise Unsuitable(
                    f"have one column '{name}'", f"{columns.stop - columns.start} of them"
                )
        made = self if self.inputs == inputs else attrs.evolve(self, inputs=inputs)  # type: ignore[misc]
        width = inputs.width - (made._named_column() is not None)
        if self.coefficients is not None and self.coefficients.shape[-1] != width:
            p = self.coefficients.shape[-1]
            raise Unsuitable(f"have {p} columns because there are {p} coefficients", f"{width}")
        return made

    def _named_column(self) -> int | None:
        """Return the column of the covariates that an option names."""
        for option in self.named:
            name = getattr(self, option)
            if isinstance(name, str) and self.inputs is not None:
                return int(self.inputs.columns(name).start)
        return None

    def split(self, inputs: Array) -> tuple[Array, Array | None]:
        """Return the covariates that have coefficients, ``(n, p)``, and the column named."""
        column = self._named_column()
        if column is None:
            for option in self.named:
                if isinstance(getattr(self, option), str):
                    raise ModelError(
                        f"{type(self).__name__}: {option}={getattr(self, option)!r} must be a "
                        "covariate of its node because it is a column among others, got a "
                        "distribution by itself. Use it in a model."
                    )
            return inputs, None
        return np.delete(inputs, column, axis=1), inputs[:, column]

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        u, _ = self.split(np.asarray(value)[:, :-1])
        return attrs.evolve(self, reference=Lines.of_predictors(u, weights))  # type: ignore[misc]

    # -- the predictor -------------------------------------------------------------------------

    def _lines(self, width: int) -> Lines:
        return self.reference or Lines.at_origin(width + 1, width)

    def _standard(self, width: int) -> tuple[Array, Array]:
        """Return intercepts and coefficients about the centre of the covariates."""
        a, b = self.known()
        rounding = np.zeros_like(a) if self.rounding is None else self.rounding
        a, b = self._lines(width).standardise_lines(
            a[..., None], b[..., None, :], rounding[..., None]
        )
        return a[..., 0], b[..., 0, :]

    def predictor(self, u: Array, offset: Array | float = 0.0) -> Array:
        """Return a + B u + offset, ``(n, *parents)``, of covariates ``(n, p)``."""
        a, b = self._standard(u.shape[1])
        lines, p = self._lines(u.shape[1]), u.shape[1]
        z = (u - lines.centre[:p]) / lines.scale[:p]
        plain = np.reshape(offset, (-1, *(1,) * a.ndim)) if np.ndim(offset) else offset
        return np.asarray(a + np.tensordot(z, b, axes=([1], [-1])) + plain)

    def log_prob(self, value: Array) -> Array:
        """Return log p(y | u, parents), ``(n, *parents)``, of rows (u, y)."""
        a, b = self.known()
        value = np.asarray(value, dtype=float)
        wanted = b.shape[-1] + (self._named_column() is not None) + 1
        if value.ndim != 2 or value.shape[1] != wanted:
            with naming(type(self).__name__):
                raise Unsuitable(f"have {wanted} columns, the last for y", f"shape {value.shape}")
        u, named = self.split(value[:, :-1])
        shape = (-1, *(1,) * a.ndim)
        y = value[:, -1].reshape(shape)
        column = None if named is None else named.reshape(shape)
        predictor = self.predictor(u)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self.log_density(y, column, predictor)

    def fit(self, value: Array, weights: Array) -> Self:
        value = np.asarray(value, dtype=float)
        shape = weights.shape[1:]
        flat = weights.reshape(len(weights), -1)
        bound = self if self.reference is not None else self.bind(value)
        u, column = self.split(value[:, :-1])
        y, lines, p = value[:, -1], bound._lines(u.shape[1]), u.shape[1]
        design = np.column_stack([np.ones(len(u)), (u - lines.centre[:p]) / lines.scale[:p]])
        if bound.is_parameterised:
            a, b = bound.flatten(shape)._standard(p)
            start = np.concatenate([a[:, None], b], axis=1)
        else:
            start = np.zeros((flat.shape[1], 1 + p))
            start[:, 0] = self.first_predictor(y, column, flat)
        beta = maximise_predictors(
            lambda eta: self.curve(y[:, None], None if column is None else column[:, None], eta),
            design, flat, start,
        )  # fmt: skip
        a, rounding, b = lines.lines(beta[:, :1], beta[:, None, 1:])
        new = attrs.evolve(  # type: ignore[misc]
            bound.flatten(shape) if bound.is_parameterised else bound,
            intercept=a[:, 0],
            coefficients=b[:, 0],
            rounding=rounding[:, 0],
            **self.others(y, design @ beta.T, column, flat),
        )
        return new.unflatten(shape)

    def others(
        self, y: Array, predictor: Array, extra: Array | None, weights: Array
    ) -> dict[str, Array]:
        """Return the maximisers of further parameters, by name, at the fitted predictors."""
        return {}

    def directions(self) -> list[dict[str, Array]]:
        """Vary intercepts, and slopes about the centre of the covariates by their spread."""
        a, b = self.known()
        p = b.shape[-1]
        lines = self._lines(p)
        found = []
        for state in np.ndindex(a.shape):
            found.append({"intercept": change_at(a.shape, state, 1.0)})
            for j in range(p):
                slope = np.zeros(p)
                slope[j] = 1.0 / lines.scale[j]
                shift = change_at(a.shape, state, -lines.centre[j] * slope[j])
                found.append({"intercept": shift, "coefficients": change_at(b.shape, state, slope)})
        return found


def _poisson(y: Array, eta: Array, rate: Array) -> Array:
    """Return y eta - rate, less its maximum y log y - y: large counts lose no digits."""
    positive = np.where(y > 0, y, 1.0)
    near = np.abs(rate / positive - 1.0) < 0.5
    ratio = np.where(near, rate / positive, 1.0)
    close = positive * (np.log1p(ratio - 1.0) - (ratio - 1.0))
    far = positive * (eta - np.log(positive) + 1.0) - rate
    return np.where(y > 0, np.where(near, close, far), -rate)


def _offset(column: Array | None) -> Array | float:
    return 0.0 if column is None else column


def _column(extra: Array | None) -> Array | float:
    return 0.0 if extra is None else extra[:, None]


def _excess_of_log(t: Array) -> Array:
    """Return e^t - 1 - t, which is never negative."""
    with np.errstate(over="ignore"):
        return np.expm1(t) - t


def _weighted_mean(y: Array, weights: Array) -> Array:
    total = weights.sum(axis=0)
    return np.asarray(y @ weights / np.where(total > 0, total, 1.0))


def _states(mask: Array) -> str:
    return ", ".join(map(str, np.flatnonzero(mask)))


@attrs.frozen(eq=False)
class PoissonRegression(Regression):
    r"""Poisson regression with a logarithmic link.

    .. math:: {log_density}

    The maximiser solves

    .. math:: {update}

    by Newton's method with steps that never lower the likelihood (McCullagh and Nelder, Generalized
    Linear Models, 2nd ed., 1989, chapter 6).

    Parameters
    ----------
    intercept : array, (\*parents,), optional
    coefficients : array, (\*parents, p), optional
    offset : str, optional
        The covariate, a parent of the node, that is added to the predictor as it is: the logarithm
        of an exposure.

    Raises
    ------
    ModelError
        If only one of the parameters is given, or shapes disagree.

    Examples
    --------
    >>> import latentem as lem
    >>> u = lem.covariate("u")
    >>> y = lem.observed("y", lem.PoissonRegression(), given=u)
    >>> fit = lem.fit(lem.Model([u, y]), {"u": [0, 1, 2, 3], "y": [1, 2, 4, 8]})
    >>> fit.model["y"].coefficients.round(4)  # log 2
    array([0.6931])
    """

    formulas = Formulas(
        log_density=(
            r"\log p(y \mid u, k) = y \eta_k - e^{\eta_k} - \log y!, \qquad "
            r"\eta_k = a_k + B_k u + o"
        ),
        update=(
            r"\sum_i r_{ik} (y_i - e^{\eta_{ik}}) = 0, \qquad "
            r"\sum_i r_{ik} (y_i - e^{\eta_{ik}}) u_i = 0"
        ),
        symbols={"a": "intercept", "B": "coefficients"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"intercept": 0, "coefficients": 1}
    named: ClassVar[tuple[str, ...]] = ("offset",)

    intercept: Array | None = parameter(converter=as_float_array)
    coefficients: Array | None = parameter(converter=as_float_array)
    offset: str | None = attrs.field(default=None, kw_only=True)
    inputs: Inputs | None = attrs.field(default=None, kw_only=True, repr=False)
    reference: Lines | None = attrs.field(default=None, kw_only=True, repr=False)
    rounding: Array | None = attrs.field(default=None, kw_only=True, repr=False)
    empty: Array | None = attrs.field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        self.check_given()

    def check(self, value: Array) -> Array:
        return check_integers(value, 0, None, "PoissonRegression")

    @property
    def events(self) -> tuple[str, ...]:
        if self.empty is None or not self.empty.any():
            return ()
        return (f"all counts of state {_states(self.empty)} are 0: its rate tends to 0",)

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return {**super().state_arrays, "empty": self.empty}

    def others(
        self, y: Array, predictor: Array, extra: Array | None, weights: Array
    ) -> dict[str, Array]:
        return {
            "empty": (weights.sum(axis=0) > 0) & ~((weights > 0) & (y[:, None] > 0)).any(axis=0)
        }

    def curve(self, y: Array, extra: Array | None, predictor: Array) -> Curve:
        eta = predictor + _offset(extra)
        rate = np.exp(eta)
        return Curve(_poisson(y, eta, rate), y - rate, rate)

    def first_predictor(self, y: Array, extra: Array | None, weights: Array) -> Array:
        exposure = np.ones(len(y)) if extra is None else np.exp(extra - extra.max())
        shift = 0.0 if extra is None else extra.max()
        mean = _weighted_mean(y, weights) / _weighted_mean(exposure, weights)
        return np.asarray(np.log(np.maximum(mean, 1e-3 * max(y.mean(), 1e-3))) - shift)

    def log_density(self, y: Array, extra: Array | None, predictor: Array) -> Array:
        eta = predictor + _offset(extra)
        possible = (y >= 0) & (y == np.floor(y))
        y = np.where(possible, y, 0.0)
        positive = np.where(y > 0, y, 1.0)
        base = np.where(y > 0, stirling(positive) - np.log(positive), 0.0)
        return np.where(possible, _poisson(y, eta, np.exp(eta)) + base, -np.inf)

    def expected_value(self, inputs: Array) -> Array:
        """Return the means given covariates, ``(n, *parents)``."""
        u, offset = self.split(inputs)
        with np.errstate(over="ignore"):
            return np.exp(self.predictor(u, _offset(offset)))

    def sample(self, rng: np.random.Generator, state: Array, inputs: Array) -> Array:
        """Draw a count for each parent state and covariates, ``(n,)``."""
        rate = self.expected_value(inputs)[np.arange(len(state)), state]
        return rng.poisson(np.minimum(rate, 1e18))


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
            r"\eta_k = a_k + B_k u"
        ),
        update=(
            r"\sum_i r_{ik} (y_i - n_i \pi_{ik}) = 0, \qquad "
            r"\sum_i r_{ik} (y_i - n_i \pi_{ik}) u_i = 0"
        ),
        symbols={"a": "intercept", "B": "coefficients", "n": "trials"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"intercept": 0, "coefficients": 1}
    named: ClassVar[tuple[str, ...]] = ("trials",)

    intercept: Array | None = parameter(converter=as_float_array)
    coefficients: Array | None = parameter(converter=as_float_array)
    trials: int | str = attrs.field(default=1, kw_only=True)
    inputs: Inputs | None = attrs.field(default=None, kw_only=True, repr=False)
    reference: Lines | None = attrs.field(default=None, kw_only=True, repr=False)
    rounding: Array | None = attrs.field(default=None, kw_only=True, repr=False)
    separated: Array | None = attrs.field(default=None, kw_only=True, repr=False)

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
            return ()
        return (
            f"the covariates separate the rows of state {_states(self.separated)}: its "
            "coefficients grow without end, and stop where the likelihood gains nothing more",
        )

    def check(self, value: Array) -> Array:
        largest = self.trials if isinstance(self.trials, int) else None
        return check_integers(value, 0, largest, "Logistic")

    def _trials(self, extra: Array | None) -> Array | float:
        return float(self.trials) if extra is None else extra

    def check_rows(self, value: Array) -> None:
        """Raise `Unsuitable` where there are more successes than trials."""
        _, extra = self.split(value[:, :-1])
        if extra is None:
            return
        wrong = (value[:, -1] > extra) | (extra != np.floor(extra))
        if wrong.any():
            row = int(wrong.argmax())
            raise Unsuitable(
                f"be at most the number of trials, whole numbers in '{self.trials}'",
                f"{value[row, -1]:g} of {extra[row]:g} in row {row}",
                "Correct the counts or the trials.",
            )

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        self.check_rows(np.asarray(value))
        return super().bind(value, weights)

    def curve(self, y: Array, extra: Array | None, predictor: Array) -> Curve:
        n = self._trials(extra)
        log_p, log_q = log_expit(predictor), log_expit(-predictor)
        p = np.exp(log_p)
        return Curve(y * log_p + (n - y) * log_q, y - n * p, n * p * np.exp(log_q))

    def first_predictor(self, y: Array, extra: Array | None, weights: Array) -> Array:
        trials = np.full(len(y), float(self.trials)) if extra is None else extra
        share = _weighted_mean(y, weights) / np.maximum(_weighted_mean(trials, weights), 1e-300)
        share = np.clip(share, 0.01, 0.99)
        return np.asarray(np.log(share / (1.0 - share)))

    def others(
        self, y: Array, predictor: Array, extra: Array | None, weights: Array
    ) -> dict[str, Array]:
        far = np.where(weights > 0, np.abs(predictor), np.inf).min(axis=0)
        return {"separated": np.isfinite(far) & (far > FARTHEST / 2)}

    def log_density(self, y: Array, extra: Array | None, predictor: Array) -> Array:
        n = self._trials(extra)
        possible = (y >= 0) & (y <= n) & (y == np.floor(y))
        y = np.where(possible, y, 0.0)
        choose = gammaln(n + 1.0) - gammaln(y + 1.0) - gammaln(n - y + 1.0)
        log_prob = choose + y * log_expit(predictor) + (n - y) * log_expit(-predictor)
        return np.where(possible, log_prob, -np.inf)

    def permuted(self, order: Array) -> Self:
        if tuple(order) == (0, 1):
            return self
        arrays = {
            name: None if value is None else -value
            for name, value in self.state_arrays.items()
            if name != "separated"
        }
        return attrs.evolve(self, **arrays)  # type: ignore[arg-type]

    def probabilities(self, inputs: Array) -> Array:
        """Return the probability of a success given covariates, ``(n, *parents)``."""
        u, _ = self.split(inputs)
        return np.exp(log_expit(self.predictor(u)))

    def expected_value(self, inputs: Array) -> Array:
        """Return the means given covariates, ``(n, *parents)``."""
        _, extra = self.split(inputs)
        probs = self.probabilities(inputs)
        return np.asarray(probs * np.reshape(self._trials(extra), (-1, *(1,) * (probs.ndim - 1))))

    def sample(self, rng: np.random.Generator, state: Array, inputs: Array) -> Array:
        """Draw a number of successes for each parent state and covariates, ``(n,)``."""
        _, extra = self.split(inputs)
        probs = self.probabilities(inputs)[np.arange(len(state)), state]
        trials = int(self.trials) if extra is None else extra.astype(np.int64)
        return rng.binomial(trials, probs)


@attrs.frozen(eq=False)
class GammaRegression(Regression):
    r"""Regression of a positive variable: Gamma with a logarithmic link for the mean.

    .. math:: {log_density}

    The coefficients solve the first two equations, whatever the shape; the shape then solves the
    third,

    .. math:: {update}

    (McCullagh and Nelder, Generalized Linear Models, 2nd ed., 1989, section 8.3).

    Parameters
    ----------
    intercept : array, (\*parents,), optional
    coefficients : array, (\*parents, p), optional
    shape : array, (\*parents,), optional
        The coefficient of variation is one over its square root.
    offset : str, optional
        The covariate, a parent of the node, that is added to the predictor as it is.
    largest_shape : float
        Largest allowed shape: that of a state whose rows lie on a curve would grow without bound.
        The fit is the exact maximiser under this constraint, and says when it is active.

    Raises
    ------
    ModelError
        If not all of the parameters are given, shapes disagree, or a shape is not positive.

    Examples
    --------
    >>> import latentem as lem
    >>> u = lem.covariate("u")
    >>> y = lem.observed("y", lem.GammaRegression(), given=u)
    >>> fit = lem.fit(lem.Model([u, y]), {"u": [0, 0, 1, 1], "y": [1.0, 3.0, 2.0, 6.0]})
    >>> fit.model["y"].coefficients.round(4)  # log 2
    array([0.6931])
    """

    formulas = Formulas(
        log_density=(
            r"\log p(y \mid u, k) = \nu_k \log (\nu_k / \mu_k) - \log \Gamma(\nu_k) "
            r"+ (\nu_k - 1) \log y - \nu_k y / \mu_k, \qquad "
            r"\mu_k = e^{a_k + B_k u + o}"
        ),
        update=(
            r"\sum_i r_{ik} (y_i / \mu_{ik} - 1) = 0, \qquad "
            r"\sum_i r_{ik} (y_i / \mu_{ik} - 1) u_i = 0, \qquad "
            r"\log \hat\nu_k - \psi(\hat\nu_k) = \overline{y / \mu_k - 1 - \log (y / \mu_k)}"
        ),
        symbols={"a": "intercept", "B": "coefficients", r"\nu": "shape"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"intercept": 0, "coefficients": 1, "shape": 0}
    named: ClassVar[tuple[str, ...]] = ("offset",)

    intercept: Array | None = parameter(converter=as_float_array)
    coefficients: Array | None = parameter(converter=as_float_array)
    shape: Array | None = parameter(converter=as_float_array)
    offset: str | None = attrs.field(default=None, kw_only=True)
    largest_shape: float = attrs.field(default=1e8, kw_only=True, validator=check_limit)
    inputs: Inputs | None = attrs.field(default=None, kw_only=True, repr=False)
    reference: Lines | None = attrs.field(default=None, kw_only=True, repr=False)
    rounding: Array | None = attrs.field(default=None, kw_only=True, repr=False)
    at_limit: Array | None = attrs.field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        self.check_given()
        if self.shape is not None and not np.all((self.shape > 0) & np.isfinite(self.shape)):
            raise ModelError(
                f"GammaRegression: shape must be positive and finite, got {self.shape}. "
                "Give positive shapes."
            )

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return {**super().state_arrays, "at_limit": self.at_limit}

    @property
    def n_parameters(self) -> int:
        """Intercepts, coefficients and shapes."""
        a, b = self.known()
        return 2 * a.size + b.size

    @property
    def at_constraint(self) -> bool:
        return self.at_limit is not None and bool(self.at_limit.any())

    @property
    def events(self) -> tuple[str, ...]:
        if not self.at_constraint:
            return ()
        assert self.at_limit is not None
        return (f"the shape of state {_states(self.at_limit)} is at its largest, "
                f"{self.largest_shape:g}",)  # fmt: skip

    def check(self, value: Array) -> Array:
        column = check_column(value, "GammaRegression").astype(float)
        if not (column > 0).all():
            row = int((~(column > 0)).argmax())
            raise Unsuitable("be positive because {node} is GammaRegression",
                             f"{column[row]:g} at row {row}", "Drop or correct it.")  # fmt: skip
        return column

    def curve(self, y: Array, extra: Array | None, predictor: Array) -> Curve:
        eta = predictor + _offset(extra)
        ratio = y * np.exp(-eta)
        return Curve(-ratio - eta, ratio - 1.0, ratio)

    def first_predictor(self, y: Array, extra: Array | None, weights: Array) -> Array:
        logs = np.log(y) if extra is None else np.log(y) - extra
        # The largest keeps exp(-eta) y, of which Newton's steps are made, in range.
        largest = np.where(weights > 0, logs[:, None], -np.inf).max(axis=0)
        mean = np.where(np.isfinite(largest), largest, 0.0)
        return np.asarray(mean + np.log(_weighted_mean_exp(logs, mean, weights)))

    def others(
        self, y: Array, predictor: Array, extra: Array | None, weights: Array
    ) -> dict[str, Array]:
        total = weights.sum(axis=0)
        surplus = _excess_of_log(np.log(y)[:, None] - predictor - _column(extra))
        surplus = np.where(weights > 0, surplus, 0.0)
        spread = (weights * surplus).sum(axis=0) / np.where(total > 0, total, 1.0)
        smallest = log_minus_digamma(np.asarray(self.largest_shape))
        shape = shape_of_excess(np.maximum(spread, smallest))
        at_limit = (spread < smallest) & (total > 0)
        return {"shape": np.minimum(shape, self.largest_shape), "at_limit": at_limit}

    def feasible(self) -> Self:
        if self.shape is None:
            return self
        return attrs.evolve(self, shape=np.minimum(self.shape, self.largest_shape))

    def log_density(self, y: Array, extra: Array | None, predictor: Array) -> Array:
        assert self.shape is not None
        possible = (y > 0) & np.isfinite(y)
        y = np.where(possible, y, 1.0)
        surplus = _excess_of_log(np.log(y) - predictor - _offset(extra))
        return np.where(possible, stirling(self.shape) - self.shape * surplus - np.log(y), -np.inf)

    def directions(self) -> list[dict[str, Array]]:
        """Vary the predictor, and the shapes that are free."""
        assert self.shape is not None
        held = np.zeros(self.shape.shape, bool) if self.at_limit is None else self.at_limit
        shapes = [
            {"shape": change_at(self.shape.shape, state, float(self.shape[state]))}
            for state in np.ndindex(self.shape.shape)
            if not held[state]
        ]
        return super().directions() + shapes

    def expected_value(self, inputs: Array) -> Array:
        """Return the means given covariates, ``(n, *parents)``."""
        u, offset = self.split(inputs)
        with np.errstate(over="ignore"):
            return np.exp(self.predictor(u, _offset(offset)))

    def sample(self, rng: np.random.Generator, state: Array, inputs: Array) -> Array:
        """Draw a value for each parent state and covariates, ``(n,)``."""
        assert self.shape is not None
        mean = self.expected_value(inputs)[np.arange(len(state)), state]
        shape = self.shape[state]
        return np.maximum(mean * rng.gamma(shape) / shape, np.finfo(float).tiny)


def _weighted_mean_exp(logs: Array, largest: Array, weights: Array) -> Array:
    """Return the weighted means of exp(logs - largest), ``(K,)``; 1 for a state without weight."""
    total = weights.sum(axis=0)
    terms = np.multiply(weights, np.exp(np.minimum(logs[:, None] - largest, 0.0)))
    return np.where(total > 0, terms.sum(axis=0) / np.where(total > 0, total, 1.0), 1.0)
