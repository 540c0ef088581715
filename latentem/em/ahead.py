"""Steps of EM taken before they are asked for.

On few rows a step costs less than to go from one to the next, so several are taken at once and then
handed out one by one. How many doubles with each time that all before were wanted.
"""

from __future__ import annotations

from collections.abc import Callable

from latentem.distributions.arrays import Array
from latentem.kernels.steps import Steps

#: Steps taken at first: as many as are made between two leaps of an accelerator.
FEWEST = 2


class Ahead:
    """Steps in a row, handed out one by one.

    Parameters
    ----------
    take : callable
        Returns the next few steps from some sums.
    most : int
        The most to take at once.
    """

    def __init__(self, take: Callable[[Array, int], Steps], most: int) -> None:
        self._take = take
        self._most = most
        self._steps: Steps | None = None
        self._place = 0
        self._last: Array | None = None  # the sums of the step that was handed out last
        self._count = FEWEST

    def step(self, sums: Array) -> tuple[Array, Array, float, float, float] | None:
        """Return a step: C, S, C . S with the sums before it and with its own, the likelihood.

        None where there is more to it.
        """
        if self._steps is None or sums is not self._last or self._place == len(self._steps):
            doubled = min(2 * self._count, self._most)
            self._count = doubled if sums is self._last else FEWEST
            self._steps, self._place = self._take(sums, self._count), 0
        steps, i = self._steps, self._place
        if i == len(steps):
            return None
        self._place, self._last = i + 1, steps.sums[i]
        return steps.coefficients[i], self._last, steps.q_before[i], steps.q[i], steps.likelihood[i]
