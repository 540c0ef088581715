r"""The E-step of a mixture: one latent, and observed nodes that all depend on it alone.

The coefficients C hold, for each state, the prior with the log-normalisers and then the natural
parameters; T holds a row of ones and then the statistics of a block of rows. Then

.. math::
    L &= C \, T, && C = (\log \pi_k - A(\eta_k), \; \eta_k), \quad T = (1, T(x_i)) \\
    r_{ki} &= \exp L_{ki} / \textstyle\sum_j \exp L_{ji}, &&
        \log p(x_i) = \log \textstyle\sum_j \exp L_{ji} \\
    S &= R \, T^\top, && \text{whose first column counts the rows of each state.}

Two matrix products and a softmax; what `latentem.inference` does for any graph comes to the same.
Under hard assignment a row has the one state with the highest :math:`L_{ki}`, and its column of T
is added to the sums of that state.
"""

from __future__ import annotations

from typing import Self

import attrs
import numpy as np

from latentem.data import Data, weighted_sum
from latentem.distributions.arrays import LOG_ZERO, Array
from latentem.distributions.kernels import AttachedStack, Divided, Stack
from latentem.distributions.records import Counts, Record, StackRecord
from latentem.em.assign import Hard, Soft
from latentem.em.expectation import Expectation
from latentem.em.layout import Family, Layout
from latentem.em.theta import Theta
from latentem.inference.elimination import first_maximum
from latentem.kernels.expected import expected_sums
from latentem.kernels.softmax import log_normalise

#: Work of a block of a compiled pass: next to the least, handing the block to a thread is little.
LEAST_WORK, MOST_WORK = 2**21, 2**24
#: Work for a row and a state besides that for each coefficient.
WORK_OF_SOFTMAX = 16
#: Most rows of a block of such a pass.
MOST_ROWS = 2**17


def is_mixture(layout: Layout, data: Data) -> bool:
    """Return whether a model is a mixture, without labels of its latent."""
    if data.labels or layout.regressed or len(layout.latents) != 1 or len(layout.observed) != 1:
        return False
    (latent,), (observed,) = layout.latents, layout.observed
    return not latent.parents and observed.parents == latent.names


