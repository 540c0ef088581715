"""The Normal distribution of a scalar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import ExponentialFamily
from latentem.distributions.checks import (
    as_names,
    check_floor,
    check_held,
    check_moments,
    check_real,
    naming,
)
from latentem.distributions.covariance import Full
from latentem.distributions.formulas import Formulas
from latentem.distributions.gaussian import Gaussian
from latentem.distributions.kernels import Attached, Kernel, LinearKernel, TemplateKernel
from latentem.distributions.priors import NormalInverseGamma, refuse_prior
from latentem.distributions.records import Record, Statistics
from latentem.distributions.reference import Reference
from latentem.errors import ModelError, Unsuitable
from latentem.kernels.expected import Standardised
from latentem.kernels.steps import ClosedForm


@attrs.frozen(eq=False, repr=False)
class Normal(ExponentialFamily):
    r"""Normal distribution of a scalar.

    .. math:: {log_density}

    The maximiser is the weighted mean and variance,

    .. math:: {update}

    (Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 1, 1994, chapter 13;
    Bishop, Pattern Recognition and Machine Learning, 2006, section 2.3.4). It is the `Gaussian` of
    dimension one with the matrix axes left out, and shares its algebra and its care for digits.

    Parameters
    ----------
    mean, variance : array, (\*parents,), optional
    shared : bool
        One variance for all states.
    prior : NormalInverseGamma, optional
        Of mean and variance, which are then those of largest posterior density.
    held : tuple of str
        What is held at its value while the other is fitted, ``("mean",)`` or ``("variance",)``.
        Follows from giving only one of them, which may be one for all states.
    floor : float
        Smallest allowed variance, in units of the data's variance.

    Raises
    ------
    ModelError
        If a variance is not positive, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.Normal().fit(np.array([1.0, 3.0]), np.ones(2))
    Normal(mean=array(2.), variance=array(1.))

    A known variance:

    >>> lem.Normal(variance=4.0).fit(np.array([1.0, 3.0]), np.ones(2))
    Normal(mean=array(2.), variance=array(4.))
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = -\tfrac12 "
            r"\left( \log 2\pi\sigma_k^2 + (x - \mu_k)^2 / \sigma_k^2 \right)"
        ),
        statistics=r"T(x) = (x, x^2)",
        update=(
            r"\hat\mu_k = \overline{x}, \qquad "
            r"\hat\sigma_k^2 = \sum_i r_{ik} (x_i - \hat\mu_k)^2 \Big/ \sum_i r_{ik}"
        ),
        symbols={r"\mu": "mean", r"\sigma^2": "variance"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"mean": 0, "variance": 0}
    holdable: ClassVar[tuple[str, ...]] = ("mean", "variance")

    mean: Array | None = attrs.field(default=None, converter=as_float_array)
    variance: Array | None = attrs.field(default=None, converter=as_float_array)
    shared: bool = attrs.field(default=False, kw_only=True)
    floor: float = attrs.field(default=1e-13, kw_only=True, validator=check_floor)
    prior: NormalInverseGamma | None = attrs.field(default=None, kw_only=True)
    held: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_names)
    reference: Reference | None = attrs.field(default=None, kw_only=True)
    rounding: Array | None = attrs.field(default=None, kw_only=True)
    at_floor: Array | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.reference is None:  # given by a user, not by a maximiser
            check_given("Normal", self)

    @property
    def own_formulas(self) -> Formulas | None:
        formulas = super().own_formulas
        return formulas.pooled("variance") if formulas is not None and self.shared else formulas

    def __repr__(self) -> str:
        shared = "shared=True" if self.shared else ""
        if not self.is_parameterised:
            given = [f"{name}={getattr(self, name)!r}" for name in self.held]
            return f"Normal({', '.join(part for part in [*given, shared] if part)})"
        comma = ", " if shared else ""
        return f"Normal(mean={self.mean!r}, variance={self.variance!r}{comma}{shared})"

    @property
    def gaussian(self) -> Gaussian:
        """The same distribution as a Gaussian of dimension one."""
        return Gaussian(
            None if self.mean is None else self.mean[..., None],
            Full() if self.variance is None else self.variance[..., None, None],
            shared=self.shared,
            floor=self.floor,
            structure=Full(),
            prior=None if self.prior is None else self.prior.wishart,
            held=tuple("covariance" if name == "variance" else name for name in self.held),
            reference=self.reference,
            rounding=None if self.rounding is None else self.rounding[..., None],
            at_floor=self.at_floor,
        )

    def _of(self, gaussian: Gaussian) -> Self:
        mean, covariance = gaussian.parameters.values()
        rounding = gaussian.rounding
        return attrs.evolve(
            self,
            mean=None if mean is None else mean[..., 0],
            variance=None if covariance is None else covariance[..., 0, 0],
            reference=gaussian.reference,
            rounding=None if rounding is None else rounding[..., 0],
            at_floor=gaussian.at_floor,
        )

    @property
    def parameters(self) -> dict[str, Array | None]:
        return {"mean": self.mean, "variance": self.variance}

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return {**self.parameters, "rounding": self.rounding, "at_floor": self.at_floor}

    def known(self) -> tuple[Array, Array]:
        """Return mean and variance, or raise `ModelError`."""
        if self.mean is None or self.variance is None:
            raise ModelError(
                "Normal must have a mean and a variance to be evaluated or sampled, "
                "got a template. Fit it, or give both."
            )
        return self.mean, self.variance

    @property
    def n_parameters(self) -> int:
        """Free parameters: the means, and the variances (one if shared)."""
        return self.gaussian.n_parameters

    def feasible(self) -> Self:
        if not self.is_parameterised:
            return self
        gaussian = self.gaussian
        feasible = gaussian.feasible()
        return self if feasible is gaussian else self._of(feasible)

    @property
    def at_constraint(self) -> bool:
        return self.gaussian.at_constraint

    @property
    def events(self) -> tuple[str, ...]:
        return tuple(event.replace("covariance", "variance") for event in self.gaussian.events)

    def check(self, value: Array) -> Array:
        array = check_real(value)
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 1:
            raise Unsuitable(
                "be a column of scalars, shape (n,)",
                f"shape {value.shape}",
                "Use Gaussian() for vectors.",
            )
        return array

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        return attrs.evolve(self, reference=Reference.of(value[:, None], Full(), weights))

    def check_fit(self) -> None:
        self.gaussian.check_fit()

    def dissimilarity(self, value: Array, other: Array) -> Array:
        return self.gaussian.dissimilarity(value[:, None], other[:, None])

    def euclidean(self, value: Array) -> Standardised | None:
        return self.gaussian.euclidean(value[:, None])

    def statistics(self, value: Array) -> Array:
        return self.gaussian.statistics(value[:, None])

    def statistics_into(self, out: Array, value: Array) -> None:
        self.factors_into(out[:1], value)
        np.square(out[0], out=out[1])

    @property
    def pairs(self) -> Array | None:
        return self.gaussian.pairs

    def factors_into(self, out: Array, value: Array) -> None:
        if self.reference is None:
            out[0] = value
        else:
            np.subtract(value, self.reference.centre, out=out[0])
            out[0] /= self.reference.scale

    def standardised(self, value: Array) -> Standardised | None:
        return None if self.reference is None else self.reference.standardised(value[:, None])

    def natural_parameters(self) -> tuple[Array, Array]:
        return self.gaussian.natural_parameters()

    def from_mean(self, mean: Array, weight: Array) -> Self:
        return self._of(self.gaussian.from_mean(mean, weight))

    def natural_from_mean(self, mean: Array, weight: Array) -> tuple[Array, Array] | None:
        return self.gaussian.natural_from_mean(mean, weight)

    @property
    def closed_form(self) -> ClosedForm | None:
        return self.gaussian.closed_form

    def directions(self) -> list[dict[str, Array]]:
        """Those of the Gaussian of dimension one."""
        return [
            {"mean": d["mean"][..., 0]} if "mean" in d else {"variance": d["covariance"][..., 0, 0]}
            for d in self.gaussian.directions()
        ]

    @property
    def log_prior(self) -> float:
        return 0.0 if self.prior is None else self.gaussian.log_prior

    def from_statistics(self, record: Statistics) -> Self:
        return self._of(self.gaussian.from_statistics(record))

    def comparable(self, record: Record) -> Record:
        return self.gaussian.comparable(record)

    def about(self, reference: Reference | None) -> Self:
        return self if reference is self.reference else attrs.evolve(self, reference=reference)

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``, in residual form."""
        self.known()
        with naming("Normal"):
            value = self.check(np.asarray(value))
        return self.gaussian.log_prob(value)

    def expected_value(self) -> Array:
        """Return the means, ``(*parents,)``."""
        return self.gaussian.known()[0][..., 0]

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one value for each state index, ``(n,)``."""
        mean, variance = self.known()
        return rng.normal(mean[state], np.sqrt(variance[state]))

    def kernel(self) -> Kernel:
        if not self.is_parameterised:
            return TemplateKernel(self)
        kernel = self.gaussian.kernel()
        if isinstance(kernel, LinearKernel):
            return LinearKernel(self, kernel.eta, kernel.log_normaliser, is_free=kernel.is_free)
        return _ColumnKernel(kernel)


