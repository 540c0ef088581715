"""Linear regression with Gaussian noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array, change_at
from latentem.distributions.base import Distribution, ExponentialFamily, Inputs, parameter
from latentem.distributions.checks import (
    as_names,
    check_floor,
    check_held,
    check_moments,
    check_real,
    counted,
    listed,
    naming,
)
from latentem.distributions.covariance import STRUCTURES, Full, Structure, exceeds
from latentem.distributions.formulas import Formulas
from latentem.distributions.kernels import Kernel, LinearKernel, TemplateKernel
from latentem.distributions.linear_kernel import Lines, ResidualLinesKernel
from latentem.distributions.named import NamesCovariates
from latentem.distributions.records import Statistics
from latentem.distributions.reference import SMALLEST_SCALE
from latentem.distributions.whitening import LOG_2PI, whiten
from latentem.errors import ModelError, Unsuitable
from latentem.kernels.expected import columns_and_products

# Error allowed in a log-density before the states leave the statistics form for the residual form.
LARGEST_ERROR = 1e-8


def _noise(structure: Any) -> Structure:
    if isinstance(structure, Structure):
        return structure
    if structure not in ("full", "diagonal", "spherical"):
        raise ModelError(
            'LinearGaussian: noise must be "full", "diagonal" or "spherical", '
            f"got {structure!r}. Choose one of these."
        )
    return STRUCTURES[structure]


@attrs.frozen(eq=False, repr=False)
class LinearGaussian(NamesCovariates, ExponentialFamily):
    r"""Linear regression on covariates, with Gaussian noise.

    .. math:: {log_density}

    where o is the offset, if there is one. Together with the covariates the statistics are those of
    a Gaussian, :math:`T = (v, v v^\top)` with :math:`v = (u, y - o)`. The maximiser is

    .. math:: {update}

    weighted least squares (Quandt and Ramsey, Estimating mixtures of normal distributions and
    switching regressions, JASA 1978; Anderson, An Introduction to Multivariate Statistical
    Analysis, 2003, section 8.2). Where covariates of a state are collinear it is the solution with
    the smallest coefficients, in units of the covariates' spread, and the fit says so.

    Statistics are taken about the centre of the data and in units of its spread; where the noise
    is so small that they would still lose digits, about the lines of the step before.

    A node of this family has a covariate, or several, among its parents; its values are rows of
    the covariates and then y.

    Parameters
    ----------
    intercept : array, (\*parents, m), optional
    coefficients : array, (\*parents, m, p), optional
    covariance : array, (\*parents, m, m), optional
        Of the noise. For a single y the axis of m may be left out of all three.
    offset : str, optional
        The covariate, a parent of the node, that is added to the mean as it is, so that y - offset
        is regressed on the others; it has as many columns as y.
    noise : {"full", "diagonal", "spherical"}
        The structure of the covariance.
    shared : bool
        One covariance for all states.
    held : tuple of str
        What is held at its value while the others are fitted: ``"coefficients"``,
        ``"covariance"`` or both. Follows from giving only these, which may be the same for all
        states.
    floor : float
        Smallest allowed eigenvalue of a covariance, in units of the variance of y (column by
        column). The fit is the exact maximiser under this constraint, and says when it is active.

    Raises
    ------
    ModelError
        If a covariance is not symmetric and positive definite, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> u = lem.covariate("u")
    >>> y = lem.observed("y", lem.LinearGaussian(), given=u)
    >>> data = {"u": [0.0, 1.0, 2.0, 3.0], "y": [1.0, 3.0, 5.0, 9.0]}
    >>> line = lem.fit(lem.Model([u, y]), data).model["y"]
    >>> print(line.intercept.round(4), line.coefficients.round(4), line.covariance.round(4))
    [0.6] [[2.6]] [[0.3]]
    """

    formulas = Formulas(
        log_density=(
            r"\log p(y \mid u, k) = -\tfrac12 "
            r"\left( m \log 2\pi + \log |\Sigma_k| "
            r"+ \epsilon_k^\top \Sigma_k^{-1} \epsilon_k \right), \qquad "
            r"\epsilon_k = y - o - a_k - B_k u"
        ),
        statistics=r"T(u, y) = (u, y - o, u u^\top, u (y - o)^\top, (y - o) (y - o)^\top)",
        update=(
            r"\hat B_k = \overline{(y - o - \overline{y - o}) (u - \overline{u})^\top} "
            r"\left( \overline{(u - \overline{u}) (u - \overline{u})^\top} \right)^{-1}, \qquad "
            r"\hat a_k = \overline{y - o} - \hat B_k \overline{u}, \qquad "
            r"\hat\Sigma_k = \frac{\sum_i r_{ik} \epsilon_{ik} \epsilon_{ik}^\top}{\sum_i r_{ik}}"
        ),
        symbols={"a": "intercept", "B": "coefficients", r"\Sigma": "covariance"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {
        "intercept": 1,
        "coefficients": 2,
        "covariance": 2,
    }
    holdable: ClassVar[tuple[str, ...]] = ("coefficients", "covariance")

    intercept: Array | None = parameter(converter=as_float_array)
    coefficients: Array | None = parameter(converter=as_float_array)
    covariance: Array | None = parameter(converter=as_float_array)
    offset: str | None = attrs.field(default=None, kw_only=True)
    noise: Structure = attrs.field(default=Full(), kw_only=True, converter=_noise)
    shared: bool = attrs.field(default=False, kw_only=True)
    floor: float = attrs.field(default=1e-13, kw_only=True, validator=check_floor)
    held: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_names)
    inputs: Inputs | None = attrs.field(default=None, kw_only=True)
    reference: Lines | None = attrs.field(default=None, kw_only=True)
    # intercept + rounding is the intercept to twice the precision, for data far from the origin.
    rounding: Array | None = attrs.field(default=None, kw_only=True)
    at_floor: Array | None = attrs.field(default=None, kw_only=True)
    collinear: Array | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        self.check_named()
        given = [self.intercept, self.coefficients, self.covariance]
        if self.held:
            check_held(self)
        if all(array is None for array in given):
            return
        if any(array is None for array in given):
            self._hold([name for name, array in self.parameters.items() if array is not None])
            return
        a, b, covariance = (np.asarray(array) for array in given)
        if covariance.ndim == a.ndim:  # of a single y
            a, b, covariance = a[..., None], b[..., None, :], covariance[..., None, None]
            for name, array in (("intercept", a), ("coefficients", b), ("covariance", covariance)):
                object.__setattr__(self, name, as_float_array(array))
        if b.shape[:-1] != a.shape or not np.isfinite(b).all():
            raise ModelError(
                "LinearGaussian: coefficients must be finite, a row of them for each intercept, "
                f"got shapes {a.shape} and {b.shape}. Give coefficients (*parents, m, p)."
            )
        if self.reference is None:  # given by a user, not by a maximiser
            check_moments(a, covariance, "LinearGaussian")

    def _hold(self, names: list[str]) -> None:
        """Hold the parameters that are given alone, or raise `ModelError`."""
        if not set(names) <= set(self.holdable):
            raise ModelError(
                "LinearGaussian: intercept, coefficients and covariance must be given all or none, "
                f"or without the intercept to hold them, got only {names}. Give all."
            )
        for name, array in ((name, getattr(self, name)) for name in names):
            if array.ndim < 2:  # of a single y: one for all states, or variances of the states
                whole = array[None] if name == "coefficients" else array[..., None, None]
                array = whole if whole.ndim > 1 else array
                object.__setattr__(self, name, as_float_array(array))
            if array.ndim < 2 or not np.isfinite(array).all():
                raise ModelError(
                    f"LinearGaussian: {name} must be finite matrices, got shape {array.shape}. "
                    f"Give (m, {'m' if name == 'covariance' else 'p'}), or one for each state."
                )
        if self.covariance is not None:
            check_moments(np.zeros(self.covariance.shape[:-1]), self.covariance, "LinearGaussian")
            if (
                self.coefficients is not None
                and self.coefficients.shape[-2] != self._rows_of_parameters
            ):
                raise ModelError(
                    "LinearGaussian: coefficients must have a row for each column of covariance, "
                    f"got {self.coefficients.shape} and {self.covariance.shape}. Give (m, p)."
                )
        if not self.held:
            object.__setattr__(self, "held", tuple(names))

    @property
    def own_formulas(self) -> Formulas | None:
        formulas = super().own_formulas
        structure = self.noise.pooled if self.shared else self.noise
        return None if formulas is None else formulas.of_structure(structure, "m")

    def __repr__(self) -> str:
        known = [f"{name}={array!r}" for name, array in self.parameters.items()]
        noise = [] if self.noise == Full() else [f'noise="{self.noise.name}"']
        options = [] if self.offset is None else [f"offset={self.offset!r}"]
        options += ["shared=True"] * self.shared
        return f"LinearGaussian({', '.join((known if self.is_parameterised else noise) + options)})"

    # -- parameters ----------------------------------------------------------------------------

    def known(self) -> tuple[Array, Array, Array]:
        """Return intercept, coefficients and covariance, or raise `ModelError`."""
        if self.intercept is None or self.coefficients is None or self.covariance is None:
            raise ModelError(
                "LinearGaussian must have its parameters to be evaluated or sampled, "
                "got a template. Fit it."
            )
        return self.intercept, self.coefficients, self.covariance

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        extra = ("rounding", "at_floor", "collinear")
        return {**self.parameters, **{name: getattr(self, name) for name in extra}}

    @property
    def n_parameters(self) -> int:
        """Intercepts and coefficients of each state, and the covariances' free entries."""
        a, b, _ = self.known()
        states = math.prod(a.shape[:-1])
        matrices = 0 if "covariance" in self.held else 1 if self.shared else states
        slopes = 0 if "coefficients" in self.held else b.size
        return a.size + slopes + matrices * self.noise.n_moments(a.shape[-1])

    def keep(self, old: Self, states: Array) -> Self:
        if not self.shared:
            return super().keep(old, states)
        # The covariance belongs to all states, those without weight too.
        whole = attrs.evolve(old, covariance=self.covariance, at_floor=self.at_floor)
        return super().keep(whole, states)

    def started_from(self, other: Distribution) -> Self:
        started = super().started_from(other)
        return attrs.evolve(started, reference=None, at_floor=None, collinear=None)

    @property
    def at_constraint(self) -> bool:
        return self.at_floor is not None and bool(self.at_floor.any())

    @property
    def events(self) -> tuple[str, ...]:
        found = []
        if self.at_floor is not None and self.at_floor.any():
            found.append(
                f"the covariance of state {listed(self.at_floor)} is at its floor, "
                f"{self.floor:g} of the variance of the data"
            )
        return (*found, *super().events)

    # -- data ----------------------------------------------------------------------------------

    @property
    def named_widths(self) -> dict[str, tuple[int | None, str]]:
        return {"offset": (self._rows_of_parameters, "y has as many")}

    @property
    def _rows_of_parameters(self) -> int | None:
        """The number of columns of y, if a parameter says so."""
        if self.covariance is not None:
            return int(self.covariance.shape[-1])
        return None if self.coefficients is None else int(self.coefficients.shape[-2])

    def check(self, value: Array) -> Array:
        array = check_real(value)
        array = array[:, None] if array.ndim == 1 else array
        m, because, remedy = self._rows_of_parameters, "{node} is a LinearGaussian", ""
        if m is None and "offset" in self.named_columns:
            place = self.named_columns["offset"]
            m, because = place.stop - place.start, f"its offset '{self.offset}' has as many"
            remedy = f"Give '{self.offset}' a column for each column of {{node}}."
        if array.ndim != 2 or array.shape[1] == 0 or m not in (None, array.shape[1]):
            wanted = "one column or more" if m is None else counted(m, "column")
            raise Unsuitable(f"have {wanted} because {because}", f"shape {value.shape}", remedy)
        return array

    def without_offset(self, value: Array) -> Array:
        """Return rows (u, y - offset) of rows of all covariates and y."""
        if self.offset is None:
            return value
        p = 0 if self.inputs is None else self.inputs.width
        u, named = self.split(value[:, :p])
        return np.concatenate([u, value[:, p:] - named["offset"]], axis=1)

    def _width(self, columns: int) -> int:
        """Return the number of covariates among the columns of rows without the offset."""
        if self.inputs is None:
            return columns - (self._rows_of_parameters or 1)
        return self.n_regressors

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        value = self.without_offset(value)
        width = self._width(value.shape[1])
        return attrs.evolve(self, reference=Lines.of(value, width, self.noise, weights))

    def check_fit(self) -> None:
        if self.reference is None or "covariance" in self.held:
            return
        constant = np.flatnonzero(self.noise.common_scale(self.reference.spread) < SMALLEST_SCALE)
        if len(constant):
            less = "" if self.offset is None else f", less its offset '{self.offset}',"
            raise Unsuitable(
                f"vary in every column{less} because the likelihood of {{node}} has no maximum "
                "where the variance is zero",
                f"a constant column ({', '.join(map(str, constant))})",
                "Drop that column, or fix its parameters.",
            )

    # -- exponential family --------------------------------------------------------------------

    def _lines(self, columns: int) -> Lines:
        return self.reference or Lines.at_origin(columns, self._width(columns))

    def statistics(self, value: Array) -> Array:
        n = self.without_offset(value[:1]).shape[1]
        out = np.empty((n + Full().n_moments(n), len(value)))
        self.statistics_into(out, value)
        return out.T

    def statistics_into(self, out: Array, value: Array) -> None:
        value = self.without_offset(value)
        n = value.shape[1]
        self._lines(n).standardise_into(out[:n], value)
        Full().moments_into(out[n:], out[:n])

    @property
    def pairs(self) -> Array:
        _, b, _ = self.known()
        n = b.shape[-1] + b.shape[-2]
        return columns_and_products(n, Full().pairs(n))

    def factors_into(self, out: Array, value: Array) -> None:
        self._lines(len(out)).standardise_into(out, self.without_offset(value))

    def standard_form(self) -> tuple[Array, Array, Array, Array]:
        """Return intercept and coefficients about the reference, W and log|covariance| / 2."""
        a, b, covariance = self.known()
        lines = self._lines(b.shape[-1] + b.shape[-2])
        rounding = np.zeros_like(a) if self.rounding is None else self.rounding
        a, b = lines.standardise_lines(a, b, rounding)
        scale = lines.y_scale
        whitening, log_root = whiten(covariance / scale / scale[:, None])
        return a, b, whitening, log_root + np.log(scale).sum()

    def natural_parameters(self) -> tuple[Array, Array]:
        return self._natural(*self.standard_form())

    def _natural(
        self, a: Array, b: Array, whitening: Array, log_root: Array
    ) -> tuple[Array, Array]:
        """Return eta and A of -|W (y - a - B u)|^2 / 2 - log_root."""
        identity = np.broadcast_to(np.eye(a.shape[-1]), (*a.shape, a.shape[-1]))
        residual = whitening @ np.concatenate([-b, identity], axis=-1)  # W (-B, I)
        shift = (whitening @ a[..., None])[..., 0]
        transposed = np.swapaxes(residual, -1, -2)
        linear = (transposed @ shift[..., None])[..., 0]
        quadratic = Full().coefficients(transposed @ residual)
        normaliser = 0.5 * np.square(shift).sum(axis=-1) + log_root + 0.5 * a.shape[-1] * LOG_2PI
        return np.concatenate([linear, quadratic], axis=-1), normaliser

    def from_mean(self, mean: Array, weight: Array) -> Self:
        lines = self.reference
        assert lines is not None  # taken from the data, or by the record
        p, n = lines.width, lines.centre.size
        first = mean[..., :n]
        joint = Full().covariance(mean[..., n:], first)
        largest = np.square(first).sum(-1) + np.trace(joint, axis1=-2, axis2=-1)
        if self.coefficients is not None and "coefficients" in self.held:
            zero = np.zeros(self.coefficients.shape[:-1])
            _, slopes = lines.standardise_lines(zero, self.coefficients, zero)
            collinear = None
        else:
            slopes, collinear = _slopes(joint[..., p:, :p], joint[..., :p, :p], largest)
        identity = np.broadcast_to(np.eye(n - p), (*slopes.shape[:-1], n - p))
        contrast = np.concatenate([-slopes, identity], axis=-1)
        residual = contrast @ joint @ np.swapaxes(contrast, -1, -2)
        if self.shared:
            pooled = np.tensordot(weight, residual, axes=weight.ndim) / weight.sum()
            residual = np.broadcast_to(pooled, residual.shape)
        zero = np.zeros(residual.shape[:-1])
        covariance = self.noise.covariance(self.noise.of_products(residual), zero)
        covariance, at_floor = _above(covariance, self.floor)
        covariance = covariance * lines.y_scale * lines.y_scale[:, None]
        if self.covariance is not None and "covariance" in self.held:
            covariance, at_floor = self.covariance, None
        middle = first[..., p:] - (slopes @ first[..., :p, None])[..., 0]
        a, rounding, b = lines.lines(middle, slopes)
        if self.coefficients is not None and "coefficients" in self.held:
            b = self.coefficients
        return attrs.evolve(
            self,
            intercept=a,
            coefficients=b,
            covariance=covariance,
            rounding=rounding,
            at_floor=at_floor,
            collinear=collinear,
            reference=lines.base or lines,
        )

    def from_statistics(self, record: Statistics) -> Self:
        return super(LinearGaussian, self.about(record.reference)).from_statistics(record)

    def about(self, reference: Lines | None) -> Self:
        return self if reference is self.reference else attrs.evolve(self, reference=reference)

    def feasible(self) -> Self:
        if self.reference is None or not self.is_parameterised or "covariance" in self.held:
            return self
        scale = self.reference.y_scale
        _, _, covariance = self.known()
        above, at_floor = _above(covariance / scale / scale[:, None], self.floor)
        return self if at_floor is None else attrs.evolve(
            self, covariance=above * scale * scale[:, None], at_floor=at_floor
        )  # fmt: skip

    def directions(self) -> list[dict[str, Array]]:
        """Lines in units of the noise, slopes about the centre; covariances as for a Gaussian."""
        a, b, covariance = self.known()
        lines = self._lines(b.shape[-1] + b.shape[-2])
        centre, scale = lines.centre[: lines.width], lines.scale[: lines.width]
        root = np.linalg.inv(whiten(covariance)[0])
        found = []
        for state in np.ndindex(a.shape[:-1]):
            for column in root[state].T:
                found.append({"intercept": change_at(a.shape, state, column)})
                for j in range(0 if "coefficients" in self.held else lines.width):
                    slope = np.zeros(b.shape[-2:])
                    slope[:, j] = column / scale[j]
                    found.append(
                        {
                            "intercept": change_at(a.shape, state, -centre[j] * slope[:, j]),
                            "coefficients": change_at(b.shape, state, slope),
                        }
                    )
        states = list(np.ndindex(a.shape[:-1]))
        for state in states[:1] if self.shared else states:
            if "covariance" in self.held:
                break
            if self.at_floor is not None and self.at_floor[state]:
                continue
            for basis in self.noise.directions(a.shape[-1]):
                move = root[state] @ basis @ root[state].T
                where: Any = ... if self.shared else state
                found.append({"covariance": change_at(covariance.shape, where, move)})
        return found

    # -- densities and draws -------------------------------------------------------------------

    def log_prob(self, value: Array) -> Array:
        """Return log p(y | u, parents), ``(n, *parents)``, of rows (u, y), in residual form."""
        _, b, _ = self.known()
        p, m = b.shape[-1], b.shape[-2]
        value = np.asarray(value)
        width = p if self.inputs is None else self.inputs.width
        if value.ndim != 2 or value.shape[1] != width + m:
            with naming("LinearGaussian"):
                raise Unsuitable(
                    f"have rows of {counted(width, 'covariate')} and {counted(m, 'value')}",
                    f"shape {value.shape}",
                    "Pass rows of the covariates and y.",
                )
        value = self.without_offset(value)
        a, b, whitening, log_root = self.standard_form()
        z = self._lines(p + m).standardise(value)  # (p + m, n)
        residual = z[p:] - a[..., None] - b @ z[:p]
        white = whitening @ residual  # (*parents, m, n)
        square = np.square(white).sum(axis=-2)
        log_prob = -0.5 * square - (log_root + 0.5 * m * LOG_2PI)[..., None]
        return np.moveaxis(log_prob, -1, 0)

    def expected_value(self, inputs: Array) -> Array:
        """Return the means given covariates ``(n, p)``, ``(n, *parents, m)``."""
        a, b, _ = self.known()
        u, named = self.split(inputs)
        mean = np.asarray(a + np.tensordot(u, b, axes=([1], [-1])))
        if "offset" in named:
            mean += named["offset"].reshape(len(u), *(1,) * (a.ndim - 1), -1)
        return mean

    def sample(self, rng: np.random.Generator, state: Array, inputs: Array) -> Array:
        """Draw y for each parent state and covariates, ``(n, m)``."""
        a, b, covariance = self.known()
        u, named = self.split(inputs)
        root = np.linalg.inv(whiten(covariance)[0])
        noise = rng.standard_normal((len(state), a.shape[-1]))
        mean = a[state] + np.einsum("nmp,np->nm", b[state], u) + named.get("offset", 0.0)
        draws: Array = mean + np.einsum("nij,nj->ni", root[state], noise)
        return draws

    # -- kernels -------------------------------------------------------------------------------

    def kernel(self) -> Kernel:
        """Return the statistics form, or where a state has little noise the residual form."""
        if not self.is_parameterised:
            return TemplateKernel(self)
        a, b, whitening, log_root = self.standard_form()
        lines = self._lines(b.shape[-1] + b.shape[-2])
        eta, log_normaliser = self._natural(a, b, whitening, log_root)
        linear = LinearKernel(self, eta, log_normaliser)
        precision = np.square(whitening).sum(axis=-2).max(initial=0.0)
        reach = 1.0 + np.abs(b).sum(axis=-1).max(initial=0.0)
        if np.finfo(float).eps * (lines.extent * reach) ** 2 * precision <= LARGEST_ERROR:
            return linear
        constant = -(log_root + 0.5 * a.shape[-1] * LOG_2PI)
        return ResidualLinesKernel(linear, lines.about(a, b), whitening, constant)


def _slopes(cross: Array, square: Array, largest: Array) -> tuple[Array, Array | None]:
    """Return B with B square = cross, the smallest if there are many, and where there are."""
    values, vectors = np.linalg.eigh(square)
    p = values.shape[-1]
    # Second moments about the reference are rounded: smaller eigenvalues may be 0.
    kept = values > 4 * p * np.finfo(float).eps * largest[..., None]
    inverse = np.where(kept, 1.0, 0.0) / np.where(kept, values, 1.0)
    slopes = (cross @ vectors * inverse[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    collinear = ~kept.all(axis=-1)
    return slopes, collinear if collinear.any() else None


def _above(covariance: Array, floor: float) -> tuple[Array, Array | None]:
    """Return covariances with eigenvalues of at least a floor, and which were raised to it."""
    if exceeds(covariance, floor):
        return covariance, None
    values, vectors = np.linalg.eigh(covariance)
    at_floor = values.min(axis=-1) < floor
    values = np.maximum(values, floor)
    return (vectors * values[..., None, :]) @ np.swapaxes(vectors, -1, -2), at_floor
