"""What exact inference on a model costs: a dry run, and the refusal of what is too large."""

from __future__ import annotations

import math
from typing import Self

import attrs
import numpy as np

from latentem.errors import ModelError, TooLargeError
from latentem.graph import Model, check_model
from latentem.inference.elimination import Elimination
from latentem.parallel import block_rows

#: Largest table, in cells a row, that exact inference agrees to build (8 MB a row).
LARGEST_TABLE = 1_000_000


@attrs.frozen
class Cost:
    """What exact inference on a model costs: a dry run.

    Attributes
    ----------
    order : tuple of str
        Latents in order of elimination.
    cliques : tuple of tuple of str
        The clique of each.
    largest_clique : tuple of str
        The nodes whose joint states make the largest table.
    largest_table : int
        Cells a row of the largest table.
    memory : int
        Bytes of the tables of one block of rows.
    operations : int
        Table cells touched in one E-step on all rows.
    n : int
        Number of rows.
    child : str or None
        The observed node whose parents the largest clique are, None for a clique of latents.
    """

    order: tuple[str, ...]
    cliques: tuple[tuple[str, ...], ...]
    largest_clique: tuple[str, ...]
    largest_table: int
    memory: int
    operations: int
    n: int
    child: str | None

    @classmethod
    def of(cls, model: Model, elimination: Elimination, n: int) -> Self:
        """Count what an elimination order costs on n rows."""
        clique, cells = elimination.largest
        child = None
        tables = [elimination.cells(bucket.clique) for bucket in elimination.buckets]
        for node in model.observed:  # densities are tabled over all parents, observed ones too
            combinations = math.prod(model.parents_shape(node.name))
            if combinations > cells:
                clique = tuple(parent.name for parent in model.discrete_parents(node.name))
                cells, child = combinations, node.name
            tables.append(combinations)
        rows = block_rows(n, cells)
        return cls(
            tuple(bucket.variable for bucket in elimination.buckets),
            tuple(bucket.clique for bucket in elimination.buckets),
            clique,
            cells,
            8 * rows * sum(tables),
            n * sum(tables),
            n,
            child,
        )

    def check(self) -> None:
        """Raise `TooLargeError` if the largest table is beyond `LARGEST_TABLE`."""
        if self.largest_table <= LARGEST_TABLE:
            return
        who = "Model: a clique" if self.child is None else f"Node '{self.child}': its parents"
        raise TooLargeError(
            f"{who} must have at most {LARGEST_TABLE:,} joint states because a table of them is "
            f"held for each row of a block, got {self.largest_table:,} for "
            f"{{{', '.join(self.largest_clique)}}}. Use fewer states, or fewer parents of one "
            f"node. Exact inference would take:\n{self}",
            node=self.child,
        )

    def __str__(self) -> str:
        order = ", ".join(self.order) or "nothing to eliminate"
        return (
            f"elimination order  {order}\n"
            f"largest clique     {{{', '.join(self.largest_clique)}}}: "
            f"{self.largest_table:,} cells a row\n"
            f"memory             {self.memory / 2**20:,.1f} MiB of tables for a block of rows\n"
            f"operations         {self.operations:,} table cells an E-step on {self.n:,} rows"
        )


def cost(model: Model, n: int) -> Cost:
    """Return what exact inference would cost, without doing it.

    Parameters
    ----------
    model : Model
    n : int
        Number of rows.

    Returns
    -------
    Cost

    Raises
    ------
    ModelError
        If the model or the number of rows is not one.

    Examples
    --------
    >>> import latentem as lem
    >>> a, b = (lem.latent(name, lem.Categorical(10)) for name in "ab")
    >>> y = lem.observed("y", lem.Poisson(), given=[a, b])
    >>> lem.cost(lem.Model([a, b, y]), 1000).largest_table
    100
    """
    check_model(model)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
        raise ModelError(
            f"cost: n must be a whole number of rows of at least 0, got {n!r}. Give one."
        )
    sizes = {node.name: node.n_states or 0 for node in model.latents}
    return Cost.of(model, Elimination.of(model.structure, sizes), int(n))