def check_given(family: str, dist: Any) -> None:
    """Raise `ModelError` unless what a user gave makes a Normal; hold what is given alone."""
    if dist.prior is not None and not isinstance(dist.prior, NormalInverseGamma):
        raise refuse_prior(family, "NormalInverseGamma", dist.prior)
    check_held(dist)
    given = dist.mean if dist.mean is not None else dist.variance
    if given is None:
        return
    mean = np.zeros(given.shape) if dist.mean is None else dist.mean
    variance = np.ones(given.shape) if dist.variance is None else dist.variance
    check_moments(mean[..., None], variance[..., None, None], family, "variance")


@attrs.frozen(eq=False)
class _ColumnKernel(Kernel):
    """A kernel for rows of vectors, given scalars."""

    kernel: Kernel

    @property
    def way(self) -> str:
        return self.kernel.way

    def on(self, value: Array) -> Attached:
        return self.kernel.on(value[:, None])

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        return self.kernel.expected_log_prob(record)

    def record_for(self, old: Kernel) -> Kernel | None:
        inner = old.kernel if isinstance(old, _ColumnKernel) else _linear_of_vectors(old)
        finer = self.kernel.record_for(inner)
        return None if finer is None else _ColumnKernel(finer)


def _linear_of_vectors(kernel: Kernel) -> Kernel:
    """Return the linear kernel of a Normal as the one of its Gaussian."""
    if isinstance(kernel, LinearKernel) and isinstance(kernel.dist, Normal):
        return attrs.evolve(kernel, dist=kernel.dist.gaussian)
    return kernel
