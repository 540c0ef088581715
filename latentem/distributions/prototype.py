"""Prototypes with a dissimilarity: what K-means has in place of component densities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import Distribution, ExponentialFamily
from latentem.distributions.checks import check_real, naming
from latentem.distributions.covariance import Spherical
from latentem.distributions.dissimilarity import (
    Cosine,
    Dissimilarity,
    SquaredEuclidean,
    as_dissimilarity,
    unit,
)
from latentem.distributions.kernels import (
    Attached,
    Kernel,
    LinearKernel,
    RecordingKernel,
    RowKernel,
    expected_under,
)
from latentem.distributions.records import Statistics
from latentem.distributions.reference import Reference
from latentem.errors import ModelError, Unsuitable

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

    A state that loses all its rows moves to the row that is represented worst, and says so.

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
    def _is_linear(self) -> bool:
        return isinstance(self.dissimilarity_, SquaredEuclidean | Cosine)

    # -- data ----------------------------------------------------------------------------------

    def check(self, value: Array) -> Array:
        array = check_real(value)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or array.shape[1] == 0:
            raise Unsuitable("have rows of vectors, shape (n, d)", f"shape {value.shape}")
        d = array.shape[1] if self.prototypes is None else self.prototypes.shape[-1]
        if array.shape[1] != d:
            raise Unsuitable(
                f"have {d} columns because {{node}} has prototypes of dimension {d}",
                f"shape {value.shape}",
            )
        self.dissimilarity_.check(array)
        return array  # in its own type: pixels may stay bytes until a block is worked on

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        if isinstance(self.dissimilarity_, SquaredEuclidean):
            return attrs.evolve(self, reference=Reference.of(value, Spherical(), weights))
        return self

    def dissimilarity(self, value: Array, other: Array) -> Array:
        return self.dissimilarity_.between(_in_floats(value), _in_floats(other))

    # -- the two methods, and the linear form --------------------------------------------------

    def log_prob(self, value: Array) -> Array:
        """Return minus the dissimilarities, ``(n, *parents)``."""
        prototypes = self._known()
        with naming("Prototype"):
            value = _in_floats(self.check(np.asarray(value)))
        flat = prototypes.reshape(-1, prototypes.shape[-1])
        return -self.dissimilarity_.between(value, flat).reshape(len(value), *prototypes.shape[:-1])

    def fit(self, value: Array, weights: Array) -> Self:
        if self._is_linear:
            return super().fit(value, weights)
        value = _in_floats(value)
        flat = weights.reshape(len(value), -1)
        current = None if self.prototypes is None else self.prototypes.reshape(len(flat.T), -1)
        centres = [
            self._centre(value, w, None if current is None else current[k])
            for k, w in enumerate(flat.T)
        ]
        prototypes = np.stack(centres).reshape(*weights.shape[1:], -1)
        return attrs.evolve(self, prototypes=prototypes, vacant=None, relocated=())

    def _centre(self, value: Array, weights: Array, current: Array | None) -> Array:
        """Return the better of the centre and the current prototype, which may be no row."""
        if not weights.any():
            return np.zeros(value.shape[1]) if current is None else current
        centre = self.dissimilarity_.centre(value, weights)
        if current is None:
            return centre
        totals = weights @ self.dissimilarity_.between(value, np.stack([centre, current]))
        return centre if totals[0] <= totals[1] else current

    def statistics(self, value: Array) -> Array:
        if isinstance(self.dissimilarity_, Cosine):
            return unit(value.astype(float))
        out = np.empty((value.shape[1] + 1, len(value)))
        self.statistics_into(out, value)
        return out.T

    def statistics_into(self, out: Array, value: Array) -> None:
        if isinstance(self.dissimilarity_, Cosine):
            out[...] = self.statistics(value).T
            return
        z = out[:-1]
        if self.reference is None:
            z[...] = value.T
        else:
            self.reference.standardise_into(z, value)
        np.einsum("dr,dr->r", z, z, out=out[-1])

    def natural_parameters(self) -> tuple[Array, Array]:
        """Return eta and A of -d(x, m) = eta . T(x) - A.

        For squared distance, with z in units s, -s^2 (z.z - 2 m.z + m.m).
        """
        prototypes = self._known()
        if isinstance(self.dissimilarity_, Cosine):
            return unit(prototypes), np.ones(prototypes.shape[:-1])
        m, unit_square = prototypes, 1.0
        if self.reference is not None:
            low = 0.0 if self.rounding is None else self.rounding
            m = self.reference.standardise_means(prototypes, low)
            unit_square = self._unit_square
        ones = np.ones((*m.shape[:-1], 1))
        eta = unit_square * np.concatenate([2.0 * m, -ones], axis=-1)
        return eta, unit_square * np.square(m).sum(axis=-1)

    @property
    def _unit_square(self) -> float:
        """The square of the reference's scale, which all columns share."""
        assert self.reference is not None
        return float(self.reference.scale[0] ** 2)

    def from_statistics(self, record: Statistics) -> Self:
        # The record may be about a centre of its own for each state.
        return super(Prototype, self.about(record.reference)).from_statistics(record)

    def about(self, reference: Reference | None) -> Self:
        return self if reference is self.reference else attrs.evolve(self, reference=reference)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        clean = attrs.evolve(self, vacant=None, relocated=())
        if isinstance(self.dissimilarity_, Cosine):
            # Rows that cancel are represented equally badly by every direction: any will do.
            cancelled = np.logical_not(mean.any(axis=-1, keepdims=True))
            mean = np.where(cancelled, np.eye(mean.shape[-1])[0], mean)
            return attrs.evolve(clean, prototypes=unit(mean))
        m = mean[..., :-1]
        within = np.maximum(mean[..., -1] - np.square(m).sum(axis=-1), 0.0)
        if self.reference is None:
            return attrs.evolve(clean, prototypes=m, within=within)
        prototypes, rounding = self.reference.means(m)
        return attrs.evolve(
            clean,
            prototypes=prototypes,
            rounding=rounding,
            within=self._unit_square * within,
            reference=self.reference.base or self.reference,
        )

    def kernel(self) -> Kernel:
        """Return the linear form, for tight states the residual form; rows for what has neither."""
        if not self._is_linear:
            return RowKernel(self)
        linear = super().kernel()
        if not isinstance(linear, LinearKernel) or self.reference is None:
            return linear
        within = np.zeros(len(linear.eta)) if self.within is None else self.within
        error = np.finfo(float).eps * self.reference.extent**2 * self._unit_square
        residual = error > LARGEST_ERROR * within
        if not residual.any():
            return linear
        centre = np.where(residual[:, None], self._known(), self.reference.centre)
        low = np.zeros_like(centre) if self.rounding is None else self.rounding
        low = np.where(residual[:, None], low, 0.0)
        return ResidualPrototypes(linear, self.reference.of_states(centre, low), residual)

    # -- the policy for states without rows ----------------------------------------------------

    def keep(self, old: Self, states: Array) -> Self:
        return attrs.evolve(super().keep(old, states), vacant=states)

    def relocate(self, rows: Array) -> Self:
        """Return this distribution with its vacant states moved to ``rows`` ``(m, d)``."""
        assert self.vacant is not None
        states = np.flatnonzero(self.vacant)[: len(rows)]
        prototypes = self._known().copy()
        before = self.dissimilarity_.between(_in_floats(rows), prototypes).min(axis=1)
        prototypes[states] = rows
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


