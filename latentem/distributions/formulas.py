r"""The formulas of a family as data: what its docstring and a notebook show, and tests evaluate.

They are LaTeX, in the notation of the docstrings: x is a value, k a state of the parents, i a row
with the weight :math:`r_{ik}`, and a bar over a term is its mean weighted by :math:`r_{ik}`. What
is stated are equations, with ``\qquad`` between them; an equation for a bare name without a hat
defines it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.structure import Structure
from latentem.distributions.structure_formulas import SHARED

#: Between two equations.
AND = r", \qquad "
#: Larger arrays are shown by their shape.
LARGEST_SHOWN = 36


@attrs.frozen
class Formulas:
    r"""The formulas of a family.

    Parameters
    ----------
    log_density : str
        The log-density, then the definitions that it needs, and the support.
    statistics : str
        The sufficient statistics, of a family with an auxiliary variable as expected given x; empty
        if no finite number of them is sufficient.
    update : str
        The maximiser, or the equations that it solves; empty if nothing is fitted.
    symbols : mapping of str to str
        From the LaTeX of a symbol to the name of the parameter.
    held : mapping of str to str
        The update of the others where one parameter is held, by its name. For those that are not
        here it is `update` without the equations for them.

    Examples
    --------
    >>> import latentem as lem
    >>> print(lem.Poisson.formulas.log_density)
    \log p(x \mid k) = x \log \lambda_k - \lambda_k - \log x!
    >>> lem.Poisson.formulas.symbols
    {'\\lambda': 'rate'}
    """

    log_density: str
    statistics: str = ""
    update: str = ""
    symbols: Mapping[str, str] = attrs.field(factory=dict)
    held: Mapping[str, str] = attrs.field(factory=dict)

    def written_into(self, text: str) -> str:
        """Return a docstring with its ``{log_density}`` and the like filled in."""
        for name in ("log_density", "statistics", "update"):
            text = text.replace(f"{{{name}}}", getattr(self, name))
        return text

    def holding(self, names: Collection[str]) -> Formulas:
        """Return these with the update of what is free where some parameters are held."""
        changed = [self.held[name] for name in names if name in self.held]
        formulas = attrs.evolve(self, update=changed[0]) if changed else self
        return formulas.without_update(names)

    def without_update(self, names: Collection[str] | None) -> Formulas:
        """Return these without the equations for some parameters, all if None."""
        if names is None:
            return attrs.evolve(self, update="")
        kept = (each for each in self.update.split(AND) if self._parameter(each) not in names)
        return attrs.evolve(self, update=AND.join(kept))

    def pooled(self, name: str) -> Formulas:
        """Return these with one parameter for all states: sums over rows are over states, too."""
        return self._with_right_side(name, lambda right: right.replace(r"\sum_i", r"\sum_{ik}"))

    def of_structure(self, structure: Structure, dimension: str = "d") -> Formulas:
        r"""Return these for a structure of :math:`\Sigma`."""
        name = self.symbols[r"\Sigma"]
        if not structure.is_linear:
            return self._with_estimate(name, SHARED[structure.letters])
        around = {
            "full": "{}",
            "diagonal": r"\operatorname{{diag}} \left( {} \right)",
            "spherical": rf"\tfrac1{dimension} \operatorname{{{{tr}}}} \left( {{}} \right) I",
        }[structure.word]
        formulas = self.pooled(name) if structure.volume == "equal" else self
        return formulas._with_right_side(name, around.format)

    def _parameter(self, equation: str) -> str | None:
        r"""Return the parameter that an equation is for, whose symbol is the first with a hat."""
        first = re.search(r"\\hat *(\\?[A-Za-z]+)", equation)
        symbols = {symbol.partition("^")[0]: name for symbol, name in self.symbols.items()}
        return None if first is None else symbols.get(first.group(1))

    def _with_right_side(self, name: str, change: Callable[[str], str]) -> Formulas:
        def changed(equation: str) -> str:
            if self._parameter(equation) != name:
                return equation
            left, right = equation.split(" = ", 1)
            return f"{left} = {change(right)}"

        return attrs.evolve(self, update=AND.join(map(changed, self.update.split(AND))))

    def _with_estimate(self, name: str, shared: str) -> Formulas:
        """Return these with the estimate of matrices that share something, made of their own."""

        def changed(equation: str) -> str:
            if self._parameter(equation) != name:
                return equation
            _, scatter = equation.split(" = ", 1)
            return AND.join([r"n_k = \sum_i r_{ik}", f"S_k = {scatter}", shared])

        return attrs.evolve(self, update=AND.join(map(changed, self.update.split(AND))))

    def named(self, name: str) -> str:
        """Return the log-density with ``name`` for the density, :math:`p(x | k)`."""
        _, right = self.log_density.split(" = ", 1)
        return rf"\log {name} = {right}"


def composed(log_density: str, parts: Mapping[str, Formulas | None]) -> Formulas | None:
    """Return the formulas of a density that is made of others, by name; None if one has none."""
    stated = {name: part for name, part in parts.items() if part is not None}
    if len(stated) < len(parts):
        return None
    densities = [part.named(name) for name, part in stated.items()]
    updates = [
        rf"{name.partition('(')[0]}: \quad {part.update}"
        for name, part in stated.items()
        if part.update
    ]
    return Formulas(AND.join([log_density, *densities]), update=AND.join(updates))


def displayed(lines: Collection[str]) -> str:
    """Return formulas as one display for a notebook, a line each."""
    return r"$$\begin{gathered} " + r" \\ ".join(filter(None, lines)) + r" \end{gathered}$$"


def equation(symbol: str, value: Array) -> str:
    """Return a parameter and its value as LaTeX; a large array by its shape."""
    if value.size > LARGEST_SHOWN:
        shape = r" \times ".join(map(str, value.shape))
        return rf"{symbol} \in \mathbb{{R}}^{{{shape}}}"
    return f"{symbol} = {_array(value)}"


def _array(value: Array) -> str:
    if value.ndim == 0:
        return _number(value.item())
    if value.ndim == 1:
        return r"(" + r",\; ".join(_array(entry) for entry in value) + ")"
    if value.ndim == 2:
        rows = (" & ".join(_array(entry) for entry in row) for row in value)
        return r"\begin{pmatrix} " + r" \\ ".join(rows) + r" \end{pmatrix}"
    return r",\; ".join(_array(part) for part in value)


def _number(value: float) -> str:
    text = np.format_float_positional(value, precision=4, fractional=False, trim="-")
    if 1e-4 <= abs(value) < 1e6 or value == 0 or not np.isfinite(value):
        return {"inf": r"\infty", "-inf": r"-\infty", "nan": r"\mathrm{nan}"}.get(text, text)
    digits, exponent = f"{value:.3e}".split("e")
    return rf"{digits.rstrip('0').rstrip('.')} \times 10^{{{int(exponent)}}}"
