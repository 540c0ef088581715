"""Parameters made ready for passes over blocks of rows."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution, ExponentialFamily
from latentem.distributions.kernels import Kernel, LinearKernel, Stack
from latentem.em.layout import Layout


@attrs.frozen(eq=False, slots=False)
class Theta:
    """Parameters made ready for a pass: the parents' axes folded into one, kernels factorised.

    Attributes
    ----------
    layout : Layout
    dists : dict of str to Distribution
        By node name, each with exactly one parents' axis.
    others : dict of str to Kernel
        Kernels to use in place of the distributions' own, by node name.
    ready : dict of type to object
        What else has been made of them, by its type.
    """

    layout: Layout
    dists: dict[str, Distribution]
    others: dict[str, Kernel] = attrs.field(factory=dict)
    ready: dict[type, Any] = attrs.field(factory=dict, init=False, repr=False)

    @cached_property
    def kernels(self) -> dict[str, Kernel]:
        """The kernels of the observed nodes."""
        return {
            name: self.others.get(name) or self._kernel(name)
            for family in self.layout.observed
            for name in family.names
        }

    def _kernel(self, name: str) -> Kernel:
        dist = self.dists[name]
        kernel = dist.gapped_kernel() if name in self.layout.gapped else dist.kernel()
        return kernel.compiled if self.layout.elimination.compiled else kernel

    @cached_property
    def linear(self) -> dict[str, ExponentialFamily]:
        """The families of the kernels that leave out the base measure."""
        kernels = self.kernels.items()
        return {name: k.dist for name, k in kernels if isinstance(k, LinearKernel)}

    def finer(self, old: Theta) -> Theta | None:
        """Return ``old`` with kernels whose records are precise enough to make this θ of them.

        None if its own are. The densities are those of ``old``.
        """
        others = dict(old.others)
        for name, kernel in self.kernels.items():
            recorder = kernel.record_for(old.kernels[name])
            if recorder is not None:
                others[name] = recorder
        return attrs.evolve(old, others=others) if others != old.others else None

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """The kernels of the nodes with the same parents, as one."""
        return tuple(
            Stack.of(
                tuple(self.kernels[name] for name in family.names),
                tuple(name in self.layout.incomplete for name in family.names),
            )
            for family in self.layout.observed
        )

    @cached_property
    def latent_tables(self) -> dict[str, Array]:
        """Log p(z | parents) of each latent that is not regressed, ``(K, states)``."""
        tables = {}
        for family in self.layout.latents:
            (name,) = family.names
            if name in self.layout.regressed:
                continue
            k = self.layout.elimination.sizes[name]
            table = self.dists[name].log_prob_table
            if table.shape != (family.n_combinations, k):
                table = np.broadcast_to(table, (family.n_combinations, k))
            table = np.ascontiguousarray(table).view()
            table.flags.writeable = False  # shared by all blocks
            tables[name] = table
        return tables

    @cached_property
    def cells(self) -> int:
        """Columns of the working arrays of a block of rows: log-densities and statistics."""
        return self.layout.cells + max((stack.n_columns for stack in self.stacks), default=0)

    @property
    def is_parameterised(self) -> bool:
        """Whether all parameters are known."""
        return all(dist.is_parameterised for dist in self.dists.values())

    @property
    def at_constraint(self) -> bool:
        """Whether a constraint holds some parameters."""
        return any(dist.at_constraint for dist in self.dists.values())
