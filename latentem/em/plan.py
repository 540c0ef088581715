"""How the passes of a fit are run: which kernels, in what blocks, on how many threads."""

from __future__ import annotations

from typing import Any, Self

import attrs
import numpy as np

from latentem.em.assign import Soft
from latentem.em.first import first_theta
from latentem.em.init import some_rows
from latentem.em.mixture import Mixture, is_mixture
from latentem.em.natural import Natural
from latentem.em.problem import Problem
from latentem.em.theta import Theta
from latentem.kernels import compiled
from latentem.parallel import block_rows, workers

#: Rows from which a start is made, where the model has no parameters yet.
ROWS_FOR_START = 2_000


@attrs.frozen
class Plan:
    """How a pass over the data is run, an E-step with its record; print it.

    Attributes
    ----------
    n_rows : int
        Rows of the data.
    n_distinct : int
        Rows that a pass sees: equal ones are merged, where there are many; where values have gaps,
        rows without weight are left out.
    posterior : str
        How posteriors are found.
    nodes : dict of str to str
        How the densities of each observed node are evaluated, and its statistics taken.
    is_compiled : bool
        Whether the normalisation, or the search for the nearest prototype, is compiled; otherwise
        it is in NumPy.
    keeps_statistics : bool
        Whether the statistics of the rows are kept from step to step.
    block : int
        Rows of a block.
    n_threads : int
    memory : int
        Bytes of the working arrays, over all threads.
    operations : int
        Floating-point operations of the matrix products of a pass.
    exponentials : int
        Exponentials of a pass.
    """

    n_rows: int
    n_distinct: int
    posterior: str
    nodes: dict[str, str]
    is_compiled: bool
    keeps_statistics: bool
    block: int
    n_threads: int
    memory: int
    operations: int
    exponentials: int

    @classmethod
    def of(cls, problem: Problem, theta: Theta) -> Self:
        """Read off the plan of a problem at some parameters."""
        layout, reduced = problem.layout, problem.reduced_for(Soft())
        elimination, n = layout.elimination, reduced.data.n
        hard = bool(problem.model.requires_hard)
        stacks, cells, largest = theta.stacks, theta.cells, None
        if not hard and is_mixture(layout, problem.data):
            mixture = Mixture.of(theta, Soft())
            stacks, cells = (mixture.stack,), mixture.cells
            largest = mixture.largest_block(reduced.data, *layout.observed)
        linear = [s.coefficients for s in stacks if s.coefficients is not None]
        block = block_rows(n, cells, largest)
        n_threads = workers(n, cells, largest)
        names = [name for family in layout.observed for name in family.names]
        if hard:
            posterior = "the best state of each row"
            if any(theta.kernels[name].distances is not None for name in names):
                posterior += "; rows that cannot change sides are not looked at again"
        elif is_mixture(layout, problem.data):
            posterior = "a mixture: one table of states"
            if any(stack.factored for stack in stacks):
                posterior = "a mixture: one compiled pass, statistics and table a tile at a time"
            elif mixture.is_at_once:
                posterior = "a mixture: one compiled pass, a tile of rows with equal gaps at a time"
            natural = Natural.of(problem, theta, Soft())
            if natural is not None:
                several = ", several at once" if natural.several is not None else ""
                posterior += f"; steps are arithmetic on coefficients and sums{several}"
        else:
            posterior = "variable elimination on the graph"
        return cls(
            problem.data.n,
            n,
            posterior,
            {name: theta.kernels[name].way for name in names},
            elimination.compiled,
            bool(linear) and not hard and all(reduced.keeps(stack) for stack in stacks),
            block,
            n_threads,
            8 * block * (1 if largest else cells) * n_threads,  # at least log p(x) of each row
            sum(4 * coefficients.size * n for coefficients in linear),
            0 if hard else n * sum(elimination.cells(b.clique) for b in elimination.buckets),
        )

    def __str__(self) -> str:
        fewer = self.n_distinct < self.n_rows
        seen = f", of which a pass sees {self.n_distinct:,}" if fewer else ""
        loop = "compiled (numba)" if self.is_compiled else "NumPy"
        if not self.is_compiled and not compiled.available():
            loop += "; the extra 'fast' compiles it for large data"
        kept = "kept from step to step" if self.keeps_statistics else "taken anew in every step"
        width = max((len(name) for name in self.nodes), default=0)
        lines = [
            ("rows", f"{self.n_rows:,}{seen}"),
            ("posterior", self.posterior),
            *(
                ("nodes" if i == 0 else "", f"{name:{width}}  {way}")
                for i, (name, way) in enumerate(self.nodes.items())
            ),
            ("loops", loop),
            ("statistics", kept),
            ("block", f"{self.block:,} rows, {_plural(self.n_threads, 'thread')}"),
            ("memory", f"{self.memory / 2**20:,.1f} MiB of working arrays"),
            ("a pass", f"{self.operations:.3g} operations, {self.exponentials:.3g} exponentials"),
        ]
        return "\n".join(f"{what:15}{text}" for what, text in lines)


def _plural(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def explain_plan(model: Any, data: Any, *, weights: Any = None) -> Plan:
    """Return how the passes of a fit of the model to the data would be run, without a pass.

    Parameters
    ----------
    model : Model
        What depends on parameters (states tighter than the statistics can tell are evaluated in
        another way) is said of those it has, or of a start on some of the rows.
    data : array, mapping or data frame
    weights : array, (n,), optional
        Row weights.

    Returns
    -------
    Plan

    Raises
    ------
    DataError
        If the data do not fit the model.

    Examples
    --------
    >>> import latentem as lem
    >>> data = lem.datasets.old_faithful().data
    >>> plan = lem.explain_plan(lem.models.gaussian_mixture(2), data)
    >>> plan.nodes
    {'x': 'matrix product of 5 statistics a row'}
    >>> plan.block, plan.keeps_statistics
    (272, True)
    """
    problem = Problem.of(model, data, weights)
    theta = problem.theta()
    if not theta.is_parameterised:
        rng = np.random.default_rng(0)
        few = problem
        if problem.data.n > ROWS_FOR_START:
            few = problem.take(some_rows(problem.data, ROWS_FOR_START, rng))
        theta = problem.theta(problem.to_model(first_theta(few, None, rng)))
    return Plan.of(problem, theta)
