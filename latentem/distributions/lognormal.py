"""The log-normal distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import LOG_ZERO, Array, as_float_array
from latentem.distributions.base import ExponentialFamily, parameter
from latentem.distributions.checks import as_names, check_column, check_floor, naming
from latentem.distributions.formulas import Formulas
from latentem.distributions.kernels import Attached, Kernel, LinearKernel, TemplateKernel
from latentem.distributions.normal import Normal, check_given
from latentem.distributions.priors import NormalInverseGamma
from latentem.distributions.records import Statistics
from latentem.distributions.reference import Reference
from latentem.errors import ModelError, Unsuitable
from latentem.kernels.expected import Standardised


@attrs.frozen(eq=False, repr=False)
class LogNormal(ExponentialFamily):
    r"""Log-normal distribution: the logarithm is Normal.

    .. math:: {log_density}

    The maximiser is the weighted mean and variance of log x,

    .. math:: {update}

    (Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 1, 1994, chapter 14). It
    shares the algebra of `Normal` and its care for digits.

    Parameters
    ----------
    mean, variance : array, (\*parents,), optional
        Of log x.
    shared : bool
        One variance for all states.
    prior : NormalInverseGamma, optional
        Of mean and variance, which are then those of largest posterior density.
    held : tuple of str
        What is held at its value while the other is fitted, ``("mean",)`` or ``("variance",)``.
        Follows from giving only one of them, which may be one for all states.
    floor : float
        Smallest allowed variance, in units of the variance of the logarithms of the data.

    Raises
    ------
    ModelError
        If a variance is not positive, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> d = lem.LogNormal().fit(np.array([1.0, np.e**2]), np.ones(2))
    >>> print(d.mean.round(4), d.variance.round(4))
    1.0 1.0
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = -\tfrac12 "
            r"\left( \log 2\pi\sigma_k^2 + (\log x - \mu_k)^2 / \sigma_k^2 \right) - \log x"
        ),
        statistics=r"T(x) = (\log x, (\log x)^2)",
        update=(
            r"\hat\mu_k = \overline{\log x}, \qquad "
            r"\hat\sigma_k^2 = \sum_i r_{ik} (\log x_i - \hat\mu_k)^2 \Big/ \sum_i r_{ik}"
        ),
        symbols={r"\mu": "mean", r"\sigma^2": "variance"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"mean": 0, "variance": 0}
    holdable: ClassVar[tuple[str, ...]] = ("mean", "variance")

    mean: Array | None = parameter(converter=as_float_array)
    variance: Array | None = parameter(converter=as_float_array)
    shared: bool = attrs.field(default=False, kw_only=True)
    floor: float = attrs.field(default=1e-13, kw_only=True, validator=check_floor)
    prior: NormalInverseGamma | None = attrs.field(default=None, kw_only=True)
    held: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_names)
    reference: Reference | None = attrs.field(default=None, kw_only=True)
    rounding: Array | None = attrs.field(default=None, kw_only=True)
    at_floor: Array | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.reference is None:
            check_given("LogNormal", self)

    @property
    def own_formulas(self) -> Formulas | None:
        formulas = super().own_formulas
        return formulas.pooled("variance") if formulas is not None and self.shared else formulas

    def __repr__(self) -> str:
        return f"Log{self.normal!r}"

    # -- the Normal distribution of the logarithm ----------------------------------------------

    @property
    def normal(self) -> Normal:
        """The distribution of log x."""
        return Normal(
            self.mean,
            self.variance,
            shared=self.shared,
            floor=self.floor,
            prior=self.prior,
            held=self.held,
            reference=self.reference,
            rounding=self.rounding,
            at_floor=self.at_floor,
        )

    def _of(self, normal: Normal) -> Self:
        arrays: dict[str, Any] = normal.state_arrays
        return attrs.evolve(self, reference=normal.reference, **arrays)

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return self.normal.state_arrays

    @property
    def n_parameters(self) -> int:
        """Free parameters: the means, and the variances (one if shared)."""
        return self.normal.n_parameters

    @property
    def log_prior(self) -> float:
        return self.normal.log_prior

    def feasible(self) -> Self:
        return self._of(self.normal.feasible())

    @property
    def at_constraint(self) -> bool:
        return self.normal.at_constraint

    @property
    def events(self) -> tuple[str, ...]:
        return tuple(f"{event}, in logarithms" for event in self.normal.events)

    def directions(self) -> list[dict[str, Array]]:
        return self.normal.directions()

    # -- data ----------------------------------------------------------------------------------

    def supports(self, value: Array) -> Array:
        inside: Array = (value > 0) & (value < np.inf)
        return inside

    def check(self, value: Array) -> Array:
        value = check_column(value, "LogNormal")
        outside = ~self.supports(value)
        if outside.any():
            row = int(outside.argmax())
            raise Unsuitable(
                "be positive because {node} is LogNormal",
                f"{value[row]:g} at row {row}",
                "Drop such rows, or make them missing and tell them apart by a Bernoulli node.",
            )
        return value.astype(float, copy=False)

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        return self._of(self.normal.bind(np.log(value), weights))

    def check_fit(self) -> None:
        self.normal.check_fit()

    def dissimilarity(self, value: Array, other: Array) -> Array:
        return self.normal.dissimilarity(np.log(value), np.log(other))

    def euclidean(self, value: Array) -> Standardised | None:
        return self.normal.euclidean(np.log(value))

    # -- exponential family --------------------------------------------------------------------

    def statistics(self, value: Array) -> Array:
        return self.normal.statistics(_logs(value))

    def statistics_into(self, out: Array, value: Array) -> None:
        self.normal.statistics_into(out, _logs(value))

    @property
    def pairs(self) -> Array | None:
        return self.normal.pairs

    def factors_into(self, out: Array, value: Array) -> None:
        self.normal.factors_into(out, _logs(value))

    def natural_parameters(self) -> tuple[Array, Array]:
        return self.normal.natural_parameters()

    def from_mean(self, mean: Array, weight: Array) -> Self:
        return self._of(self.normal.from_mean(mean, weight))

    def from_statistics(self, record: Statistics) -> Self:
        return self._of(self.normal.from_statistics(record))

    def about(self, reference: Reference | None) -> Self:
        return self if reference is self.reference else attrs.evolve(self, reference=reference)

    def log_base_measure(self, value: Array) -> Array:
        return _base(value)

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf for values that are not positive.

        In residual form.
        """
        if not self.is_parameterised:
            raise ModelError(
                "LogNormal must have a mean and a variance to be evaluated or sampled, "
                "got a template. Fit it, or give both."
            )
        with naming("LogNormal"):
            value = check_column(np.asarray(value), "LogNormal")
        inside = (value > 0) & (value < np.inf)
        logs = _logs(np.where(inside, value, 1.0))
        log_prob = (self.normal.log_prob(logs).T - logs).T
        return np.where(inside.reshape(-1, *(1,) * (log_prob.ndim - 1)), log_prob, -np.inf)

    def expected_value(self) -> Array:
        """Return the means of x, ``(*parents,)``."""
        mean, variance = self.normal.known()
        return np.asarray(np.exp(mean + 0.5 * variance))

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one value for each parent state, ``(n,)``."""
        draws: Array = np.exp(self.normal.sample(rng, state))
        return draws

    def kernel(self) -> Kernel:
        if not self.is_parameterised:
            return TemplateKernel(self)
        kernel = self.normal.kernel()
        if isinstance(kernel, LinearKernel):
            return LinearKernel(self, kernel.eta, kernel.log_normaliser)
        return _LogKernel(kernel)


