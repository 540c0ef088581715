"""The latent of K-means: a choice that costs nothing."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution
from latentem.distributions.records import Record
from latentem.errors import ModelError, Unsuitable


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

    def with_levels(self, levels: tuple[Any, ...]) -> Self:
        raise Unsuitable(
            f"be states from 0 to {self.n_states - 1} because {{node}} is a Choice",
            f"{levels[0]!r}",
            f"Encode them as 0 to {self.n_states - 1}; use -1 or NaN for unknown ones.",
        )

    @property
    def parameters(self) -> dict[str, Array | None]:
        return {}

    @property
    def n_parameters(self) -> int:
        """None."""
        return 0

    def permuted(self, order: Array) -> Self:
        return self

    def log_prob(self, value: Array) -> Array:
        return np.zeros(len(value))

    @property
    def log_prob_table(self) -> Array:
        return np.zeros((1, self.n_states))

    def fit(self, value: Array, weights: Array) -> Self:
        return self

    def update(self, record: Record) -> Self:
        return self
