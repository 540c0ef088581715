"""Families that are exponential only together with an auxiliary variable."""

from __future__ import annotations

import abc
from typing import Any, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import ExponentialFamily
from latentem.distributions.kernels import Attached, Kernel, TemplateKernel, expected_under
from latentem.distributions.records import Statistics, plug_in
from latentem.errors import DegenerateError, ModelError

#: Change of a log-density, relative to its size, after which no step of `fit` follows.
SMALL_CHANGE = 1e-12
#: Changes this small count as rounding as soon as they no longer shrink.
ROUNDING = 1e-10
#: Steps of `fit` at most: what moves on after these has no maximum, or a very flat one.
MOST_STEPS = 2_000


class AuxiliaryFamily(ExponentialFamily):
    r"""A family p(x | k) that is exponential once a variable u is added to x.

    .. math:: \log p(x, u \mid k) = \eta_k \cdot T(x, u) - A(\eta_k) + \log h(x, u),
              \qquad p(x \mid k) = \int p(x, u \mid k) \, du

    as Student's t and other scale mixtures of Gaussians are, where u scales the precision of the
    row. What the maximiser sees of a row is then expected under u given x at the parameters
    :math:`\theta` of ``self``. In each state of the parents, with q(u) = p(u | x, k, theta),

    .. math:: \log p(x \mid k, \theta') \ge \eta'_k \cdot E_q[T(x, u)] - A(\eta'_k)
              + E_q[\log h(x, u)] + H(q)

    with equality at :math:`\theta' = \theta` (Dempster, Laird and Rubin, Maximum likelihood from
    incomplete data via the EM algorithm, 1977; Neal and Hinton, 1998). So Q of the engine, at the
    parameters its statistics were taken at, still gives the log-likelihood, and an M-step raises it
    though it does not reach its maximum at once; `fit` repeats it until nothing changes.

    A subclass writes five things: the density `log_prob`, `expected_statistics`,
    `natural_parameters` and `from_mean` of the complete family in (x, u), and `statistics`, a first
    guess that needs no parameters, from which the first M-step of a template is made.

    Examples
    --------
    The hyperbolic secant, with tails between those of the Gaussian and of Student's t, is a scale
    mixture of Gaussians, :math:`\operatorname{sech} r = E[\exp(-u r^2 / 2)]`, and differentiating
    that gives :math:`E[u \mid r] = \tanh(r) / r` (Polson, Scott and Windle, Bayesian inference for
    logistic models using Polya-Gamma latent variables, JASA 108, 2013). So its maximiser is the
    Gaussian's, with rows of large residuals r weighing less:

    >>> import attrs, numpy as np
    >>> import latentem as lem
    >>> @attrs.frozen(eq=False)
    ... class HyperbolicSecant(lem.AuxiliaryFamily):
    ...     mean: lem.Array | None = lem.parameter()  # (*parents,)
    ...     scale: lem.Array | None = lem.parameter()  # (*parents,)
    ...
    ...     def log_prob(self, value):  # (n,) -> (n, *parents)
    ...         r = np.abs(value[:, None] - self.mean) / self.scale
    ...         return -r - np.log1p(np.exp(-2 * r)) - np.log(np.pi / 2 * self.scale)
    ...
    ...     def expected_statistics(self, value):  # T(x, u) = (u, u x, u x^2)
    ...         x = value[:, None]
    ...         r = np.abs(x - self.mean) / self.scale
    ...         u = np.where(r > 0, np.tanh(r) / np.where(r > 0, r, 1), 1)
    ...         expected = np.stack([u, u * x, u * x**2], axis=-1)  # (n, *parents, p)
    ...         return expected, self.log_prob(value) + u * r**2 / 2 + np.log(self.scale)
    ...
    ...     def natural_parameters(self):  # -u (x - mean)^2 / (2 scale^2) - log scale
    ...         precision = 1 / self.scale**2
    ...         eta = precision * np.stack([-(self.mean**2) / 2, self.mean, -0.5 + 0 * self.mean])
    ...         return np.moveaxis(eta, 0, -1), np.log(self.scale)
    ...
    ...     def from_mean(self, mean, weight):  # (*parents, p)
    ...         u, ux, uxx = np.moveaxis(mean, -1, 0)
    ...         return attrs.evolve(self, mean=ux / u, scale=np.sqrt(uxx - ux**2 / u))
    ...
    ...     def statistics(self, value):  # with u = 1, before there are parameters
    ...         return np.stack([np.ones_like(value), value, value**2], axis=1)
    >>> x = np.array([-1.0, 0.0, 0.5, 1.0, 30.0])
    >>> HyperbolicSecant().fit(x, np.ones((5, 1))).mean.round(3)
    array([1.691])
    """

    __slots__ = ()

    @abc.abstractmethod
    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), u integrated out, ``(n, *parents)``."""

    @abc.abstractmethod
    def expected_statistics(self, value: Array) -> tuple[Array, Array]:
        """Return E[T(x, u) | x, parents] at these parameters, and the entropy with the base.

        The first is ``(n, *parents, p)``. The second, ``(n, *parents)``, is
        E[log h(x, u) | x, parents] plus the entropy of u given x; with the first it makes
        `log_prob`, of which it may be computed as what is left.
        """

    @abc.abstractmethod
    def statistics(self, value: Array) -> Array:
        """Return T(x, u), ``(n, p)``, with a guess of u that needs no parameters."""

    # -- what follows --------------------------------------------------------------------------

    def fit(self, value: Array, weights: Array) -> Self:
        """Return the maximum of the weighted log-likelihood that EM climbs to.

        From its own parameters if there are any; from a first guess of u if not.
        """
        parents = weights.shape[1:]
        by_state = np.ascontiguousarray(weights.reshape(len(weights), -1).T)  # (K, n)
        dist = self.bind(value).flatten(parents)
        if dist.is_parameterised:
            dist = dist.feasible()
        else:
            record = dist.kernel().on(value).record(by_state)
            dist = dist.update(record)
        fitted: Self = _climbed(dist, value, by_state)
        return fitted.unflatten(parents)

    def kernel(self) -> Kernel:
        return AuxiliaryKernel(self) if self.is_parameterised else TemplateKernel(self)


@attrs.frozen(eq=False)
class AuxiliaryKernel(Kernel):
    """The density with u integrated out, and records that expect u at these parameters."""

    dist: AuxiliaryFamily

    @property
    def way(self) -> str:
        return "statistics expected under an auxiliary variable"

    @property
    def n_columns(self) -> int:
        eta, _ = self.dist.natural_parameters()
        return 2 * eta.size

    def on(self, value: Array) -> Attached:
        return _AttachedAuxiliary(self.dist, value)

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        eta, log_normaliser = self.dist.natural_parameters()
        return expected_under(self.dist, eta, np.asarray(log_normaliser), record)


@attrs.frozen(eq=False)
class _AttachedAuxiliary(Attached):
    dist: AuxiliaryFamily
    value: Array

    def log_density(self) -> Array:
        with np.errstate(divide="ignore"), plug_in(self.dist, "log_prob", value=self.value):
            log_prob = np.asarray(self.dist.log_prob(self.value))
        return np.array(log_prob.T, dtype=float, order="C", ndmin=2)

    def record(self, weights: Array) -> Statistics:
        with plug_in(self.dist, "expected_statistics", value=self.value):
            expected, base = self.dist.expected_statistics(self.value)
        k, n = weights.shape
        if expected.shape[:2] != (n, k) or expected.ndim != 3 or base.shape != (n, k):
            raise ModelError(
                f"{type(self.dist).__name__}.expected_statistics must return arrays (n, K, p) and "
                f"(n, K) for {n} values and {k} states, got shapes {expected.shape} and "
                f"{base.shape}. Put the rows first, the statistics last."
            )
        counted = weights.T > 0  # what is infinite in a row without weight does not count
        total = np.einsum("kn,nkp->kp", weights, np.where(counted[..., None], expected, 0.0))
        log_base = float(np.sum(weights.T * np.where(counted, base, 0.0)))
        reference = getattr(self.dist, "reference", None)
        return Statistics(weights.sum(axis=1), total, log_base, reference)


# -- the maximum of the likelihood itself ------------------------------------------------------


@attrs.frozen(eq=False)
class _Point:
    """Parameters with what an E-step finds at them."""

    dist: Any
    log_density: Array  # (K, n), 0 where there is no weight
    objective: float
    record: Any

    @classmethod
    def of(cls, dist: Any, value: Array, weights: Array) -> _Point:
        attached = dist.kernel().on(value)
        log_density = np.where(weights > 0, attached.log_density(), 0.0)
        return cls(
            dist, log_density, float(np.sum(weights * log_density)), attached.record(weights)
        )

    def step(self, value: Array, weights: Array) -> _Point:
        """Return the point after an M-step."""
        return _Point.of(self.dist.update(self.record), value, weights)

    def change(self, other: _Point) -> float:
        """Return the largest change of a log-density, relative to its size."""
        size = 1.0 + np.maximum(np.abs(self.log_density), np.abs(other.log_density))
        return float(np.max(np.abs(self.log_density - other.log_density) / size, initial=0.0))


def _climbed(dist: Any, value: Array, weights: Array) -> Any:
    """Return the parameters at which an EM step changes no log-density any more.

    Two steps, then an extrapolation of the mean statistics that both show, as long as it is no less
    likely (Varadhan and Roland, Simple and globally convergent methods for accelerating the
    convergence of any EM algorithm, Scandinavian Journal of Statistics 35, 2008).
    """
    point = _Point.of(dist, value, weights)
    last = np.inf
    for _ in range(MOST_STEPS // 2):
        once = point.step(value, weights)
        twice = once.step(value, weights)
        change = max(point.change(once), once.change(twice))
        if change <= SMALL_CHANGE or last <= change <= ROUNDING:
            return max((point, once, twice), key=lambda each: each.objective).dist
        leap = _leap(point, once, twice, value, weights)
        last, point = change, twice if leap is None else leap
    return point.dist


def _leap(
    point: _Point, once: _Point, twice: _Point, value: Array, weights: Array
) -> _Point | None:
    """Return the point that two steps point at, None if it is no better than they are."""
    a, b, c = point.record, once.record, twice.record
    plain = all(isinstance(record, Statistics) for record in (a, b, c))
    if not plain or not (a.reference is b.reference is c.reference) or not np.all(c.weight > 0):
        return None  # statistics about different points cannot be compared
    first, second = b.total - a.total, c.total - b.total
    bend = second - first
    size, curvature = np.linalg.norm(first, axis=1), np.linalg.norm(bend, axis=1)
    length = np.divide(size, curvature, where=curvature > 0, out=np.ones_like(size))
    length = np.maximum(length, 1.0)[:, None]
    total = a.total + 2 * length * first + length**2 * bend
    try:
        with np.errstate(all="ignore"):
            dist = once.dist.update(attrs.evolve(c, total=total))
            leap = _Point.of(dist, value, weights)
    except (ModelError, DegenerateError, ArithmeticError):  # outside the domain
        return None
    return leap if leap.objective >= twice.objective else None