@attrs.frozen(eq=False)
class ResidualPrototypes(Kernel):
    """The second tier for prototypes: squared distances of some states from residuals x - m.

    z.z - 2 m.z + m.m loses the digits of a distance that is small beside the extent of the data;
    residuals do not, and their moments make the next prototypes. The price is a loop over these
    states.
    """

    linear: LinearKernel
    reference: Reference  # centred at the prototypes of these states
    residual: Array  # (K,), which states

    def on(self, value: Array) -> Attached:
        return _AttachedPrototypes(self, _in_floats(value), self.linear.on(value))

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        linear = self.linear
        value, size = expected_under(linear.dist, linear.eta, linear.log_normaliser, record)
        # A residual has an error of eps times the values it is made of; it enters twice.
        reach = self.reference.extent * float(self.reference.scale[0])
        spread = np.sqrt(np.abs(record.total[:, -1]) * record.weight) * self.reference.scale[0]
        return value, size + 2 * reach * float(spread[self.residual].sum())

    def record_for(self, old: Kernel) -> Kernel | None:
        before = getattr(old, "residual", np.zeros_like(self.residual))
        return RecordingKernel(old, self) if (self.residual & ~before).any() else None


@attrs.frozen(eq=False)
class _AttachedPrototypes(Attached):
    kernel: ResidualPrototypes
    value: Array  # (rows, d)
    linear: Attached

    def _residuals(self) -> Iterator[tuple[Any, Array]]:
        """Yield each state in residual form with x - m, ``(rows, d)``."""
        reference = self.kernel.reference
        assert reference.centres is not None
        assert reference.low is not None
        for state in np.flatnonzero(self.kernel.residual):
            yield state, (self.value - reference.centres[state]) - reference.low[state]

    def log_density(self) -> Array:
        log_density = self.linear.log_density()
        for state, residuals in self._residuals():
            np.einsum("nd,nd->n", residuals, residuals, out=log_density[state])
            log_density[state] *= -1.0
        return log_density

    def record(self, weights: Array) -> Statistics:
        total = self.linear.record(weights).total.copy()
        for state, residuals in self._residuals():
            residuals /= self.kernel.reference.scale
            total[state, :-1] = weights[state] @ residuals
            total[state, -1] = weights[state] @ np.einsum("nd,nd->n", residuals, residuals)
        return Statistics(weights.sum(axis=1), total, 0.0, self.kernel.reference)


def _in_floats(value: Array) -> Array:
    """Return values in double precision: differences of narrow integers wrap around."""
    return value.astype(float, copy=False)


@attrs.frozen(eq=False)
class Choice(Distribution):
    """A free choice among states, each of log-weight 0: the latent of K-means.

    It is no probability distribution, and only makes sense under hard assignment. It leaves the
    objective to the dissimilarities alone, so that F = -J exactly.

    Parameters
    ----------
    n_states : int

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.Choice(3).log_prob(np.array([0, 2]))
    array([0., 0.])
    """

    requires_hard: ClassVar[bool] = True

    n_states: int = attrs.field()

    @n_states.validator
    def _check_states(self, attribute: Any, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ModelError(
                f"Choice: n_states must be a whole number of at least 1, got {value!r}. "
                "Give the number of states."
            )

    @property
    def parameters(self) -> dict[str, Array | None]:
        return {}

    @property
    def n_parameters(self) -> int:
        """None."""
        return 0

    def log_prob(self, value: Array) -> Array:
        return np.zeros(len(value))

    def fit(self, value: Array, weights: Array) -> Self:
        return self