def _logs(value: Array) -> Array:
    """Return log x, 0 off the support."""
    logs: Array = np.log(np.where(value > 0, value, 1.0))
    return logs


@attrs.frozen(eq=False)
class _LogKernel(Kernel):
    """A kernel for logarithms, given values, with their base measure."""

    kernel: Kernel

    @property
    def way(self) -> str:
        return f"{self.kernel.way}, of the logarithms"

    def on(self, value: Array) -> Attached:
        return _AttachedLogs(self.kernel.on(_logs(value)), _base(value))

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        return self.kernel.expected_log_prob(record)

    def record_for(self, old: Kernel) -> Kernel | None:
        inner = old.kernel if isinstance(old, _LogKernel) else _linear_of_logs(old)
        finer = self.kernel.record_for(inner)
        return None if finer is None else _LogKernel(finer)


def _base(value: Array) -> Array:
    return np.where(value > 0, -_logs(value), LOG_ZERO)


def _linear_of_logs(kernel: Kernel) -> Kernel:
    """Return the linear kernel of a log-normal as the one of its logarithm."""
    if isinstance(kernel, LinearKernel) and isinstance(kernel.dist, LogNormal):
        return attrs.evolve(kernel, dist=kernel.dist.normal)
    return kernel


@attrs.frozen(eq=False)
class _AttachedLogs(Attached):
    attached: Attached
    base: Array  # (rows,)

    def log_density(self) -> Array:
        density: Array = self.attached.log_density() + self.base
        return density

    def record(self, weights: Array) -> Statistics:
        record: Statistics = self.attached.record(weights)
        # The kernels of Normals have no base measure of their own.
        return attrs.evolve(record, log_base=float((weights @ self.base).sum()))
