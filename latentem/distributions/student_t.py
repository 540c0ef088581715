"""Student's t distribution of vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.auxiliary import AuxiliaryFamily
from latentem.distributions.base import Distribution
from latentem.distributions.checks import (
    as_names,
    check_floor,
    check_moments,
    check_real,
    counted,
    naming,
)
from latentem.distributions.covariance import (
    Full,
    Structure,
    structure_named,
    structure_or_matrices,
)
from latentem.distributions.formulas import Formulas
from latentem.distributions.gaussian import Gaussian
from latentem.distributions.kernels import Kernel, TemplateKernel
from latentem.distributions.records import Statistics
from latentem.distributions.reference import Reference
from latentem.distributions.robust import robust_reference
from latentem.distributions.special import excess, log_minus_digamma, stirling
from latentem.distributions.student_t_df import df_of_spread
from latentem.distributions.student_t_kernel import StudentKernel
from latentem.distributions.whitening import LOG_2PI
from latentem.errors import ModelError, Unsuitable

#: What the Gaussian given u calls the parameters that are its own.
_OF_GAUSSIAN = {"mean": "mean", "scale": "covariance"}
#: Degrees of freedom that EM starts from (Lange, Little and Taylor, 1989, section 5).
START = 4.0
#: Degrees of freedom beyond these lose half the digits of a density.
LARGEST_DF = 1e12


def _scale(given: Any) -> Structure | Array | None:
    return structure_or_matrices(given, "StudentT: scale")


def _structure(given: Any) -> Structure | None:
    return structure_named(given, "StudentT: structure")


@attrs.frozen(eq=False, repr=False)
class StudentT(AuxiliaryFamily):
    r"""Student's t distribution of dimension d: a Gaussian with heavy tails.

    .. math:: {log_density}

    It is a Gaussian with covariance :math:`\Sigma_k / u`, u having a Gamma distribution with shape
    and rate :math:`\nu_k / 2`. What an M-step sees of a row are means given x, the last of
    :math:`\log u`:

    .. math:: {statistics}

    A row therefore weighs :math:`r_{ik} \bar u_{ik}`, which is small for outliers. The maximiser is
    where this changes nothing,

    .. math:: {update}

    (Lange, Little and Taylor, 1989; for mixtures Peel and McLachlan, 2000). On the way there both
    sums have the divisor of the first, because u is given a unit of its own in each step, which no
    x depends on: the maximum is the same, and reached in fewer steps (Kent, Tyler and Vardi, 1994;
    Liu, Rubin and Wu, 1998). What is slow still is :math:`\nu`: so each E-step also tries a value
    of it that a step of Newton's method on the likelihood itself proposes (as in ECME: Liu and
    Rubin, 1995).

    For :math:`\nu \to \infty` it is the Gaussian: where tails are no heavier than a Gaussian's the
    likelihood rises all the way there, and `largest_df` ends it. Missing parts of rows are
    integrated out exactly.

    Parameters
    ----------
    df : float, or array, (\*parents,), optional
        Degrees of freedom. A number without all other parameters is kept; by default they are
        fitted. The mean exists for df > 1, the covariance, scale df / (df - 2), for df > 2.
    mean : array, (\*parents, d), optional
        The centre. An array of values of shape (n,) is (n, 1).
    scale : str, Structure or array, (\*parents, d, d)
        The structure to fit, named as those of a `Gaussian`: ``"full"``, ``"diagonal"``,
        ``"spherical"``, or three letters for what the states share. Or known scale matrices, which
        are no covariances.
    fit_df : bool, optional
        Whether df is fitted; by default, unless it is given without all other parameters.
    shared_df : bool
        One df for all states.
    smallest_df, largest_df : float
        The range of fitted df. Below df = 1 the likelihood of mean and scale may have several
        maxima (Kent and Tyler, 1991), and for small ones none. The fit says when it is at an end.
    floor : float
        Smallest allowed eigenvalue of a scale matrix, in units of the square of the data's spread
        (column by column): their interquartile range / 1.349, the standard deviation of a Gaussian
        with this range. The fit is the exact maximiser under this constraint, and says when it is
        active.
    structure : str, optional
        The structure of the matrices given as ``scale``, used if they are fitted again.
    held : tuple of str
        Of ``"df"``, ``"mean"`` and ``"scale"``, what is held at its value while the rest is fitted.
        Mean and scale follow from giving some of the parameters; they may be one for all states.
        About a mean that is held the squares are taken from it. With a scale that is held u has no
        unit of its own.

    Raises
    ------
    ModelError
        If a scale matrix is not symmetric and positive definite, df is not positive and finite, the
        range of df is empty, or shapes disagree.

    References
    ----------
    Lange, Little and Taylor, Robust statistical modeling using the t distribution, JASA 84, 1989.
    Peel and McLachlan, Robust mixture modelling using the t distribution, Statistics and Computing
    10, 2000. Liu and Rubin, ML estimation of the t distribution using EM and its extensions, ECM
    and ECME, Statistica Sinica 5, 1995. Kent and Tyler, Redescending M-estimates of multivariate
    location and scatter, Annals of Statistics 19, 1991. Kent, Tyler and Vardi, A curious
    likelihood identity for the multivariate t-distribution, Communications in Statistics 23, 1994.
    Liu, Rubin and Wu, Parameter expansion to accelerate EM: the PX-EM algorithm, Biometrika 85,
    1998.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 50.0])
    >>> lem.StudentT(df=3).fit(x[:, None], np.ones(6)).mean.round(2)
    array([0.09])
    >>> lem.StudentT(df=3, mean=[0.0]).fit(x[:, None], np.ones(6)).scale.round(2)
    array([[5.47]])
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = \log \frac{\Gamma((\nu_k + d) / 2)}{\Gamma(\nu_k / 2)} "
            r"- \frac d2 \log (\pi \nu_k) - \frac12 \log |\Sigma_k| "
            r"- \frac{\nu_k + d}{2} \log \left( 1 + \frac{\delta_k}{\nu_k} \right), \qquad "
            r"\delta_k = (x - \mu_k)^\top \Sigma_k^{-1} (x - \mu_k)"
        ),
        statistics=(
            r"E[T(x, u) \mid x, k] = \left( \bar u_k, \bar u_k x, \bar u_k x x^\top, "
            r"\psi\left( \frac{\nu_k + d}{2} \right) - \log \frac{\nu_k + \delta_k}{2} \right)"
        ),
        update=(
            r"\bar u_{ik} = \frac{\nu_k + d}{\nu_k + \delta_{ik}}, \qquad "
            r"\hat\mu_k = \frac{\sum_i r_{ik} \bar u_{ik} x_i}{\sum_i r_{ik} \bar u_{ik}}, \qquad "
            r"\hat\Sigma_k = \frac{\sum_i r_{ik} \bar u_{ik} (x_i - \hat\mu_k) "
            r"(x_i - \hat\mu_k)^\top}{\sum_i r_{ik}}, \qquad "
            r"\log \frac{\hat\nu_k}{2} - \psi\left( \frac{\hat\nu_k}{2} \right) "
            r"= \frac{\sum_i r_{ik} (\bar u_{ik} - \log \bar u_{ik} - 1)}{\sum_i r_{ik}} "
            r"+ \log \frac{\hat\nu_k + d}{2} - \psi\left( \frac{\hat\nu_k + d}{2} \right)"
        ),
        symbols={r"\nu": "df", r"\mu": "mean", r"\Sigma": "scale"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"df": 0, "mean": 1, "scale": 2}
    holdable: ClassVar[tuple[str, ...]] = ("df", "mean", "scale")
    takes_gaps: ClassVar[bool] = True

    df: Array | None = attrs.field(default=None, converter=as_float_array)
    mean: Array | None = attrs.field(default=None, kw_only=True, converter=as_float_array)
    scale: Any = attrs.field(default="full", kw_only=True, converter=_scale)
    fit_df: bool | None = attrs.field(default=None, kw_only=True)
    shared_df: bool = attrs.field(default=False, kw_only=True)
    smallest_df: float = attrs.field(default=1.0, kw_only=True)
    largest_df: float = attrs.field(default=1e6, kw_only=True)
    floor: float = attrs.field(default=1e-13, kw_only=True, validator=check_floor)
    structure: Structure | None = attrs.field(default=None, kw_only=True, converter=_structure)
    held: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_names)
    reference: Reference | None = attrs.field(default=None, kw_only=True)
    # As of the Gaussian with this mean and covariance.
    rounding: Array | None = attrs.field(default=None, kw_only=True)
    at_floor: Array | None = attrs.field(default=None, kw_only=True)
    whitening: Array | None = attrs.field(default=None, kw_only=True)
    log_root: Array | None = attrs.field(default=None, kw_only=True)
    whitened: Array | None = attrs.field(default=None, kw_only=True)
    # The unit of u that the last M-step found best: no density depends on it.
    unit: Array | None = attrs.field(default=None, kw_only=True)
    # The df at which the next E-step takes statistics too, and those (*parents, C) of the last.
    proposal: Array | None = attrs.field(default=None, kw_only=True)
    tried: Array | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        known = not isinstance(self.scale, Structure)
        if self.structure is None:
            object.__setattr__(self, "structure", Full() if known else self.scale)
        if self.fit_df is None or "df" in self.held:
            given = known and self.mean is not None and "df" not in self.held
            object.__setattr__(self, "fit_df", self.df is None or given)
        if not 0 < self.smallest_df <= self.largest_df <= LARGEST_DF:
            raise ModelError(
                "StudentT: smallest_df must be positive and at most largest_df, and that at most "
                f"{LARGEST_DF:g} because larger ones are lost in rounding, got {self.smallest_df} "
                f"and {self.largest_df}. Give a range of degrees of freedom."
            )
        if self.reference is None:  # given by a user, not by a maximiser
            self._check_given()

    def _check_given(self) -> None:
        known = None if isinstance(self.scale, Structure) else self.scale
        if self.mean is not None and self.mean.ndim == 0:
            raise ModelError(
                "StudentT: mean must be a vector, got a scalar. Give a vector of length 1."
            )
        self._hold_what_is_given(known)
        mean = self.mean
        if mean is None and known is not None:
            mean = np.zeros(known.shape[:-1] or 1)
        if known is None and mean is not None:
            known = np.broadcast_to(np.eye(mean.shape[-1]), (*mean.shape, mean.shape[-1]))
        check_moments(mean, known, "StudentT", "scale")
        known = None if isinstance(self.scale, Structure) else self.scale
        if known is not None and not self.form.allows(known):
            raise ModelError(
                f"StudentT: scale must have the structure {self.form.name}, got {known.tolist()}. "
                "Give such matrices, or declare another structure."
            )
        if self.df is not None and not (np.all(self.df > 0) and np.all(self.df <= LARGEST_DF)):
            raise ModelError(
                f"StudentT: df must be positive and at most {LARGEST_DF:g}, got {self.df}. "
                "Give degrees of freedom, or Gaussian() for infinitely many."
            )
        complete = self.mean is not None and known is not None
        shape = self.mean.shape[:-1] if complete else ()  # type: ignore[union-attr]
        if self.df is not None and self.df.shape != shape:
            raise ModelError(
                f"StudentT: df must have one entry for each mean, shape {shape}, got shape "
                f"{self.df.shape}. Repeat the one that is shared; without means or scales give one "
                "number."
            )

    def _hold_what_is_given(self, known: Array | None) -> None:
        """Hold mean or scale that was given alone; raise `ModelError` unless what is held is."""
        arrays = {"df": self.df, "mean": self.mean, "scale": known}
        given = [name for name, array in arrays.items() if array is not None]
        if not self.held and len(given) < len(arrays):
            held = tuple(name for name in given if name != "df")
            object.__setattr__(self, "held", held)
        if not set(self.held) <= set(given) or len(self.held) == len(arrays):
            raise ModelError(
                f"StudentT: held must name some of the parameters that are given, {given}, and not "
                f"all of {list(arrays)}, got {list(self.held)}. Give what is to be held, or use "
                "fixed(StudentT(...)) to hold all."
            )

    @property
    def own_formulas(self) -> Formulas | None:
        formulas = super().own_formulas
        if formulas is None:
            return None
        formulas = formulas.of_structure(self.form)
        formulas = formulas.pooled("df") if self.shared_df else formulas
        squares = {"diagonal": "x_j^2", "spherical": r"x^\top x"}.get(self.form.word, r"x x^\top")
        statistics = formulas.statistics.replace(r"x x^\top", squares)
        formulas = attrs.evolve(formulas, statistics=statistics)
        return formulas.without_update(() if self.fit_df else ("df",))

    def __repr__(self) -> str:
        options = ", shared_df=True" if self.shared_df else ""
        if self.is_parameterised:
            return f"StudentT({self.df!r}, mean={self.mean!r}, scale={self.scale!r}{options})"
        df = "" if self.df is None else f"df={self.df}, "
        mean = "" if self.mean is None else f"mean={self.mean!r}, "
        named = isinstance(self.scale, Structure)
        scale = f'"{self.form.name}"' if named else repr(self.scale)
        return f"StudentT({df}{mean}scale={scale}{options})"

    # -- parameters ----------------------------------------------------------------------------

    @property
    def form(self) -> Structure:
        """The structure of the scale matrices."""
        assert self.structure is not None
        return self.structure

    @property
    def parameters(self) -> dict[str, Array | None]:
        scale = None if isinstance(self.scale, Structure) else self.scale
        # A number that is given with a template is for all states.
        df = None if self.mean is None or scale is None else self.df
        return {"df": df, "mean": self.mean, "scale": scale}

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        of_gaussian = ("rounding", "at_floor", "whitening", "log_root", "whitened")
        names = (*of_gaussian, "unit", "proposal", "tried")
        return {**self.parameters, **{name: getattr(self, name) for name in names}}

    def known(self) -> tuple[Array, Array, Array]:
        """Return df, mean and scale, or raise `ModelError`."""
        df, mean, scale = self.parameters.values()
        if df is None or mean is None or scale is None:
            raise ModelError(
                "StudentT must have df, a mean and a scale to be evaluated or sampled, "
                "got a template. Fit it, or give all three."
            )
        return df, mean, scale

    @property
    def covariance(self) -> Array:
        """The covariances ``(*parents, d, d)``, scale df / (df - 2); all inf where df <= 2."""
        df, _, scale = self.known()
        df = df[..., None, None]
        heavy = df <= 2.0
        finite: Array = scale * (df / np.where(heavy, 1.0, df - 2.0))
        return np.where(heavy, np.inf, finite)

    @property
    def gaussian(self) -> Gaussian:
        """The Gaussian given u = 1: the same mean, and the scale matrix for its covariance."""
        return Gaussian(
            self.mean,
            self.scale,
            floor=self.floor,
            structure=self.form,
            held=tuple(_OF_GAUSSIAN[name] for name in self.held if name in _OF_GAUSSIAN),
            reference=self.reference,
            rounding=self.rounding,
            at_floor=self.at_floor,
            whitening=self.whitening,
            log_root=self.log_root,
            whitened=self.whitened,
        )

    def _of(self, gaussian: Gaussian, df: Array, unit: Array | None) -> Self:
        """Return the same with the parameters of a Gaussian given u = 1."""
        own = ("rounding", "at_floor", "whitening", "log_root", "whitened", "reference")
        changes = {name: getattr(gaussian, name) for name in own}
        for name, matrix in (("scale", gaussian.covariance), ("whitened", gaussian.whitened)):
            if matrix is not None and not isinstance(self.form, Full):
                # Products of roots leave rounding where the structure has zeros.
                matrix = matrix * np.eye(matrix.shape[-1])
            changes[name] = matrix
        return attrs.evolve(self, df=df, mean=gaussian.mean, unit=unit, **changes)

    def _half_df_and_unit(self) -> tuple[Array, Array]:
        df, _, _ = self.known()
        return 0.5 * df, np.ones(df.shape) if self.unit is None else self.unit

    @property
    def n_parameters(self) -> int:
        """The means, the scale matrices, and df where it is fitted."""
        df, _, _ = self.known()
        fitted = 0 if not self.fit_df else 1 if self.shared_df else df.size
        return self.gaussian.n_parameters + fitted

    def keep(self, old: Self, states: Array) -> Self:
        df, _, _ = self.known()
        before, unit = old._half_df_and_unit()
        _, own_unit = self._half_df_and_unit()
        # A shared df is that of the states with weight; it belongs to all.
        kept = df if self.shared_df and not states.all() else np.where(states, 2.0 * before, df)
        gaussian = self.gaussian.keep(old.gaussian, states)
        return self._of(gaussian, kept, np.where(states, unit, own_unit))

    def started_from(self, other: Distribution) -> Self:
        started = super().started_from(other)
        _, _, scale = started.known()
        if not self.form.allows(scale):
            raise Unsuitable(
                f"start from a {self.form.name} scale",
                f"{scale.tolist()}",
                f"Give matrices of this structure, or declare another than {self.form.name}.",
            )
        if self.fit_df or self.df is None:
            return started
        return attrs.evolve(started, df=np.broadcast_to(self.df, scale.shape[:-2]))

    def feasible(self) -> Self:
        if not self.is_parameterised:
            return self
        df, _, _ = self.known()
        if self.fit_df:
            df = np.clip(df, self.smallest_df, self.largest_df)
            df = np.full(df.shape, df.mean()) if self.shared_df else df
        return self._of(self.gaussian.feasible(), df, self.unit)

    def _at_end(self, df: Array) -> Array:
        """Return which df (a mask) are at an end of their range."""
        at_end = (df <= self.smallest_df) | (df >= self.largest_df)
        return at_end if self.fit_df else np.zeros(df.shape, dtype=bool)

    @property
    def at_constraint(self) -> bool:
        # At the largest df a state is a Gaussian, and has not collapsed.
        if not self.is_parameterised:
            return False
        df, _, _ = self.known()
        lowest = bool(self.fit_df) and bool((df <= self.smallest_df).any())
        return lowest or self.gaussian.at_constraint

    @property
    def events(self) -> tuple[str, ...]:
        if not self.is_parameterised:
            return ()
        words = {
            "the covariance": "the scale matrix",
            "variance of the data": "data's squared spread",
        }
        events = list(self.gaussian.events)
        for word, own in words.items():
            events = [event.replace(word, own) for event in events]
        df, _, _ = self.known()
        for which, end in (("smallest", self.smallest_df), ("largest", self.largest_df)):
            there = self._at_end(df) & (df == end)
            if there.any():
                states = ", ".join(map(str, np.flatnonzero(there)))
                events.append(f"df is at its {which}, {end:g} (state {states})")
        return tuple(events)

    def directions(self) -> list[dict[str, Array]]:
        """Mean and scale as those of a Gaussian, and df; what is at its limit stays there."""
        df, _, _ = self.known()
        of_gaussian = self.gaussian.directions()
        found = [{"mean" if "mean" in d else "scale": m for m in d.values()} for d in of_gaussian]
        inside = np.where(self._at_end(df), 0.0, df) if self.fit_df else np.zeros(df.shape)
        if self.shared_df:
            return found + ([{"df": inside}] if inside.any() else [])
        moves = [np.zeros(df.shape) for _ in np.argwhere(inside)]
        for move, state in zip(moves, np.argwhere(inside), strict=True):
            move[tuple(state)] = inside[tuple(state)]
        return found + [{"df": move} for move in moves]

    def moved(self, direction: Mapping[str, Array], step: float) -> Self:
        rest = {name: change for name, change in direction.items() if name != "scale"}
        moved = super().moved(rest, step) if rest else self
        moved = attrs.evolve(moved, proposal=None, tried=None)
        if "scale" not in direction:
            return moved
        gaussian = moved.gaussian.moved({"covariance": direction["scale"]}, step)
        df, _, _ = moved.known()
        return moved._of(gaussian, df, self.unit)

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
                f"have {counted(d, 'column')} because {{node}} is a StudentT of dimension {d}",
                f"shape {value.shape}",
            )
        return array

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        value = value[:, None] if value.ndim == 1 else value
        return attrs.evolve(self, reference=robust_reference(value, self.form, weights))

    def check_fit(self) -> None:
        self.gaussian.check_fit()

    def dissimilarity(self, value: Array, other: Array) -> Array:
        """Return minus twice the log-density about ``other``, up to a constant, with df = 4."""
        bound = self if self.reference is not None else self.bind(value)
        squares = bound.gaussian.dissimilarity(value, other)
        return np.asarray((START + value.shape[1]) * np.log1p(squares / START))

    # -- the family of x and u -----------------------------------------------------------------

    def statistics(self, value: Array) -> Array:
        """Return u z, the moments of u zz', u and u - 1 - log u, as expected in one robust state.

        That is about the medians, in units of the interquartile ranges and with df = 4.
        """
        moments = self.gaussian.statistics(value)
        half_d = 0.5 * value.shape[1]
        square = np.square(moments[:, : value.shape[1]]).sum(axis=1, keepdims=True)
        shape = np.asarray(0.5 * START + half_d)
        u = shape / (0.5 * START + 0.5 * square)
        surplus = excess(u, 1.0) + log_minus_digamma(shape)
        return np.concatenate([u * moments, u, surplus], axis=1)

    def expected_statistics(self, value: Array) -> tuple[Array, Array]:
        """Return those of z whitened by the state's own mean and scale, and what is left."""
        return self.gapped_kernel().on(value).expected()

    def natural_parameters(self) -> tuple[Array, Array]:
        a, unit = self._half_df_and_unit()
        mean, whitening, log_root = self.gaussian.standard_form()
        eta, _ = self.gaussian.natural_parameters()
        half_square = 0.5 * np.square(whitening @ mean[..., None]).sum(axis=(-2, -1))
        of_u = a - (a + half_square) / unit
        half_d = 0.5 * mean.shape[-1]
        log_normaliser = log_root + half_d * LOG_2PI + (half_d + a) * np.log(unit) - stirling(a)
        parts = [eta / unit[..., None], of_u[..., None], -a[..., None]]
        return np.concatenate(parts, axis=-1), log_normaliser

    def from_mean(self, mean: Array, weight: Array) -> Self:
        """Return the maximiser over the parameters and the unit of u together.

        Where the floor of a scale matrix is active, or matrices share something, over the
        parameters alone: the unit would be bound too.
        """
        unit, surplus = mean[..., -2], mean[..., -1]
        before = np.ones(unit.shape) if self.unit is None else self.unit
        moments = mean[..., :-2] / unit[..., None]
        # What is shared, and what is held, has one unit for all.
        one = self.form != type(self.form)() or "scale" in self.held
        bound = np.full(unit.shape, one)
        gaussian = None if one else self._gaussian_of(moments, weight)
        if gaussian is not None and gaussian.at_floor is not None:
            bound = gaussian.at_floor
        if bound.any():
            share = np.where(bound, unit / before, 1.0)[..., None]
            gaussian = self._gaussian_of(moments, weight, share)
        assert gaussian is not None
        # log of the mean of u - mean of the logs; in the unit before, mean - 1 - mean of the logs
        of_bound = surplus + unit * (1.0 / before - 1.0) + np.log(before)
        spread = np.where(bound, of_bound, surplus - excess(unit, 1.0))
        unit = np.where(bound, before, unit)
        return self._of(gaussian, self._df_of(spread, weight), unit)

    def _gaussian_of(
        self, moments: Array, weight: Array, share: Array | float | None = None
    ) -> Gaussian:
        """Return the Gaussian given u = 1 of moments over what the rows weigh.

        ``share`` ``(*parents, 1)`` is how much of a row they weigh on average, where mean squares
        are over all rows. About a mean that is held these are squared distances from it.
        """
        inner, form = self.gaussian, self.form
        if "scale" in self.held:
            record = Statistics(weight, weight[..., None] * moments, 0.0, self.reference)
            return inner.from_statistics(record)
        held = self.mean is not None and "mean" in self.held
        if share is None and not held:
            return inner.from_mean(moments, weight)
        first, second = moments[..., : self._d], moments[..., self._d :]

        def squares(vector: Array) -> Array:
            return form.of_products(vector[..., :, None] * vector[..., None, :])

        spread = second - squares(first)
        if held:
            middle = inner.standard_mean()
            spread = spread + squares(first - middle)
            first = middle
        second = squares(first) + (1.0 if share is None else share) * spread
        return inner.from_mean(np.concatenate([first, second], axis=-1), weight)

    @property
    def _d(self) -> int:
        """The dimension, of a template that has met data too."""
        assert self.reference is not None
        return int(self.reference.centre.size)

    def _df_of(self, spread: Array, weight: Array) -> Array:
        """Return the df of which log E[u] - E[log u] is the spread, those nearest in the range."""
        if not self.fit_df:
            known = self.parameters["df"] if self.df is None or self.df.ndim else self.df
            return np.broadcast_to(np.asarray(known), spread.shape)
        if self.shared_df:
            spread = np.full(spread.shape, np.average(spread, weights=weight))
        return df_of_spread(spread, self.smallest_df, self.largest_df)

    def about(self, reference: Reference | None) -> Self:
        return self if reference is self.reference else attrs.evolve(self, reference=reference)

    def from_statistics(self, record: Statistics) -> Self:
        return super(StudentT, self.about(record.reference)).from_statistics(record)

    # -- densities and draws -------------------------------------------------------------------

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``."""
        df, _, _ = self.known()
        with naming("StudentT"):
            value = self.check(np.asarray(value))
        log_density = self.flatten(df.shape).kernel().on(value).log_density()
        return log_density.T.reshape(len(value), *df.shape)

    def kernel(self) -> Kernel:
        return self.gapped_kernel() if self.is_parameterised else TemplateKernel(self)

    def gapped_kernel(self) -> StudentKernel:
        """Return the kernel for values with gaps, which serves all others too."""
        a, unit = self._half_df_and_unit()
        bound = self if self.reference is not None else self.about(_own_reference(self))
        kernel = bound.gaussian.residual_gapped_kernel()
        return StudentKernel(kernel.dist, kernel.reference, kernel.whitening, bound, a, unit)

    def completed(self, value: Array, weights: Array) -> Array:
        return self.gapped_kernel().on(value).completed(weights)

    def completed_by_draws(self, value: Array, state: Array, rng: np.random.Generator) -> Array:
        return self.gapped_kernel().on(value).drawn(state, rng)

    def expected_value(self) -> Array:
        """Return the centres, ``(*parents, d)``: the means where df > 1."""
        return self.known()[1]

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one vector for each state index, ``(n, d)``."""
        df, mean, _ = self.known()
        deviation = self.gaussian.sample(rng, state) - mean[state]
        # The root of u; of tiny df it may round to 0.
        root = np.sqrt(rng.gamma(0.5 * df[state]) / (0.5 * df[state]))
        draws: Array = mean[state] + deviation / np.maximum(root, 1e-150)[:, None]
        return draws


def _own_reference(dist: StudentT) -> Reference:
    """Return a reference for parameters that have met no data: any point and scale will do."""
    _, mean, scale = dist.known()
    variance = np.diagonal(scale, axis1=-2, axis2=-1).reshape(-1, mean.shape[-1])
    size = dist.form.common_scale(np.sqrt(variance.mean(axis=0)))
    centre = mean.reshape(-1, mean.shape[-1]).mean(axis=0)
    extent = 10.0 + float(np.max(np.abs(mean - centre) / size))
    return Reference(centre, size, size, extent)
