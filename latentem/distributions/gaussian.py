"""The Gaussian, of any dimension and covariance structure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array, change_at
from latentem.distributions.base import Distribution, ExponentialFamily, renewed
from latentem.distributions.checks import (
    as_names,
    check_floor,
    check_held,
    check_moments,
    check_real,
    counted,
    naming,
)
from latentem.distributions.covariance import (
    Full,
    Structure,
    exceeds,
    structure_named,
    structure_or_matrices,
)
from latentem.distributions.formulas import Formulas
from latentem.distributions.gap_statistics import GappedColumns, GappedStatistics
from latentem.distributions.gaps import GappedKernel
from latentem.distributions.gaussian_kernel import (
    ResidualKernel,
    SharedKernel,
    WhiteningKernel,
    WideLinearKernel,
)
from latentem.distributions.kernels import Kernel, LinearKernel, TemplateKernel
from latentem.distributions.priors import NormalInverseWishart, refuse_prior
from latentem.distributions.records import Record, Statistics, check_finite, nothing_to_fit
from latentem.distributions.reference import SMALLEST_SCALE, Reference, squared_distances
from latentem.distributions.structure import Eigen
from latentem.distributions.whitening import LOG_2PI, whiten
from latentem.errors import DegenerateError, ModelError, Unsuitable
from latentem.kernels.compiled import is_loaded
from latentem.kernels.expected import Standardised, columns_and_products
from latentem.kernels.moments import natural_of_covariances, natural_of_moments
from latentem.kernels.steps import DIAGONAL, FULL, ClosedForm

# Error allowed in a log-density before a state leaves the statistics form for the residual form.
LARGEST_ERROR = 1e-8
# States that an event lists.
MOST_LISTED = 10
# Beyond this many statistics, and with fewer states than these, whitening each state is faster; in
# compiled loops, beyond fewer statistics: a tile of more would not fit into a core's second cache.
MANY_STATISTICS, FEW_STATES = 1000, 16
MANY_COMPILED = 500
#: Columns up to which the compiled kernel, one state after another, is quicker than LAPACK.
FEW_COMPILED = 16


def _covariance(given: Any) -> Structure | Array | None:
    return structure_or_matrices(given, "Gaussian: covariance")


def _structure(given: Any) -> Structure | None:
    return structure_named(given, "Gaussian: structure")


@attrs.frozen(eq=False, repr=False)
class Gaussian(ExponentialFamily):
    r"""Gaussian of dimension d.

    .. math:: {log_density}

    With :math:`{statistics}` the maximiser is

    .. math:: {update}

    the means being weighted by the responsibilities (Bishop, Pattern Recognition and Machine
    Learning, 2006, eqs 9.24 and 9.25).

    Statistics are taken about the centre of the data and in units of its scale; where a state is so
    tight that they would still lose digits, its own mean is the centre.

    Parameters
    ----------
    mean : array, (\*parents, d), optional
    covariance : str, Structure or array, (\*parents, d, d)
        The structure to fit, or known covariance matrices. ``"full"``, ``"diagonal"`` and
        ``"spherical"`` ones are each state's own. Three letters say what the states share of
        :math:`\Sigma_k = \lambda_k D_k A_k D_k^\top`, volume, shape and orientation: E, equal; V,
        varying; I, the identity (a sphere, or axes along the columns). So ``"EEE"`` is one matrix
        for all, ``"VEI"`` are diagonal ones in constant proportions, ``"VVE"`` have common
        principal axes. All of them: EII VII EEI VEI EVI VVI EEE VEE EVE VVE EEV VEV EVV VVV. A
        value of `latentem.covariance` says the same in words: ``Full(shape="equal")`` is VEV.
    shared : bool
        With ``"full"``, ``"diagonal"`` or ``"spherical"``, one covariance for all states: the
        pooled within-state one (EEE, EEI, EII).
    prior : NormalInverseWishart, optional
        Of mean and covariance, which are then those of largest posterior density. For structures
        of which the states share all or nothing.
    held : tuple of str
        What is held at its value while the other is fitted, ``("mean",)`` or ``("covariance",)``.
        Follows from giving only one of them, which may be one for all states.
    floor : float
        Smallest allowed eigenvalue of a covariance, in units of the data's variance (column by
        column; of all columns together for spheres, and where a change of one column's unit would
        leave the structure: EEV, VEV, EVE, VVE). The fit is the exact maximiser under this
        constraint, and says when it is active.
    structure : str, optional
        The structure of the matrices given as ``covariance``, used if they are fitted again.

    Raises
    ------
    ModelError
        If a covariance is not symmetric and positive definite or has another structure than the one
        declared, or shapes disagree.

    References
    ----------
    Celeux and Govaert, Gaussian parsimonious clustering models, Pattern Recognition 28, 1995, for
    the structures. Where these share something there may be no closed form: volumes and shapes, and
    common axes, are then iterated to convergence within an M-step (see `latentem.covariance`). The
    equations are in the `own_formulas` of the declaration, ``Gaussian(covariance="VEI")``.

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

    Two states of equal shape, one twice as wide as the other:

    >>> x = np.concatenate([x, 2 * x])
    >>> weights = np.repeat(np.eye(2), 4, axis=0)
    >>> lem.Gaussian(covariance="VEI").fit(x, weights).covariance.round(9)
    array([[[ 1.,  0.],
            [ 0.,  4.]],
    <BLANKLINE>
           [[ 4.,  0.],
            [ 0., 16.]]])
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = -\tfrac12 "
            r"\left( d \log 2\pi + \log |\Sigma_k| "
            r"+ (x - \mu_k)^\top \Sigma_k^{-1} (x - \mu_k) \right)"
        ),
        statistics=r"T(x) = (x, x x^\top)",
        update=(
            r"\hat\mu_k = \overline{x}, \qquad "
            r"\hat\Sigma_k = \frac{\sum_i r_{ik} (x_i - \hat\mu_k) (x_i - \hat\mu_k)^\top}"
            r"{\sum_i r_{ik}}"
        ),
        symbols={r"\mu": "mean", r"\Sigma": "covariance"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"mean": 1, "covariance": 2}
    holdable: ClassVar[tuple[str, ...]] = ("mean", "covariance")
    takes_gaps: ClassVar[bool] = True

    mean: Array | None = attrs.field(default=None, converter=as_float_array)
    covariance: Any = attrs.field(default="full", converter=_covariance)
    shared: bool = attrs.field(default=False, kw_only=True)
    floor: float = attrs.field(default=1e-13, kw_only=True, validator=check_floor)
    structure: Structure | None = attrs.field(default=None, kw_only=True, converter=_structure)
    prior: NormalInverseWishart | None = attrs.field(default=None, kw_only=True)
    held: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_names)
    reference: Reference | None = attrs.field(default=None, kw_only=True)
    # mean + rounding is the mean to twice the precision, for data far from the origin.
    rounding: Array | None = attrs.field(default=None, kw_only=True)
    at_floor: Array | None = attrs.field(default=None, kw_only=True)
    # W with W'W = covariance^-1, to more digits than a covariance close to singular allows, and
    # log|covariance| / 2; with the covariance they belong to: for any other they do not count.
    whitening: Array | None = attrs.field(default=None, kw_only=True)
    log_root: Array | None = attrs.field(default=None, kw_only=True)
    whitened: Array | None = attrs.field(default=None, kw_only=True)

    def __attrs_pre_init__(
        self, mean: Any = None, covariance: Any = "full", shared: bool = False, **_: Any
    ) -> None:
        if shared and isinstance(covariance, str) and covariance.isupper():
            raise ModelError(
                f"Gaussian: shared must be left out because {covariance!r} says what the states "
                "share, got True. Name the structure by its letters, or say shared=True with "
                "'full', 'diagonal' or 'spherical'."
            )

    def __attrs_post_init__(self) -> None:
        structure = self.structure
        if structure is None:
            structure = self.covariance if isinstance(self.covariance, Structure) else Full()
        object.__setattr__(self, "structure", structure.pooled if self.shared else structure)
        if "mean" in self.held and self.rounding is not None:  # what is held is exact
            object.__setattr__(self, "rounding", None)
        _, covariance = self.parameters.values()
        if self.reference is None:  # given by a user, not by a maximiser
            self._check_given(covariance)
        if covariance is None or self.form.is_linear or self._is_whitened:
            return
        if not self.form.allows(covariance):  # a linear one is asked where a fit starts from it
            raise ModelError(
                f"Gaussian: covariance must have the structure {self.form.name}, "
                f"got {covariance.tolist()}. Give such matrices, or declare another structure."
            )

    def _check_given(self, covariance: Array | None) -> None:
        """Raise `ModelError` unless what a user gave makes a Gaussian; hold what is given alone."""
        check_held(self)
        mean = self.mean
        if mean is not None and covariance is None:
            d = mean.shape[-1] if mean.ndim else 1
            unit = np.eye(d) if mean.ndim else np.ones(())
            check_moments(mean, np.broadcast_to(unit, (*mean.shape, d) if mean.ndim else ()))
        elif covariance is not None and mean is None:
            check_moments(np.zeros(covariance.shape[:-1] or 1), covariance)
        else:
            check_moments(mean, covariance)
        if self.prior is not None and not isinstance(self.prior, NormalInverseWishart):
            raise refuse_prior("Gaussian", "NormalInverseWishart", self.prior)
        if self.prior is not None and not self.form.is_linear:
            raise ModelError(
                f"Gaussian: covariance must be shared by all states or by none because it has a "
                f"prior, got {self.form.name}. Use 'full', 'diagonal' or 'spherical', or no prior."
            )

    @property
    def own_formulas(self) -> Formulas | None:
        formulas = super().own_formulas
        if formulas is None:
            return None
        stated = {"diagonal": r"T_j(x) = (x_j, x_j^2)", "spherical": r"T(x) = (x, x^\top x)"}
        statistics = stated.get(self.form.word, formulas.statistics)
        return attrs.evolve(formulas.of_structure(self.form), statistics=statistics)

    def __repr__(self) -> str:
        shared = ", shared=True" if self.shared else ""
        if not self.is_parameterised:
            name = type(self.form)().name if self.shared else self.form.name
            given = f"mean={self.mean!r}, " if self.mean is not None else ""
            if self.parameters["covariance"] is not None:
                return f"Gaussian(covariance={self.covariance!r}{shared})"
            return f'Gaussian({given}covariance="{name}"{shared})'
        return f"Gaussian(mean={self.mean!r}, covariance={self.covariance!r}{shared})"

    # -- parameters ----------------------------------------------------------------------------

    @property
    def form(self) -> Structure:
        """The covariance structure."""
        assert self.structure is not None
        return self.structure

    @property
    def _is_whitened(self) -> bool:
        """Whether the whitening is that of all the covariances."""
        return self.whitened is not None and np.array_equal(self.whitened, self.covariance)

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
        """Free parameters: the means, and what the structure leaves free of the covariances."""
        mean, _ = self.known()
        d = mean.shape[-1]
        means = 0 if "mean" in self.held else mean.size
        matrices = 0 if "covariance" in self.held else self.form.n_parameters(mean.size // d, d)
        return means + matrices

    def keep(self, old: Self, states: Array) -> Self:
        if self.form != type(self.form)():
            # What is shared belongs to all states, those without weight too: only means are kept.
            kept: dict[str, Any] = {
                name: np.where(states[..., None], before, value)
                for name in ("mean", "rounding")
                if (value := getattr(self, name)) is not None
                and (before := getattr(old, name)) is not None
            }
            return attrs.evolve(self, **kept)
        new = self
        if self.whitening is None and old.whitening is not None:
            assert old.log_root is not None
            nothing = np.zeros_like(old.whitening)  # belongs to no covariance
            new = attrs.evolve(
                self, whitening=nothing, log_root=np.zeros_like(old.log_root), whitened=nothing
            )
        return super(Gaussian, new).keep(old, states)

    def started_from(self, other: Distribution) -> Self:
        covariance = other.free.parameters.get("covariance")
        if covariance is not None and not self.form.allows(covariance):
            raise Unsuitable(
                f"start from a {self.form.name} covariance",
                f"{covariance.tolist()}",
                f"Give matrices of this structure, or declare another than {self.form.name}.",
            )
        return super().started_from(other)

    def feasible(self) -> Self:
        if self.reference is None or not self.is_parameterised or "covariance" in self.held:
            return self
        _, covariance = self.known()
        covariance = covariance / self.reference.scale / self.reference.scale[:, None]
        if exceeds(covariance, self.floor):
            return self
        z_mean, _, _ = self.standard_form()
        return self._from_roots(z_mean, covariance, np.ones(z_mean.shape[:-1]))

    @property
    def at_constraint(self) -> bool:
        return self.at_floor is not None and bool(self.at_floor.any())

    @property
    def events(self) -> tuple[str, ...]:
        if self.at_floor is None or not self.at_floor.any():
            return ()
        which = np.flatnonzero(self.at_floor)
        more = f", ... ({len(which)} in all)" if len(which) > MOST_LISTED else ""
        states = ", ".join(map(str, which[:MOST_LISTED])) + more
        return (
            f"the covariance of state {states} is at its floor, "
            f"{self.floor:g} of the variance of the data",
        )

    # -- data ----------------------------------------------------------------------------------

    def check(self, value: Array) -> Array:
        return self._check_columns(check_real(value))

    def check_gapped(self, value: Array) -> Array:
        if type(self).check is not Gaussian.check:  # a subclass asks for more, or changes values
            return super().check_gapped(value)
        return self._check_columns(check_real(value, gapped=True).astype(float, copy=False))

    def _check_columns(self, value: Array) -> Array:
        """Return real values as vectors, or raise `Unsuitable`."""
        array = value[:, None] if value.ndim == 1 else value
        if array.ndim != 2 or array.shape[1] == 0:
            raise Unsuitable("have rows of vectors, shape (n, d)", f"shape {value.shape}")
        known = self.mean if self.mean is not None else self.parameters["covariance"]
        if known is not None and array.shape[1] != known.shape[-1]:
            d = known.shape[-1]
            raise Unsuitable(
                f"have {counted(d, 'column')} because {{node}} is a Gaussian of dimension {d}",
                f"shape {value.shape}",
            )
        return array

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        return renewed(self, reference=Reference.of(value, self.form, weights))

    def check_fit(self) -> None:
        if self.reference is None or self.prior is not None or "covariance" in self.held:
            return
        spread = self.reference.spread
        if self.form.shape == "spherical":  # one column that varies is enough
            spread = self.form.common_scale(spread)
        if (spread >= SMALLEST_SCALE).all():
            return
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

    def euclidean(self, value: Array) -> Standardised | None:
        reference = self.reference or Reference.of(value, self.form)
        return reference.standardised(value)

    # -- exponential family --------------------------------------------------------------------

    def statistics(self, value: Array) -> Array:
        d = value.shape[1]
        out = np.empty((d + self.form.n_moments(d), len(value)))
        self.statistics_into(out, value)
        return out.T

    def statistics_into(self, out: Array, value: Array) -> None:
        d = value.shape[1]
        self._standardise_into(out[:d], value)
        self.form.moments_into(out[d:], out[:d])

    def _standardise_into(self, z: Array, value: Array) -> None:
        if self.reference is None:
            z[...] = value.T
        else:
            self.reference.standardise_into(z, value)

    @property
    def pairs(self) -> Array | None:
        d = self.known()[0].shape[-1]
        return _pairs(self.form, d)

    def factors_into(self, out: Array, value: Array) -> None:
        d = value.shape[1]
        self._standardise_into(out[:d], value)
        if len(out) > d:  # the moments are no products
            self.form.moments_into(out[d:], out[:d])

    def standardised(self, value: Array) -> Standardised | None:
        if self.reference is None or self.form.pairs(value.shape[1]) is None:
            return None
        return self.reference.standardised(value)

    def comparable(self, record: Record) -> Record:
        if isinstance(record, Statistics) and isinstance(record.reference, Reference):
            return record.reference.common(record, self.form)
        return record

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

    def natural_from_mean(self, mean: Array, weight: Array) -> tuple[Array, Array] | None:
        reference, form = self._moments_alone, self.form
        if reference is None:
            return None
        d, largest = reference.centre.size, self._largest_precision(reference)
        if form.word == "full" and is_loaded():
            found = natural_of_moments(mean)
            if found is None or not found[2] <= largest:
                return None
            eta, log_normaliser, _ = found
            return eta, log_normaliser + reference.log_scale
        first = mean[:, :d]
        whitening, log_root = whiten(form.covariance(mean[:, d:], first))
        if not np.square(whitening).sum(axis=-2).max() <= largest:
            return None
        return self._natural(first, whitening, log_root + reference.log_scale)

    def _plain_natural(self) -> tuple[Array, Array] | None:
        """Return eta and A by the compiled kernel, where no state may need another form."""
        reference, (mean, covariance) = self._moments_alone, self.known()
        if reference is None or self.form.word != "full" or not is_loaded():
            return None
        if self.whitening is not None or mean.ndim != 2 or mean.shape[1] > FEW_COMPILED:
            return None
        rounding = 0.0 if self.rounding is None else self.rounding
        standard = reference.standardise_means(mean, rounding)
        found = natural_of_covariances(standard, covariance, reference.scale)
        if found is None or not found[2] <= self._largest_precision(reference):
            return None
        eta, log_normaliser, _ = found
        return eta, log_normaliser + reference.log_scale

    @property
    def closed_form(self) -> ClosedForm | None:
        reference = self._moments_alone
        kind = {"full": FULL, "diagonal": DIAGONAL}.get(self.form.word)
        if reference is None or kind is None:
            return None
        return ClosedForm(kind, reference.log_scale, self._largest_precision(reference))

    @property
    def _moments_alone(self) -> Reference | None:
        """The reference, if each state's maximum follows from its moments about it alone."""
        reference, form = self.reference, self.form
        if reference is None or reference.root is not None or self.held or self.prior is not None:
            return None
        return reference if form.is_linear and not form.is_shared else None

    def _largest_precision(self, reference: Reference) -> float:
        """Return above what some state may be at the floor, or need the residual form.

        A largest diagonal entry of the precisions, d times which no eigenvalue exceeds.
        """
        of_floor = 1.0 / (reference.centre.size * self.floor)
        return min(of_floor, LARGEST_ERROR / float(reference.error(1.0)))

    def from_mean(self, mean: Array, weight: Array) -> Self:
        d = self.reference.centre.size if self.reference else _dimension(mean, self.form)
        first, second = mean[..., :d], mean[..., d:]
        scatter = self.form.covariance(second, first)
        if self.reference is None or self.reference.root is None:
            covariance = self.form.of_scatter(scatter, weight)
            if covariance is not None and self._exceeds_floor(covariance, mean):
                return self._at(first, {"covariance": self._in_units(covariance)})
        return self._from_roots(first, scatter, weight)

    def _exceeds_floor(self, covariance: Array, moments: Array) -> bool:
        """Return whether all eigenvalues of covariances ``(..., d, d)`` of moments do."""
        reference = self._moments_alone
        quick = self.form.word == "full" and moments.ndim == 2 and is_loaded()
        if reference is not None and quick and reference.centre.size <= FEW_COMPILED:
            found = natural_of_moments(moments)
            if found is not None and found[2] <= self._largest_precision(reference):
                return True
        return exceeds(covariance, self.floor)

    def _from_roots(self, first: Array, scatter: Array, weight: Array) -> Self:
        """Return the maximiser of moments of y, z = root y; in square roots throughout.

        A covariance close to singular loses its small eigenvalues in sums and products, its square
        root only half as many digits; so the root is carried over to the next step. Eigenvalues
        stay above the floor. For a sample covariance with eigenvalues l_i, minus the log-likelihood
        is the sum of log s_i + l_i / s_i over eigenvalues s_i, which under s_i >= floor is least at
        s_i = max(l_i, floor); for what the states share see `latentem.distributions.spectra`.
        """
        first, root = self._unrooted(first, _root(scatter))
        old = None
        if self.is_parameterised and not self.form.is_linear:
            old = self._eigen()
            own = old[0] * old[1][..., None, :]
            root = np.where((weight > 0)[..., None, None], root, own)
        return self._at(first, self._of_eigen(*self.form.maximum(root, weight, self.floor, old)))

    def _unrooted(self, first: Array, root: Array) -> tuple[Array, Array]:
        """Return means and roots of moments of y, z = root y, as those of z."""
        own = None if self.reference is None else self.reference.root
        return (first, root) if own is None else ((own @ first[..., None])[..., 0], own @ root)

    def _in_units(self, z_covariance: Array) -> Array:
        """Return a covariance in units of the data."""
        if self.reference is None:
            return z_covariance
        return z_covariance * self.reference.scale * self.reference.scale[:, None]

    def _of_eigen(self, axes: Array, sizes: Array) -> dict[str, Any]:
        """Return the fields of covariances with these axes and deviations, in standard units."""
        z_root = axes * sizes[..., None, :]
        z_covariance = z_root @ np.swapaxes(z_root, -1, -2)
        covariance = self._in_units(0.5 * (z_covariance + np.swapaxes(z_covariance, -1, -2)))
        scale = 1.0 if self.reference is None else self.reference.scale
        # Rounding may have taken an eigenvalue at the floor by a little above it.
        at_floor = (sizes <= np.sqrt(self.floor) * (1 + 1e-14)).any(axis=-1)
        return {
            "covariance": covariance,
            "whitening": np.swapaxes(axes, -1, -2) / sizes[..., :, None] / scale,
            "log_root": np.log(sizes).sum(-1) + np.log(scale).sum(),
            "whitened": covariance,
            "at_floor": np.asarray(at_floor),
        }

    def _eigen(self) -> Eigen:
        """Return axes and deviations of the covariances in standard units, to all their digits."""
        _, covariance = self.known()
        scale = np.ones(covariance.shape[-1]) if self.reference is None else self.reference.scale
        if self._is_whitened and self.whitening is not None:
            rows = self.whitening * scale
            precision = np.linalg.norm(rows, axis=-1)
            return np.swapaxes(rows / precision[..., None], -1, -2), 1.0 / precision
        root = _root(covariance / scale / scale[:, None])
        return self.form.maximum(root, np.ones(root.shape[:-2]), self.floor)

    def _at(self, z_mean: Array, covariances: dict[str, Any]) -> Self:
        """Return the distribution with these means in units of the reference, and covariances."""
        changes: dict[str, Any] = {"at_floor": None, "whitening": None, **covariances}
        if self.reference is None:
            if "mean" not in self.held:
                changes["mean"] = z_mean
            return attrs.evolve(self, **changes)
        if "mean" not in self.held:
            changes["mean"], changes["rounding"] = self.reference.means(z_mean)
        reference = self.reference.base or self.reference
        return renewed(self, reference=reference, **changes)

    def directions(self) -> list[dict[str, Array]]:
        """Means and covariances in units of the covariance's root L: mu + L e, Sigma + L E L'.

        In these Q is equally curved in all directions. A covariance at its floor stays there.
        """
        mean, covariance = self.known()
        d = mean.shape[-1]
        flat = self.flatten(mean.shape[:-1])
        axes, sizes = flat._eigen()
        scale = np.ones(d) if self.reference is None else self.reference.scale
        root = (axes * sizes[:, None, :] * scale[:, None]).reshape(covariance.shape)
        found = [
            {"mean": change_at(mean.shape, state, column)}
            for state in np.ndindex(mean.shape[:-1])
            for column in root[state].T
            if "mean" not in self.held
        ]
        if "covariance" in self.held:
            return found
        free = np.ones(len(sizes), bool) if flat.at_floor is None else ~flat.at_floor
        moves = self.form.moves(axes, sizes, free)
        found += [{"covariance": self._in_units(m).reshape(covariance.shape)} for m in moves]
        return found

    def moved(self, direction: Mapping[str, Array], step: float) -> Self:
        if self.form.is_linear or "covariance" not in direction:
            return super().moved(direction, step)
        # Along a curved structure: to the nearest matrices of it.
        scale = (
            np.ones(self.known()[0].shape[-1]) if self.reference is None else self.reference.scale
        )
        covariance = self.covariance + step * direction["covariance"]
        d = covariance.shape[-1]
        flat = self.flatten(covariance.shape[:-2])
        root = _root((covariance / scale / scale[:, None]).reshape(-1, d, d))
        eigen = self.form.maximum(root, np.ones(len(root)), self.floor, flat._eigen())
        moved = attrs.evolve(flat, **self._of_eigen(*eigen)).unflatten(covariance.shape[:-2])
        rest = {name: change for name, change in direction.items() if name != "covariance"}
        return moved if not rest else moved.moved(rest, step)

    def from_statistics(self, record: Statistics) -> Self:
        # The record may be about a centre of its own for each state.
        about = self.about(record.reference)
        if self.prior is not None or self.held:
            return check_finite(about._constrained(record))
        return super(Gaussian, about).from_statistics(record)

    @property
    def log_prior(self) -> float:
        if self.prior is None or not self.is_parameterised:
            return 0.0
        return self.prior.log_density(*self.known(), shared=self.form.volume == "equal")

    def _constrained(self, record: Statistics) -> Self:
        """Return the maximiser where there is a prior, or the mean or covariance is held.

        With N rows of mean z and scatter N R R', the deviations of z from other means are added to
        the scatter, as are those from the prior's, and its scale; all by further columns of R.
        """
        n = record.weight
        empty = ~(n > 0)
        moments = record.total / np.where(empty, 1.0, n)[:, None]
        d = self.reference.centre.size if self.reference else _dimension(moments, self.form)
        scatter = self.form.covariance(moments[:, d:], moments[:, :d])
        first, root = self._unrooted(moments[:, :d], _root(scatter))
        root = np.where(empty[:, None, None], 0.0, root)
        old = self.mean if self.mean is None else self._standard_mean(self.mean, self.rounding)
        if empty.any() and old is None and (self.prior is None or not self.prior.weight):
            raise DegenerateError(nothing_to_fit(empty))
        if old is not None:
            first = np.where(empty[:, None], old, first)
        mean = old if old is not None and "mean" in self.held else first
        weight, columns = n, list[Array]()
        if self.prior is not None:
            mean, weight, columns = self._under(self.prior, mean, n)
        if "covariance" in self.held:
            return self._at(mean, {"covariance": self.covariance})
        rows = np.concatenate([root, (first - mean)[..., None]], axis=-1)
        whole = np.concatenate([np.sqrt(n)[:, None, None] * rows, *columns], axis=-1)
        share = np.where(weight > 0, weight, 1.0)[:, None, None]
        new = self._at(
            mean, self._of_eigen(*self.form.maximum(whole / np.sqrt(share), weight, self.floor))
        )
        unknown = ~(weight > 0)
        if unknown.any() and not self.is_parameterised:
            raise DegenerateError(nothing_to_fit(unknown))
        return new.keep(self, unknown) if unknown.any() else new

    def _under(
        self, prior: NormalInverseWishart, mean: Array, n: Array
    ) -> tuple[Array, Array, list[Array]]:
        """Return the means under a prior, how many rows count with it, and what it adds to roots.

        ``mean`` is that of n rows, or held. What is added is how far the means are from the
        prior's, and the prior's scale: whole for each state, or shared out where all have one.
        """
        d, scale = mean.shape[-1], 1.0 if self.reference is None else self.reference.scale
        if prior.mean.size != d:
            raise ModelError(
                f"Gaussian: prior must be of dimension {d} because the values are, got one of "
                f"dimension {prior.mean.size}. Give a mean of {d} numbers and a scale."
            )
        kappa, expected = prior.weight, self._standard_mean(prior.mean, None)
        if "mean" not in self.held:
            pull = kappa / np.where(n + kappa > 0, n + kappa, 1.0)
            mean = mean + pull[:, None] * (expected - mean)
        once = 1.0 / len(n) if self.form.volume == "equal" else 1.0
        own = np.sqrt(once) * np.linalg.cholesky(prior.scale / np.outer(scale, scale))
        roots = [(np.sqrt(kappa) * (mean - expected))[..., None], np.tile(own, (len(n), 1, 1))]
        return mean, n + (kappa > 0) + once * (prior.df + d + 1), roots

    def standard_mean(self) -> Array:
        """Return the means as those of the values whose moments are taken, y with z = root y."""
        assert self.mean is not None
        mean = self._standard_mean(self.mean, self.rounding)
        if self.reference is None or self.reference.root is None:
            return mean
        return np.asarray(np.linalg.solve(self.reference.root, mean[..., None])[..., 0])

    def _standard_mean(self, mean: Array, rounding: Array | None) -> Array:
        """Return means in units of the reference."""
        if self.reference is None:
            return mean
        return self.reference.standardise_means(mean, 0.0 if rounding is None else rounding)

    def about(self, reference: Reference | None) -> Self:
        return self if reference is self.reference else renewed(self, reference=reference)

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
        root = _root(covariance)  # which never fails, as Cholesky's may
        noise = rng.standard_normal((len(state), mean.shape[-1]))
        draws: Array = mean[state] + np.einsum("nij,nj->ni", root[state], noise)
        return draws

    def expected_value(self) -> Array:
        """Return the means, ``(*parents, d)``."""
        return self.known()[0]

    def completed(self, value: Array, weights: Array) -> Array:
        return self.residual_gapped_kernel().on(value).completed(weights)

    def completed_by_draws(self, value: Array, state: Array, rng: np.random.Generator) -> Array:
        return self.residual_gapped_kernel().on(value).drawn(state, rng)

    # -- kernels -------------------------------------------------------------------------------

    def kernel(self) -> Kernel:
        """Return the statistics form, or for tight states or many columns the residual form."""
        if not self.is_parameterised:
            return TemplateKernel(self)
        if self.reference is None:
            return attrs.evolve(self, reference=_about_own_mean(self)).kernel()
        plain = self._plain_natural()
        if plain is not None:
            return LinearKernel(self, *plain, is_free=True)
        mean, whitening, log_root = self.standard_form()
        residual = self._is_residual(self.reference, whitening)
        constant = -(log_root + 0.5 * mean.shape[-1] * LOG_2PI)
        alike = self.form.is_shared and len(mean) > 1 and bool((whitening == whitening[0]).all())
        whitened = WhiteningKernel(self, self.reference, mean, whitening, constant)
        if not residual.any() and not alike and self._is_wide(*mean.shape):
            return whitened
        natural = self._natural(mean, whitening, log_root)
        linear = LinearKernel(self, *natural)
        if not residual.any():
            if alike:
                return SharedKernel(linear, self.reference, whitening[0])
            wide = self.form.word == "full" and linear.n_statistics > MANY_COMPILED
            return WideLinearKernel(self, *natural, whitened) if wide else linear
        x_mean, _ = self.known()
        low = np.zeros_like(x_mean) if self.rounding is None else self.rounding
        reference = self.reference.of_states(
            np.where(residual[:, None], x_mean, self.reference.centre),
            np.where(residual[:, None], low, 0.0),
            np.where(residual[:, None, None], np.linalg.inv(whitening), np.eye(mean.shape[-1])),
        )
        return ResidualKernel(linear, reference, residual, whitening, constant)

    def _is_residual(self, reference: Reference, whitening: Array) -> Array:
        """Return which states, with these W about the reference, are to be in residual form."""
        largest_precision = np.square(whitening).sum(axis=-2).max(axis=-1)
        residual: Array = reference.error(largest_precision) > LARGEST_ERROR
        return residual

    def _is_wide(self, k: int, d: int) -> bool:
        """Return whether k states in d columns are better whitened one by one."""
        many = d + self.form.n_moments(d) > MANY_STATISTICS
        return many and k < FEW_STATES and self.form.word == "full"

    def gapped_kernel(self) -> Kernel:
        """Return the kernel for values with gaps: in statistics form, or as `kernel` residual."""
        mean, whitening, log_root = self.standard_form()
        assert self.reference is not None  # taken from the data that have the gaps
        if self._is_residual(self.reference, whitening).any() or self._is_wide(*mean.shape):
            return self.residual_gapped_kernel()
        linear = LinearKernel(self, *self._natural(mean, whitening, log_root))
        if self.form.orientation == "axes":
            return GappedColumns.of_linear(linear, self.reference, mean, whitening)
        # Sweeping loses what the variances of columns are more than those given all others.
        precision = np.square(whitening).sum(axis=-2)
        variance = np.square(np.linalg.inv(whitening)).sum(axis=-1)
        if np.finfo(float).eps * (precision * variance).max() > LARGEST_ERROR:
            return self.residual_gapped_kernel()
        return GappedStatistics.of(linear, self.reference, mean, whitening, log_root)

    def residual_gapped_kernel(self) -> GappedKernel:
        """Return the kernel for values with gaps that loses no digits."""
        mean, _ = self.known()
        assert self.reference is not None  # taken from the data that have the gaps
        low = np.zeros_like(mean) if self.rounding is None else self.rounding
        _, whitening, _ = self.standard_form()
        reference = self.reference.of_states(mean, low, np.linalg.inv(whitening))
        return GappedKernel(self, reference, whitening)


@lru_cache
def _pairs(form: Structure, d: int) -> Array | None:
    """Return places of the factors of each statistic, None if the moments are no products."""
    columns = form.pairs(d)
    return None if columns is None else columns_and_products(d, columns)


def _root(matrix: Array) -> Array:
    """Return R with R R' a positive matrix ``(..., d, d)``, what is negative of it left out."""
    values, vectors = np.linalg.eigh(matrix)
    root: Array = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    return root


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
