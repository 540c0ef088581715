"""What an E-step leaves for the M-step, and what both say of a node."""

from __future__ import annotations

from typing import Any, Protocol

import attrs

from latentem.data import Data
from latentem.distributions.kernels import AttachedStack
from latentem.distributions.records import StackRecord
from latentem.inference.posterior import Posterior


@attrs.frozen(eq=False)
class Expectation:
    """The addable record of one E-step: expected statistics of all nodes, and the objective.

    Attributes
    ----------
    stacks : tuple of StackRecord
        For each family of observed nodes.
    counts : tuple of Counts or Choices
        For each latent.
    objective : float
        F, without the nodes' base measures.
    evidence : float or None
        log p(X), likewise, where the assignment computes it.
    """

    stacks: tuple[StackRecord, ...]
    counts: tuple[Any, ...]
    objective: float
    evidence: float | None

    def __add__(self, other: Expectation) -> Expectation:
        known = self.evidence is not None and other.evidence is not None
        return Expectation(
            tuple(a + b for a, b in zip(self.stacks, other.stacks, strict=True)),
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
            self.objective + other.objective,
            (self.evidence or 0.0) + (other.evidence or 0.0) if known else None,
        )


class Beliefs(Protocol):
    """Probabilities of the latents in each row, read a block of rows at a time: a posterior."""

    def __getitem__(self, rows: slice) -> Posterior:
        """Return those of a block of rows."""


@attrs.frozen(eq=False)
class Block:
    """A block of rows after the E-step.

    Attributes
    ----------
    data : Data
    attached : tuple of AttachedStack
        The kernels of the observed families, on these rows.
    posterior : Posterior
    """

    data: Data
    attached: tuple[AttachedStack, ...]
    posterior: Posterior


@attrs.frozen
class Term:
    """One node's term of Q."""

    value: float
    magnitude: float
