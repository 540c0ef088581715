"""The Gaussian, of any dimension and covariance structure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import Distribution, ExponentialFamily
from latentem.distributions.checks import check_floor, check_moments, check_real, naming
from latentem.distributions.covariance import STRUCTURES, Full, Structure, exceeds
from latentem.distributions.gaps import GappedKernel
from latentem.distributions.gaussian_kernel import ResidualKernel
from latentem.distributions.kernels import Kernel, LinearKernel, TemplateKernel
from latentem.distributions.records import Statistics
from latentem.distributions.reference import SMALLEST_SCALE, Reference, squared_distances
from latentem.distributions.whitening import LOG_2PI, whiten
from latentem.errors import ModelError, Unsuitable

# Error allowed in a log-density before a state leaves the statistics form for the residual form.
LARGEST_ERROR = 1e-8
# Beyond this many statistics, and with few states, whitening each state is faster.
MANY_STATISTICS = 1000


def _covariance_or_structure(covariance: Any) -> Array | Structure | None:
    if isinstance(covariance, Structure):
        return covariance
    if covariance is None or isinstance(covariance, str):
        if covariance not in STRUCTURES:
            names = ", ".join(map(repr, STRUCTURES))
            raise ModelError(
                f"Gaussian: covariance must be one of {names}, or an array of matrices, "
                f"got {covariance!r}. Choose one of these."
            )
        return STRUCTURES[covariance]
    return as_float_array(covariance)


def _structure(structure: Any) -> Structure | None:
    chosen = None if structure is None else _covariance_or_structure(structure)
    if chosen is not None and not isinstance(chosen, Structure):
        raise ModelError(
            f"Gaussian: structure must be one of {', '.join(map(repr, STRUCTURES))}, "
            f"got {structure!r}. Choose one of these."
        )
    return chosen


@attrs.frozen(eq=False, repr=False)
class Gaussian(ExponentialFamily):
    r"""Gaussian of dimension d.

    .. math:: \log p(x \mid k) = -\tfrac12 \left( d \log 2\pi + \log|\Sigma_k|
              + (x - \mu_k)^\top \Sigma_k^{-1} (x - \mu_k) \right)

    With :math:`T(x) = (x, x x^\top)` the maximiser is :math:`\mu_k = \bar x_k` and
    :math:`\Sigma_k = \overline{x x^\top}_k - \mu_k \mu_k^\top`, the means being weighted by the
    responsibilities (Bishop, Pattern Recognition and Machine Learning, 2006, eqs 9.24 and 9.25).

    Statistics are taken about the centre of the data and in units of its scale; where a state is so
    tight that they would still lose digits, its own mean is the centre.

    Parameters
    ----------
    mean : array, (\*parents, d), optional
    covariance : {"full", "diagonal", "spherical"} or array, (\*parents, d, d)
        The structure to fit, or known covariance matrices.
    shared : bool
        One covariance for all states: the pooled within-state one.
    floor : float
        Smallest allowed eigenvalue of a covariance, in units of the data's variance (column by
        column). The fit is the exact maximiser under this constraint, and says when it is active.
    structure : str, optional
        The structure of the matrices given as ``covariance``, used if they are fitted again.

    Raises
    ------
    ModelError
        If a covariance is not symmetric and positive definite, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> x = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
    >>> g = lem.Gaussian().fit(x, np.ones(4))
    >>> g.mean
    array([1., 2.])
    >>> g.covariance
    array([[1., 0.],
           [0., 4.]])
    """

    trailing_axes: ClassVar[Mapping[str, int]] = {"mean": 1, "covariance": 2}
    takes_gaps: ClassVar[bool] = True

    mean: Array | None = attrs.field(default=None, converter=as_float_array)
    covariance: Any = attrs.field(default="full", converter=_covariance_or_structure)
    shared: bool = attrs.field(default=False, kw_only=True)
    floor: float = attrs.field(default=1e-13, kw_only=True, validator=check_floor)
    structure: Structure | None = attrs.field(default=None, kw_only=True, converter=_structure)
    reference: Reference | None = attrs.field(default=None, kw_only=True)
    # mean + rounding is the mean to twice the precision, for data far from the origin.
    rounding: Array | None = attrs.field(default=None, kw_only=True)
    at_floor: Array | None = attrs.field(default=None, kw_only=True)
    # W with W'W = covariance^-1, to more digits than a covariance close to singular allows, and
    # log|covariance| / 2; with the covariance they belong to: for any other they do not count.
    whitening: Array | None = attrs.field(default=None, kw_only=True)
    log_root: Array | None = attrs.field(default=None, kw_only=True)
    whitened: Array | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.structure is None:
            known = isinstance(self.covariance, Structure)
            object.__setattr__(self, "structure", self.covariance if known else Full())
        if self.reference is None:  # given by a user, not by a maximiser
            check_moments(self.mean, self.parameters["covariance"])

    def __repr__(self) -> str:
        shared = ", shared=True" if self.shared else ""
        if not self.is_parameterised:
            return f'Gaussian(covariance="{self.form.name}"{shared})'
        return f"Gaussian(mean={self.mean!r}, covariance={self.covariance!r}{shared})"

    # -- parameters ----------------------------------------------------------------------------

    @property
    def form(self) -> Structure:
        """The covariance structure."""
        assert self.structure is not None
        return self.structure

    @property
    def parameters(self) -> dict[str, Array | None]:
        covariance = None if isinstance(self.covariance, Structure) else self.covariance
        return {"mean": self.mean, "covariance": covariance}

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        names = ("rounding", "at_floor", "whitening", "log_root", "whitened")
        return {**self.parameters, **{name: getattr(self, name) for name in names}}

    def known(self) -> tuple[Array, Array]:
        mean, covariance = self.parameters.values()
        if mean is None or covariance is None:
            raise ModelError(
                "Gaussian must have a mean and a covariance to be evaluated or sampled, "
                "got a template. Fit it, or give both."
            )
        return mean, covariance

    @property
    def n_parameters(self) -> int:
        """Free parameters: the means, and the covariances (one if shared)."""
        mean, _ = self.known()
        d = mean.shape[-1]
        n_covariances = 1 if self.shared else mean.size // d
        return mean.size + n_covariances * self.form.n_moments(d)

    def keep(self, old: Self, states: Array) -> Self:
        new = self
        if self.whitening is None and old.whitening is not None:
            assert old.log_root is not None
            nothing = np.zeros_like(old.whitening)  # belongs to no covariance
            new = attrs.evolve(
                self, whitening=nothing, log_root=np.zeros_like(old.log_root), whitened=nothing
            )
        kept = super(Gaussian, new).keep(old, states)
        # A shared covariance is pooled over the states with weight; it belongs to all.
        return attrs.evolve(kept, covariance=self.covariance) if self.shared else kept

    def started_from(self, other: Distribution) -> Self:
        started = super().started_from(other)
        covariance = started.parameters["covariance"]
        if covariance is not None and not self.form.allows(covariance):
            raise Unsuitable(
                f"start from a {self.form.name} covariance",
                f"{covariance.tolist()}",
                f"Give matrices of this structure, or declare another than {self.form.name}.",
            )
        return started

    def feasible(self) -> Self:
        if self.reference is None or not self.is_parameterised:
            return self
        z_mean, _, _ = self.standard_form()
        _, covariance = self.known()
        covariance = covariance / self.reference.scale / self.reference.scale[:, None]
        if exceeds(covariance, self.floor):
            return self
        return self._from_roots(z_mean, covariance, np.ones(z_mean.shape[:-1]))

    @property
    def at_constraint(self) -> bool:
        return self.at_floor is not None and bool(self.at_floor.any())

    @property
    def events(self) -> tuple[str, ...]:
        if self.at_floor is None or not self.at_floor.any():
            return ()
        states = ", ".join(map(str, np.flatnonzero(self.at_floor)))
        return (
            f"the covariance of state {states} is at its floor, "
            f"{self.floor:g} of the variance of the data",
        )

    # -- data ----------------------------------------------------------------------------------

    def check(self, value: Array) -> Array:
        array = check_real(value)
        if array.ndim == 1:
            array = array[:, None]
        if array.ndim != 2 or array.shape[1] == 0:
            raise Unsuitable("have rows of vectors, shape (n, d)", f"shape {value.shape}")
        if self.mean is not None and array.shape[1] != self.mean.shape[-1]:
            d = self.mean.shape[-1]
            raise Unsuitable(
                f"have {d} column{'s' if d > 1 else ''} because {{node}} is a Gaussian of "
                f"dimension {d}",
                f"shape {value.shape}",
            )
        return array

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        return attrs.evolve(self, reference=Reference.of(value, self.form, weights))

    def check_fit(self) -> None:
        if self.reference is None:
            return
        spread = self.form.common_scale(self.reference.spread)
        constant = np.flatnonzero(spread < SMALLEST_SCALE)
        if len(constant):
            columns = ", ".join(map(str, constant))
            raise Unsuitable(
                "vary in every column because the likelihood of {node} has no maximum where the "
                "variance is zero",
                f"a constant column ({columns})",
                "Drop that column, or fix its parameters.",
            )

    def dissimilarity(self, value: Array, other: Array) -> Array:
        reference = self.reference or Reference.of(value, self.form)
        return squared_distances(reference.standardise(value), reference.standardise(other))

    # -- exponential family --------------------------------------------------------------------

    def statistics(self, value: Array) -> Array:
        d = value.shape[1]
        out = np.empty((d + self.form.n_moments(d), len(value)))
        self.statistics_into(out, value)
        return out.T

    def statistics_into(self, out: Array, value: Array) -> None:
        d = value.shape[1]
        if self.reference is None:
            out[:d] = value.T
        else:
            self.reference.standardise_into(out[:d], value)
        self.form.moments_into(out[d:], out[:d])

    def _whitened(self) -> tuple[Array, Array]:
        """Return W with W'W = covariance^-1, and log|covariance| / 2."""
        mean, covariance = self.known()
        scale = np.ones(mean.shape[-1]) if self.reference is None else self.reference.scale
        whitening, log_root = whiten(covariance / scale / scale[:, None])
        whitening, log_root = whitening / scale, log_root + np.log(scale).sum()
        if self.whitening is not None and self.log_root is not None:
            known = np.all(self.whitened == covariance, axis=(-2, -1))
            whitening = np.where(known[..., None, None], self.whitening, whitening)
            log_root = np.where(known, self.log_root, log_root)
        return whitening, log_root

    def standard_form(self) -> tuple[Array, Array, Array]:
        """Return mean and whitening W about the reference, and log|covariance| / 2."""
        mean, _ = self.known()
        whitening, log_root = self._whitened()
        if self.reference is None:
            return mean, whitening, log_root
        rounding = 0.0 if self.rounding is None else self.rounding
        mean = self.reference.standardise_means(mean, rounding)
        return mean, whitening * self.reference.scale, log_root

    def natural_parameters(self) -> tuple[Array, Array]:
        return self._natural(*self.standard_form())

    def _natural(self, mean: Array, whitening: Array, log_root: Array) -> tuple[Array, Array]:
        """Return eta and A of -|W (z - m)|^2 / 2 - log_root, with z = root y."""
        reference = self.reference
        white_mean = (whitening @ mean[..., None])[..., 0]
        if reference is not None and reference.root is not None:
            whitening = whitening @ reference.root
        transposed = np.swapaxes(whitening, -1, -2)
        linear = (transposed @ white_mean[..., None])[..., 0]
        quadratic = self.form.coefficients(transposed @ whitening)
        eta = np.concatenate([linear, quadratic], axis=-1)
        half_d_log_2pi = 0.5 * mean.shape[-1] * LOG_2PI
        return eta, 0.5 * np.square(white_mean).sum(-1) + log_root + half_d_log_2pi

    def from_mean(self, mean: Array, weight: Array) -> Self:
        d = self.reference.centre.size if self.reference else _dimension(mean, self.form)
        first, second = mean[..., :d], mean[..., d:]
        covariance = self.form.covariance(second, first)
        if self.reference is None or self.reference.root is None:
            if self.shared:
                pooled = np.tensordot(weight, covariance, axes=weight.ndim) / weight.sum()
                covariance = np.broadcast_to(pooled, covariance.shape)
            if exceeds(covariance, self.floor):
                return self._at(first, covariance)
        return self._from_roots(first, covariance, weight)

    def _from_roots(self, first: Array, covariance: Array, weight: Array) -> Self:
        """Return the maximiser of moments of y, z = root y; in square roots throughout.

        A covariance close to singular loses its small eigenvalues in sums and products, its square
        root only half as many digits; so the root is carried over to the next step. Eigenvalues
        below the floor are set to it. For a sample covariance with eigenvalues l_i, minus the
        log-likelihood is the sum of log s_i + l_i / s_i over eigenvalues s_i, which under
        s_i >= floor is least at s_i = max(l_i, floor).
        """
        reference = self.reference
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
        if reference is not None and reference.root is not None:
            root = reference.root @ root
            first = (reference.root @ first[..., None])[..., 0]
        if self.shared:
            flat = root.reshape(-1, *root.shape[-2:])
            share = np.sqrt(weight.reshape(-1) / weight.sum())
            pooled = np.concatenate(list(share[:, None, None] * flat), axis=-1)  # (d, K d)
            root = np.broadcast_to(pooled, (*weight.shape, *pooled.shape))
        directions, sizes, _ = np.linalg.svd(root, full_matrices=False)
        at_floor = np.asarray((sizes**2 < self.floor).any(axis=-1))
        sizes = np.maximum(sizes, np.sqrt(self.floor))
        z_root = directions * sizes[..., None, :]
        z_covariance = z_root @ np.swapaxes(z_root, -1, -2)
        z_covariance = 0.5 * (z_covariance + np.swapaxes(z_covariance, -1, -2))
        new = self._at(first, z_covariance)
        scale = 1.0 if reference is None else reference.scale
        matrix = np.swapaxes(directions, -1, -2) / sizes[..., :, None] / scale
        log_root = np.log(sizes).sum(-1) + np.log(scale).sum()
        return attrs.evolve(
            new, at_floor=at_floor, whitening=matrix, log_root=log_root, whitened=new.covariance
        )

    def _at(self, z_mean: Array, z_covariance: Array) -> Self:
        """Return the distribution with these moments in units of the reference."""
        reference = self.reference
        if reference is None:
            return attrs.evolve(
                self, mean=z_mean, covariance=z_covariance, at_floor=None, whitening=None
            )
        mean, rounding = reference.means(z_mean)
        return attrs.evolve(
            self,
            mean=mean,
            rounding=rounding,
            covariance=z_covariance * reference.scale * reference.scale[:, None],
            at_floor=None,
            whitening=None,
            reference=reference.base or reference,
        )

    def directions(self) -> list[dict[str, Array]]:
        """Means and covariances in units of the covariance's root L: mu + L e, Sigma + L E L'.

        In these Q is equally curved in all directions. A covariance at its floor stays there.
        """
        mean, covariance = self.known()
        root = np.linalg.inv(whiten(covariance)[0])  # (*parents, d, d)
        states = list(np.ndindex(mean.shape[:-1]))
        found = [
            {"mean": _at_state(mean.shape, state, column)}
            for state in states
            for column in root[state].T
        ]
        for state in states[:1] if self.shared else states:
            if self.at_floor is not None and self.at_floor[state]:
                continue
            for basis in self.form.directions(mean.shape[-1]):
                move = root[state] @ basis @ root[state].T
                where = ... if self.shared else state
                found.append({"covariance": _at_state(covariance.shape, where, move)})
        return found

    def from_statistics(self, record: Statistics) -> Self:
        # The record may be about a centre of its own for each state.
        return super(Gaussian, self.about(record.reference)).from_statistics(record)

    def about(self, reference: Reference | None) -> Self:
        return self if reference is self.reference else attrs.evolve(self, reference=reference)

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``, in residual form."""
        mean, _ = self.known()
        parents, d = mean.shape[:-1], mean.shape[-1]
        with naming("Gaussian"):
            value = self.check(np.asarray(value))
        rounding = np.zeros_like(mean) if self.rounding is None else self.rounding
        whitening, log_root = self._whitened()
        columns = [
            -0.5 * np.square(w @ ((value - m) - low).T).sum(axis=0)
            for w, m, low in zip(
                whitening.reshape(-1, d, d),
                mean.reshape(-1, d),
                rounding.reshape(-1, d),
                strict=True,
            )
        ]
        log_prob = np.stack(columns, axis=1).reshape(len(value), *parents)
        return np.asarray(log_prob - (log_root + 0.5 * d * LOG_2PI))

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one vector for each state index, ``(n, d)``."""
        mean, covariance = self.known()
        values, vectors = np.linalg.eigh(covariance)  # which never fails, as Cholesky's root may
        root = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
        noise = rng.standard_normal((len(state), mean.shape[-1]))
        draws: Array = mean[state] + np.einsum("nij,nj->ni", root[state], noise)
        return draws

    def expected_value(self) -> Array:
        """Return the means, ``(*parents, d)``."""
        return self.known()[0]

    def completed(self, value: Array, weights: Array) -> Array:
        return self.gapped_kernel().on(value).completed(weights)

    def completed_by_draws(self, value: Array, state: Array, rng: np.random.Generator) -> Array:
        return self.gapped_kernel().on(value).drawn(state, rng)

    # -- kernels -------------------------------------------------------------------------------

    def kernel(self) -> Kernel:
        """Return the statistics form, or for tight states or many columns the residual form."""
        if not self.is_parameterised:
            return TemplateKernel(self)
        if self.reference is None:
            return attrs.evolve(self, reference=_about_own_mean(self)).kernel()
        mean, whitening, log_root = self.standard_form()
        eta, log_normaliser = self._natural(mean, whitening, log_root)
        linear = LinearKernel(self, eta, log_normaliser)
        largest_precision = np.square(whitening).sum(axis=-2).max(axis=-1)
        error = np.finfo(float).eps * self.reference.extent**2 * largest_precision
        residual = error > LARGEST_ERROR
        if eta.shape[1] > MANY_STATISTICS and len(eta) < 16:
            residual[:] = True
        if not residual.any():
            return linear
        constant = -(log_root + 0.5 * mean.shape[-1] * LOG_2PI)
        x_mean, _ = self.known()
        low = np.zeros_like(x_mean) if self.rounding is None else self.rounding
        reference = self.reference.of_states(
            np.where(residual[:, None], x_mean, self.reference.centre),
            np.where(residual[:, None], low, 0.0),
            np.where(residual[:, None, None], np.linalg.inv(whitening), np.eye(mean.shape[-1])),
        )
        return ResidualKernel(linear, reference, residual, whitening, constant)

    def gapped_kernel(self) -> GappedKernel:
        """Return the kernel for values with gaps."""
        mean, _ = self.known()
        assert self.reference is not None  # taken from the data that have the gaps
        low = np.zeros_like(mean) if self.rounding is None else self.rounding
        _, whitening, _ = self.standard_form()
        reference = self.reference.of_states(mean, low, np.linalg.inv(whitening))
        return GappedKernel(self, reference, whitening)


def _at_state(shape: tuple[int, ...], state: Any, change: Array) -> Array:
    """Return an array that is a change at one state, or all (``...``), and 0 elsewhere."""
    move = np.zeros(shape)
    move[state] = change
    return move


def _dimension(moments: Array, form: Structure) -> int:
    """Return d, given p = d + q(d)."""
    p = moments.shape[-1]
    return next(d for d in range(1, p + 1) if d + form.n_moments(d) == p)


def _about_own_mean(dist: Gaussian) -> Reference:
    """Return a reference for a Gaussian that has met no data: the spread of its own states."""
    mean, covariance = dist.known()
    d = mean.shape[-1]
    flat = mean.reshape(-1, d)
    variance = np.diagonal(covariance, axis1=-2, axis2=-1).reshape(-1, d)
    scale = dist.form.common_scale(np.sqrt(variance.mean(axis=0)))
    extent = np.max(np.abs(flat - flat.mean(axis=0)) / scale) + 10.0
    return Reference(flat.mean(axis=0), scale, scale, float(extent))