@attrs.frozen(eq=False)
class Mixture:
    """The parameters of a mixture, made ready for passes over blocks of rows.

    Attributes
    ----------
    stack : Stack
        The kernels of the observed nodes, the log prior within the coefficients.
    n_states : int
        K.
    log_prior : array, (K, 1), or None
        The log prior, if no kernel has coefficients.
    compiled : bool
        Whether to use compiled kernels.
    divided : Divided or None
        A density of which a part is the same in all states, the rest of which is `stack`.
    is_at_once : bool
        Whether the one kernel expects all by itself, in one compiled pass.
    """

    stack: Stack
    n_states: int
    log_prior: Array | None
    compiled: bool
    divided: Divided | None = None
    is_at_once: bool = False

    @classmethod
    def of(cls, theta: Theta, rule: Soft | Hard) -> Self:
        """Make parameters ready for passes under a rule."""
        (stack,), (table,) = theta.stacks, theta.latent_tables.values()
        log_prior = np.maximum(table, LOG_ZERO).T  # (K, 1)
        compiled = theta.layout.elimination.compiled
        divided = stack.divided if compiled and not rule.is_hard else None
        if divided is not None:
            stack = Stack.of((divided.linear,))
        if stack.coefficients is None or len(stack.coefficients) != len(log_prior):
            at_once = compiled and not rule.is_hard and len(stack.kernels) == 1
            at_once = at_once and stack.kernels[0].is_at_once
            return cls(stack, len(log_prior), log_prior, compiled, is_at_once=at_once)
        factored = compiled and not rule.is_hard and stack.pairs is not None
        stack = attrs.evolve(stack, factored=factored, log_prior=log_prior)
        return cls(stack, len(log_prior), None, compiled, divided)

    @property
    def is_linear(self) -> bool:
        """Whether the densities are one product with the statistics."""
        return self.log_prior is None and self.stack.pairs is not None

    @property
    def cells(self) -> int:
        """Columns of the working arrays of a block of rows."""
        return self.n_states + self.stack.n_columns

    def largest_block(self, data: Data, observed: Family) -> int | None:
        """Return the most rows of a block if no arrays of them are made, else None."""
        values = tuple(data.argument(name) for name in observed.names)
        alone = self.stack.coefficients is not None and self.stack.standardised(values) is not None
        if not self.is_at_once and not alone:
            return None
        rows = max(LEAST_WORK // self.work, -(-data.n // 4))
        return int(max(1, min(rows, MOST_ROWS, MOST_WORK // self.work)))

    @property
    def work(self) -> int:
        """Work for a row, in units of that for a coefficient."""
        if self.is_at_once:
            columns = self.stack.kernels[0].n_columns
        else:
            assert self.stack.coefficients is not None
            columns = int(self.stack.coefficients.shape[1])
        return self.n_states * (columns + WORK_OF_SOFTMAX)

    def expect(
        self, data: Data, observed: Family, attached: AttachedStack
    ) -> tuple[Expectation, Array]:
        """Return the expected statistics of a block of rows, and log p(x) of each row.

        ``attached`` is `stack` on these rows.
        """
        if self.is_linear and attached.factors is not None and self.stack.coefficients is not None:
            given = self.stack.coefficients, attached.factors, attached.pairs, data.weights
            sums, evidence = expected_sums(*given, compiled=self.compiled)
            record, counts = StackRecord(sums, ()), sums[:, 0]
        elif (found := self._at_once(data, attached)) is not None:
            own, counts, evidence = found
            record = StackRecord(None, (own,))
        else:
            table = self._log_joint(observed, attached)
            evidence = log_normalise(table, compiled=self.compiled)
            if data.weights is not None:
                table *= data.weights
            record = attached.record(table)
            counts = table.sum(axis=1) if record.sums is None else record.sums[:, 0]
        total = weighted_sum(evidence, data)
        return Expectation((record,), (Counts(counts[:, None]),), total, total), evidence

    def _at_once(self, data: Data, attached: AttachedStack) -> tuple[Record, Array, Array] | None:
        """Return what the one kernel expects by itself, if it does so in one compiled pass."""
        if self.log_prior is None or not self.is_at_once:
            return None
        return attached.others[0].at_once(self.log_prior, data.weights)

    def completed(self, expectation: Expectation, common_sums: Array) -> Expectation:
        """Return that of all rows with what is the same in all states; see `Divided`."""
        assert self.divided is not None
        (record,) = expectation.stacks
        assert record.sums is not None
        own = self.divided.record_of(record.sums[:, 0], record.sums[:, 1:], common_sums)
        total = expectation.objective + self.divided.log_common(common_sums)
        return Expectation((StackRecord(None, (own,)),), expectation.counts, total, total)

    def assign(
        self, data: Data, observed: Family, attached: AttachedStack
    ) -> tuple[Expectation, Array]:
        """Return the statistics of a block of rows in their best states, and max_z log p(x, z)."""
        state, value = self.best(observed, attached)
        weights, k = data.row_weights, self.n_states
        record = attached.record_of_states(state, weights, k)
        counts = np.bincount(state, weights, k) if record.sums is None else record.sums[:, 0]
        total = weighted_sum(value, data)
        return Expectation((record,), (Counts(counts[:, None]),), total, None), value

    def best(self, observed: Family, attached: AttachedStack) -> tuple[Array, Array]:
        """Return the best state of each row of a block, the first of equal ones, and its L."""
        return first_maximum(self._log_joint(observed, attached))

    def _log_joint(self, observed: Family, attached: AttachedStack) -> Array:
        """Return L."""
        table = attached.log_density()
        observed.check(table)
        if self.log_prior is not None:
            table += self.log_prior
        return table
