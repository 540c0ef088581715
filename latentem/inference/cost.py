"""What exact inference on a model costs: a dry run."""

from __future__ import annotations

import math

import attrs

from latentem.graph import Model
from latentem.inference.elimination import Elimination
from latentem.parallel import block_rows


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
    largest_table : int
        Cells a row of the largest table.
    memory : int
        Bytes of the tables of one block of rows.
    operations : int
        Table cells touched in one E-step on all rows.
    n : int
        Number of rows.
    """

    order: tuple[str, ...]
    cliques: tuple[tuple[str, ...], ...]
    largest_clique: tuple[str, ...]
    largest_table: int
    memory: int
    operations: int
    n: int

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

    Examples
    --------
    >>> import latentem as lem
    >>> a, b = (lem.latent(name, lem.Categorical(10)) for name in "ab")
    >>> y = lem.observed("y", lem.Poisson(), given=[a, b])
    >>> lem.cost(lem.Model([a, b, y]), 1000).largest_table
    100
    """
    sizes = {node.name: node.n_states or 0 for node in model.latents}
    elimination = Elimination.of(model.graph, sizes)
    clique, cells = elimination.largest
    tables = [elimination.cells(bucket.clique) for bucket in elimination.buckets]
    for node in model.observed:  # densities are tabled over all parents, observed ones too
        combinations = math.prod(model.parents_shape(node.name))
        if combinations > cells:
            clique = tuple(parent.name for parent in model.discrete_parents(node.name))
            cells = combinations
        tables.append(combinations)
    rows = min(n, block_rows(cells))
    return Cost(
        tuple(bucket.variable for bucket in elimination.buckets),
        tuple(bucket.clique for bucket in elimination.buckets),
        clique,
        cells,
        8 * rows * sum(tables),
        n * sum(tables),
        n,
    )
