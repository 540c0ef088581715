"""Columns of several families, independent given the parents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import attrs
import numpy as np

from latentem.distributions.base import Distribution
from latentem.distributions.formulas import Formulas, composed
from latentem.distributions.side_by_side import SideBySide
from latentem.errors import ModelError


def _as_tuple(components: Any) -> tuple[Any, ...]:
    return tuple(components)


@attrs.frozen(eq=False, repr=False)
class Product(SideBySide):
    r"""Columns of several families, independent given the parents.

    .. math:: \log p(x \mid k) = \sum_j \log p_j(x_j \mid k)

    (Local independence: Hunt and Jorgensen, Mixture model clustering using the MULTIMIX program,
    Australian and New Zealand Journal of Statistics 41, 1999.) Each component is fitted to its own
    column. An entry that is missing is left out, column by column. A tuple of families in
    `latentem.observed` is such a product. Its columns are numbers: one of strings has levels of its
    own, and is for a node of its own with the same parents, which is the same model.

    Parameters
    ----------
    components : sequence of Distribution
        One for each column; ``(Gaussian(), 2)`` for one of vectors, here of two columns.

    Raises
    ------
    ModelError
        If a component is not a density, or its number of columns not a positive whole number.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> x = np.array([[1.5, 0], [2.5, 4]])
    >>> fitted = lem.Product([lem.Normal(), lem.Poisson()]).fit(x, np.ones(2))
    >>> fitted.components[1].rate
    array(2.)
    >>> z = lem.latent("z", lem.Categorical(2))
    >>> lem.observed("x", (lem.Normal(), lem.Poisson()), given=z)
    observed('x', Product([Normal(), Poisson()]), given=['z'])
    """

    components: tuple[Distribution, ...] = attrs.field(converter=_as_tuple)
    widths: tuple[int, ...] = attrs.field(default=(), converter=tuple, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not self.components:
            raise ModelError("Product must have a component for each column, got none. Give one.")
        if not self.widths:
            pairs = [_with_width(each) for each in self.components]
            object.__setattr__(self, "components", tuple(dist for dist, _ in pairs))
            object.__setattr__(self, "widths", tuple(width for _, width in pairs))
        self._check_components()

    def __repr__(self) -> str:
        pairs = zip(self.components, self.widths, strict=True)
        parts = [repr(dist) if not width else f"({dist!r}, {width})" for dist, width in pairs]
        return f"Product([{', '.join(parts)}])"

    @property
    def own_formulas(self) -> Formulas | None:
        """The sum over the components, and the density of each."""
        pairs = list(enumerate(self.components, 1))
        total = " + ".join(rf"\log p_{j}(x_{j} \mid k)" for j, _ in pairs)
        parts = {rf"p_{j}(x \mid k)": each.own_formulas for j, each in pairs}
        return composed(rf"\log p(x \mid k) = {total}", parts)

    @property
    def known_symbols(self) -> tuple[str, ...]:
        pairs = enumerate(self.components, 1)
        return tuple(rf"p_{j}: \quad {line}" for j, each in pairs for line in each.known_symbols)

    def of_components(self, components: Sequence[Distribution]) -> Self:
        return attrs.evolve(self, components=tuple(components))

    def where(self, component: int) -> str:
        return f"components[{component}]"


def _with_width(component: Any) -> tuple[Any, int]:
    """Return a component with the width of its vectors, 0 for scalars."""
    if not isinstance(component, tuple) or len(component) != 2:
        return component, 0
    dist, width = component
    if isinstance(width, bool) or not isinstance(width, int | np.integer) or width < 1:
        raise ModelError(
            "Product: the number of columns of a component must be a whole number of at least 1, "
            f"got {width!r}. Give it after the family: (Gaussian(), 2)."
        )
    return dist, int(width)


def as_distribution(declared: Any) -> Any:
    """Return what was declared for a node; a tuple of families is their `Product`."""
    return Product(declared) if isinstance(declared, tuple) else declared
