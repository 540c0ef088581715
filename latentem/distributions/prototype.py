"""Prototypes with a dissimilarity: what K-means has in place of component densities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import ExponentialFamily, renewed
from latentem.distributions.checks import check_real, counted, naming
from latentem.distributions.covariance import Spherical
from latentem.distributions.dissimilarity import (
    Cosine,
    Dissimilarity,
    SquaredEuclidean,
    as_dissimilarity,
    in_floats,
    unit,
)
from latentem.distributions.formulas import Formulas
from latentem.distributions.kernels import DistanceKernel, Distances, Kernel, LinearKernel
from latentem.distributions.prototype_kernel import MemberKernel, ResidualPrototypes
from latentem.distributions.records import Statistics
from latentem.distributions.reference import Reference
from latentem.errors import ModelError, Unsuitable
from latentem.kernels.compiled import is_loaded
from latentem.kernels.distances import squared_distances
from latentem.kernels.expected import Standardised

# Relative error allowed in the distances to a prototype before they are taken from residuals.
LARGEST_ERROR = 1e-11


@attrs.frozen(eq=False, repr=False)
class Prototype(ExponentialFamily):
    r"""One prototype for each state, and a dissimilarity to it.

    .. math:: \log p(x \mid k) \to -d(x, m_k)

    This is no density: it is what is left of spherical Gaussians of variance :math:`\epsilon`
    (times :math:`2\epsilon`) as :math:`\epsilon \to 0`. It only makes sense under hard assignment,
    where the objective is minus the distortion, :math:`F = -J` (Bishop, 2006, eq. 9.1).

    Squared Euclidean distance and cosine are linear in statistics of the row, and so take the same
    fast path as exponential families; others go by rows.

    A state that loses all its rows moves to the row that is represented worst, and says so. Where a
    part of a row is missing, a dissimilarity that is a sum over columns is that over the others.

    Parameters
    ----------
    dissimilarity : Dissimilarity, str or callable
        ``"squared_euclidean"``, ``"l1"``, ``"cosine"``, ``"hamming"``, or a function of two arrays
        (see `Medoid`).
    prototypes : array, (\*parents, d), optional

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> p = lem.Prototype("l1", prototypes=[[0.0], [10.0]])
    >>> p.log_prob(np.array([[1.0]]))
    array([[-1., -9.]])
    """

    trailing_axes: ClassVar[Mapping[str, int]] = {"prototypes": 1}

    requires_hard: ClassVar[bool] = True

    dissimilarity_: Dissimilarity = attrs.field(
        default=SquaredEuclidean(), converter=as_dissimilarity, alias="dissimilarity"
    )
    prototypes: Array | None = attrs.field(default=None, converter=as_float_array)
    reference: Reference | None = attrs.field(default=None, kw_only=True)
    rounding: Array | None = attrs.field(default=None, kw_only=True)
    # Mean squared distance of the rows of each state to its prototype.
    within: Array | None = attrs.field(default=None, kw_only=True)
    vacant: Array | None = attrs.field(default=None, kw_only=True)
    relocated: tuple[str, ...] = attrs.field(default=(), kw_only=True)

    @property
    def own_formulas(self) -> Formulas | None:
        """Those of the dissimilarity."""
        return self.dissimilarity_.formulas

    def __repr__(self) -> str:
        name = self.dissimilarity_.name
        if self.prototypes is None:
            return f'Prototype("{name}")'
        return f'Prototype("{name}", prototypes={self.prototypes!r})'

    @property
    def parameters(self) -> dict[str, Array | None]:
        return {"prototypes": self.prototypes}

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return {"prototypes": self.prototypes, "rounding": self.rounding, "within": self.within}

    @property
    def events(self) -> tuple[str, ...]:
        return self.relocated

    @property
    def n_parameters(self) -> int:
        """The coordinates of the prototypes."""
        return 0 if self.prototypes is None else self.prototypes.size

    def _known(self) -> Array:
        if self.prototypes is None:
            raise ModelError("Prototype must have prototypes, got a template. Fit it.")
        return self.prototypes

    @property
    def takes_gaps(self) -> bool:  # type: ignore[override]
        """Whether parts of a row may be missing: if the dissimilarity is a sum over columns."""
        return self.dissimilarity_.columnwise

    @property
    def _is_linear(self) -> bool:
        return type(self.dissimilarity_) in (SquaredEuclidean, Cosine)

    # The cosine dissimilarity is half a squared distance of unit vectors: 1 - u.v = |u - v|^2 / 2.

    @property
    def _is_cosine(self) -> bool:
        return type(self.dissimilarity_) is Cosine

    def points(self, value: Array) -> Array:
        """Return the points whose squared distance counts, in double precision."""
        value = in_floats(value)
        return unit(value) if self._is_cosine else value

    @property
    def unit_square(self) -> float:
        """What a squared distance in units of the reference counts."""
        scale = 1.0 if self.reference is None else float(self.reference.scale[0])
        return (0.5 if self._is_cosine else 1.0) * scale**2

    # -- data ----------------------------------------------------------------------------------

    def check(self, value: Array) -> Array:
        array = check_real(value)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or array.shape[1] == 0:
            raise Unsuitable("have rows of vectors, shape (n, d)", f"shape {value.shape}")
        d = array.shape[1] if self.prototypes is None else self.prototypes.shape[-1]
        if array.shape[1] != d:
            raise Unsuitable(
                f"have {counted(d, 'column')} because {{node}} has prototypes of dimension {d}",
                f"shape {value.shape}",
            )
        self.dissimilarity_.check(array)
        return array  # in its own type: pixels may stay bytes until a block is worked on

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        if self._is_cosine:
            ones = np.ones(value.shape[1])
            return attrs.evolve(self, reference=Reference(0.0 * ones, ones, ones, 1.0))
        if self._is_linear:
            return attrs.evolve(self, reference=Reference.of(value, Spherical(), weights))
        return self

    def dissimilarity(self, value: Array, other: Array) -> Array:
        return self._between(in_floats(value), in_floats(other))

    def euclidean(self, value: Array) -> Standardised | None:
        if self.reference is None or type(self.dissimilarity_) is not SquaredEuclidean:
            return None
        # A copy of integers, but narrow ones fit into single precision.
        return self.reference.standardised(
            value.astype(np.result_type(value, np.float32), copy=False)
        )

    def _between(self, value: Array, prototypes: Array) -> Array:
        """Return the dissimilarities ``(n, K)``, over the columns that are observed."""
        gapped = np.isnan(value).any() or np.isnan(prototypes).any()
        between = self.dissimilarity_.between_observed if gapped else self.dissimilarity_.between
        return between(value, prototypes)

    # -- the two methods, and the linear form --------------------------------------------------

    def log_prob(self, value: Array) -> Array:
        """Return minus the dissimilarities, ``(n, *parents)``."""
        prototypes = self._known()
        given = np.asarray(value)
        gaps = np.isnan(given) if self.takes_gaps and given.dtype.kind == "f" else None
        with naming("Prototype"):
            value = in_floats(self.check(given if gaps is None else np.where(gaps, 0.0, given)))
        if gaps is not None and gaps.any():
            value = np.where(gaps.reshape(value.shape), np.nan, value)
        flat = prototypes.reshape(-1, prototypes.shape[-1])
        return -self._between(value, flat).reshape(len(value), *prototypes.shape[:-1])

    def fit(self, value: Array, weights: Array) -> Self:
        if self._is_linear and not np.isnan(value).any():
            return super().fit(value, weights)
        flat = weights.reshape(len(value), -1).T
        fitted = self.flatten(weights.shape[1:]).of_members(
            [(value[w > 0], w[w > 0]) for w in flat]
        )
        return fitted.unflatten(weights.shape[1:])

    def of_members(self, members: Sequence[tuple[Array, Array]]) -> Self:
        """Return the prototypes of states with these rows and weights; one parents' axis."""
        current = [None] * len(members) if self.prototypes is None else self.prototypes
        centres = [
            self._centre(in_floats(value), weights, now)
            for (value, weights), now in zip(members, current, strict=True)
        ]
        return attrs.evolve(
            self,
            prototypes=np.stack(centres),
            rounding=None,
            within=None,
            vacant=None,
            relocated=(),
        )

    def _centre(self, value: Array, weights: Array, current: Array | None) -> Array:
        """Return the better of the centre and the current prototype, which may be no row."""
        if not weights.any():
            return np.zeros(value.shape[1]) if current is None else current
        if np.isnan(value).any():
            centre = self.dissimilarity_.centre_of_observed(value, weights)
            # A column without any entry says nothing of the prototype: it stays there.
            return np.where(np.isnan(centre), 0.0 if current is None else current, centre)
        centre = self.dissimilarity_.centre(value, weights)
        if current is None:
            return centre
        totals = weights @ self.dissimilarity_.between(value, np.stack([centre, current]))
        return centre if totals[0] <= totals[1] else current

    def statistics(self, value: Array) -> Array:
        out = np.empty((value.shape[1] + 1, len(value)))
        self.statistics_into(out, value)
        return out.T

    def statistics_into(self, out: Array, value: Array) -> None:
        z, value = out[:-1], self.points(value)
        if self.reference is None:
            z[...] = value.T
        else:
            self.reference.standardise_into(z, value)
        np.einsum("dr,dr->r", z, z, out=out[-1])

    def natural_parameters(self) -> tuple[Array, Array]:
        """Return eta and A of -d(x, m) = eta . T(x) - A, which is -s^2 (z.z - 2 m.z + m.m)."""
        return self._natural(self._standard())

    def _natural(self, m: Array) -> tuple[Array, Array]:
        unit_square = self.unit_square
        eta = np.empty((*m.shape[:-1], m.shape[-1] + 1))
        np.multiply(m, 2.0 * unit_square, out=eta[..., :-1])
        eta[..., -1] = -unit_square
        return eta, unit_square * np.vecdot(m, m)

    def _standard(self) -> Array:
        """Return the prototypes, in units of the reference."""
        m = self.points(self._known())
        if self.reference is None:
            return m
        rounding = 0.0 if self.rounding is None else self.rounding
        return self.reference.standardise_means(m, rounding)

    def from_statistics(self, record: Statistics) -> Self:
        # The record may be about a centre of its own for each state.
        return super(Prototype, self.about(record.reference)).from_statistics(record)

    def about(self, reference: Reference | None) -> Self:
        return self if reference is self.reference else attrs.evolve(self, reference=reference)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        m, square = mean[..., :-1], mean[..., -1]
        prototypes, rounding = m, None
        if self.reference is not None:
            prototypes, rounding = self.reference.means(m)
        if self._is_cosine:
            # Rows that cancel are represented equally badly by every direction: any will do.
            cancelled = np.logical_not(prototypes.any(axis=-1, keepdims=True))
            prototypes = unit(np.where(cancelled, np.eye(m.shape[-1])[0], prototypes))
            rounding = None
        return renewed(
            self,
            prototypes=prototypes,
            rounding=rounding,
            within=self.unit_square * np.maximum(square - np.vecdot(m, m), 0.0),
            vacant=None,
            relocated=(),
            reference=None if self.reference is None else self.reference.base or self.reference,
        )

    def natural_from_mean(self, mean: Array, weight: Array) -> tuple[Array, Array] | None:
        reference = self.reference
        if (
            not self._is_linear
            or self._is_cosine
            or reference is None
            or reference.base is not None
        ):
            return None
        m, square = mean[..., :-1], mean[..., -1]
        eta, log_normaliser = self._natural(m)
        within = self.unit_square * square - log_normaliser
        return (eta, log_normaliser) if self._is_exact(reference, within).all() else None

    def _is_exact(self, reference: Reference, within: Array) -> Array:
        """Return which states' distances are exact enough in the linear form, ``(K,)``."""
        error = np.finfo(float).eps * reference.extent**2 * self.unit_square
        return np.asarray(error <= LARGEST_ERROR * within)

    def kernel(self) -> Kernel:
        """Return the linear form, for tight states the residual form; rows for what has neither."""
        if not self._is_linear:
            return MemberKernel(self)
        if not self.is_parameterised or self.reference is None:
            return super().kernel()
        standard = self._standard()
        natural = self._natural(standard)
        points = self.points(self._known())
        low = np.zeros_like(points) if self.rounding is None else self.rounding
        within = self._spacing() if self.within is None else self.within
        residual = ~self._is_exact(self.reference, within)
        if not residual.any():
            if self._is_cosine:
                return LinearKernel(self, *natural)
            return DistanceKernel(self, *natural, Distances(standard, None, self.reference, None))
        linear = LinearKernel(self, *natural)
        centres = np.where(residual[:, None], points, self.reference.centre)
        reference = self.reference.of_states(centres, np.where(residual[:, None], low, 0.0))
        if self._is_cosine:
            return ResidualPrototypes(linear, reference, residual, None)
        distances = Distances(standard, (points, low), reference, residual)
        return ResidualPrototypes(linear, reference, residual, distances)

    def gapped_kernel(self) -> Kernel:
        return MemberKernel(self)

    def _spacing(self) -> Array:
        """Return the squared distance of each prototype to the nearest other one, ``(K,)``.

        It stands for the spread of the rows of a state while they are unknown.
        """
        points = self.points(self._known())
        squares = squared_distances(points.T, points.T, compiled=is_loaded())
        np.fill_diagonal(squares, np.inf)
        nearest: Array = squares.min(axis=1)
        return nearest

    # -- the policy for states without rows ----------------------------------------------------

    def keep(self, old: Self, states: Array) -> Self:
        return attrs.evolve(super().keep(old, states), vacant=states)

    def relocate(self, rows: Array) -> Self:
        """Return this distribution with its vacant states moved to ``rows`` ``(m, d)``."""
        assert self.vacant is not None
        states = np.flatnonzero(self.vacant)[: len(rows)]
        prototypes = self._known().copy()
        distances = self._between(in_floats(rows), prototypes)
        before, nearest = distances.min(axis=1), prototypes[distances.argmin(axis=1)]
        prototypes[states] = np.where(np.isnan(rows), nearest, rows)
        rounding, within = (None if a is None else a.copy() for a in (self.rounding, self.within))
        for array in (rounding, within):
            if array is not None:
                array[states] = 0.0
        sentences = tuple(
            f"state {state} had lost all its rows and moved to the worst represented one, "
            f"at dissimilarity {distance:.4g}"
            for state, distance in zip(states, before, strict=True)
        )
        return attrs.evolve(
            self,
            prototypes=prototypes,
            rounding=rounding,
            within=within,
            vacant=None,
            relocated=sentences,
        )
