"""The Beta distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import parameter
from latentem.distributions.checks import as_names
from latentem.distributions.composition import (
    Composition,
    concentration_moves,
    limited,
    log_density,
)
from latentem.distributions.formulas import Formulas
from latentem.distributions.positive import (
    PositiveFamily,
    check_limit,
    single_state_moves,
)
from latentem.distributions.special import digamma_difference, inverse_digamma_difference
from latentem.errors import ModelError


@attrs.frozen(eq=False, repr=False)
class Beta(PositiveFamily):
    r"""Beta distribution of a proportion between 0 and 1.

    .. math:: {log_density}

    The maximiser solves

    .. math:: {update}

    the means being weighted by the responsibilities (Johnson, Kotz and Balakrishnan, Continuous
    Univariate Distributions 2, 1995, section 25.4). It is the `Dirichlet` distribution of
    (x, 1 - x), and shares its algebra and its care for digits. Where a or b is held, its equation
    is left out; the left side of the other rises with the other.

    Parameters
    ----------
    a, b : array, (\*parents,), optional
        The mean is a / (a + b).
    largest_sum : float
        Largest allowed a + b: that of a state whose values are all equal would grow without bound.
        The fit is the exact maximiser under this constraint, and says when it is active.
    held : tuple of str
        What is held at its value while the other is fitted, ``("a",)`` or ``("b",)``. Follows from
        giving only one of them, which may be one for all states.

    Raises
    ------
    ModelError
        If a parameter is not positive and finite, shapes disagree, or what is held is not below the
        largest sum.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> d = lem.Beta().fit(np.array([0.1, 0.3, 0.4]), np.ones(3))
    >>> print(d.a.round(4), d.b.round(4))
    2.7737 7.7313
    >>> print(lem.Beta(a=1.0).fit(np.array([0.1, 0.3, 0.4]), np.ones(3)).b.round(4))
    3.0837
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = (a_k - 1) \log x + (b_k - 1) \log (1 - x) "
            r"+ \log \Gamma(a_k + b_k) - \log \Gamma(a_k) - \log \Gamma(b_k)"
        ),
        statistics=r"T(x) = (\log x, \log (1 - x))",
        update=(
            r"\psi(\hat a_k) - \psi(\hat a_k + \hat b_k) = \overline{\log x}, \qquad "
            r"\psi(\hat b_k) - \psi(\hat a_k + \hat b_k) = \overline{\log (1 - x)}"
        ),
        symbols={"a": "a", "b": "b"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"a": 0, "b": 0}
    holdable: ClassVar[tuple[str, ...]] = ("a", "b")
    limit: ClassVar[str] = "the sum of a and b is at its largest, {self.largest_sum:g}"
    remedy: ClassVar[str] = (
        "Divide counts by their totals; move proportions of exactly 0 and 1 inwards, or drop them."
    )

    a: Array | None = parameter(converter=as_float_array)
    b: Array | None = parameter(converter=as_float_array)
    largest_sum: float = attrs.field(default=1e8, kw_only=True, validator=check_limit)
    held: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_names)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        for name in self.held:
            value = getattr(self, name)
            if not np.all(value < self.largest_sum):
                raise ModelError(
                    f"Beta: {name} must be below largest_sum ({self.largest_sum:g}) because it is "
                    f"held, got {value}. Give less, or a larger sum."
                )

    @property
    def support(self) -> str:
        return "between 0 and 1, both excluded,"

    def supports(self, x: Array) -> Array:
        inside: Array = (x > 0) & (x < 1)
        return inside

    def even_scale(self, value: Array) -> Array:
        # Its variance for a given a + b depends little on the mean.
        return 2.0 * np.arcsin(np.sqrt(value))

    @property
    def centre(self) -> float:
        return 0.5 if self.reference is None else self.reference.centre

    @property
    def composition(self) -> Composition:
        """The centre as parts of 1."""
        return Composition(np.array([self.centre, 1 - self.centre]), 0.0)

    def concentration(self) -> Array:
        """Return the parameters as those of a Dirichlet distribution, ``(*parents, 2)``."""
        return np.stack(self.known(), axis=-1)

    def log_density(self, x: Array) -> Array:
        return log_density(self.concentration(), np.stack([x, 1 - x], axis=-1))

    def statistics_within(self, value: Array) -> Sequence[Array]:
        return tuple(self.composition.statistics(np.stack([value, 1 - value], axis=1)).T)

    def log_base_within(self, value: Array) -> Array:
        return -np.log(value) - np.log1p(-value)

    def natural_parameters(self) -> tuple[Array, Array]:
        return self.composition.natural_parameters(self.concentration())

    def from_mean(self, mean: Array, weight: Array) -> Self:
        if self.held:
            known = np.asarray(getattr(self, self.held[0]))
            most = self.largest_sum - known
            wanted = -self.composition.mean_logs(mean)[..., ["a", "b"].index(self._free)]
            least = digamma_difference(most, known)
            found = inverse_digamma_difference(np.maximum(wanted, least), known)
            return self._beside(found, wanted < least)
        alpha, at_limit = self.composition.maximum(mean, self.largest_sum)
        return self._of(alpha, at_limit)

    def _of(self, alpha: Array, at_limit: Array | None) -> Self:
        return attrs.evolve(self, a=alpha[..., 0], b=alpha[..., 1], at_limit=at_limit)

    @property
    def _free(self) -> str:
        """The one that is free where the other is held."""
        return "b" if "a" in self.held else "a"

    def _beside(self, value: Array, at_limit: Array | None) -> Self:
        """Return the distribution with these values beside what is held, none too large."""
        most = self.largest_sum - np.asarray(getattr(self, self.held[0]))
        changes: dict[str, Any] = {self._free: np.minimum(value, most), "at_limit": at_limit}
        return attrs.evolve(self, **changes)

    def feasible(self) -> Self:
        if not self.is_parameterised:
            return self
        if self.held:
            return self._beside(getattr(self, self._free), self.at_limit)
        return self._of(limited(self.concentration(), self.largest_sum), self.at_limit)

    def directions(self) -> list[dict[str, Array]]:
        """Vary both together, keeping the mean, and one against the other, keeping the sum.

        One by itself where the other is held.
        """
        if self.held:
            moves = single_state_moves({self._free: getattr(self, self._free)})
            held = np.zeros(len(moves), bool) if self.at_limit is None else self.at_limit
            return [move for move, fixed in zip(moves, held.ravel(), strict=True) if not fixed]
        pairs = concentration_moves(self.concentration(), self.at_limit)
        return [{"a": move[..., 0], "b": move[..., 1]} for move in pairs]

    def expected_value(self) -> Array:
        """Return the means a / (a + b), ``(*parents,)``."""
        a, b = self.known()
        return np.asarray(a / (a + b))

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one value for each parent state, ``(n,)``."""
        a, b = self.known()
        draws = rng.beta(a[state], b[state])
        # Of tiny parameters draws round to the ends.
        return np.clip(draws, np.finfo(float).tiny, 1 - 0.5 * np.finfo(float).eps)
