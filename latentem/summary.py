"""A table of a fit, for people to read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import count_parameters
from latentem.errors import MissingMethodError, require
from latentem.graph import Node
from latentem.tables import (
    StandardErrors,
    number_text,
    parameters_at,
    render,
    state_names,
)

if TYPE_CHECKING:
    from latentem.em.result import Fit


@attrs.frozen(eq=False, repr=False)
class Summary:
    """Numbers of a fit, and its states and parameters by node. Print it, or show it with rich.

    Printing needs the extra ``cli``.

    Attributes
    ----------
    fit : Fit
    standard_errors : mapping of str to mapping of str to array
        By node and parameter, in the parameter's shape; printed where given.
    """

    fit: Fit
    standard_errors: StandardErrors = attrs.field(factory=dict)

    def numbers(self) -> list[tuple[str, str]]:
        """Return the named numbers of the fit, each saying what it is."""
        fit = self.fit
        rows = [("model", str(fit.model)), ("rows", str(fit.n_rows))]
        if fit.total_weight != fit.n_rows:
            rows.append(("total weight", f"{fit.total_weight:g}"))
        if fit.has_priors:
            rows.append(("estimates", "maximum a posteriori (MAP): they maximise F"))
        if fit.model.requires_hard:
            rows.append(("distortion J, total", f"{fit.distortion:.6f}"))
            rows += self._objective("objective F, log prior included, total")
        else:
            rows.append(("log-likelihood, total in nats", f"{fit.log_likelihood:.6f}"))
            if fit.assignment == "soft":
                rows += self._objective("objective F, the sum of both in nats")
            try:
                rows += [
                    ("free parameters", str(fit.n_parameters)),
                    ("AIC, smaller is better", f"{fit.aic:.4f}"),
                    ("BIC, smaller is better", f"{fit.bic:.4f}"),
                    ("ICL, smaller is better", f"{fit.icl:.4f}"),
                ]
            except MissingMethodError as error:
                rows.append(("free parameters", str(error)))
            under = ""
            if fit.assignment != "soft":
                under = " under it"
                rows.append(("assignment rule", fit.assignment))
                part = ", log prior included" if fit.has_priors else ""
                what = f"objective F under it{part}, total in nats"
                rows += self._objective(what) or [(what, f"{fit.objective:.6f}")]
            what = f"entropy of the posterior{under}, total in nats"
            rows.append((what, f"{round(fit.entropy, 6) + 0.0:.6f}"))
        rows.append(("iterations", str(fit.iterations)))
        if len(fit.starts) > 1:
            rows.append(("starts", fit.starts_line))
        rows.append(("ending", fit.status.value))
        rows += [("noted", event) for event in fit.noted]
        if self.standard_errors:
            rows.append(("±", "estimate ± its standard error"))
        return rows

    def _objective(self, what: str) -> list[tuple[str, str]]:
        """Return the log prior, and F of which it is a part; nothing without priors."""
        if not self.fit.has_priors:
            return []
        prior = ("log prior of the parameters", f"{self.fit.log_prior:.6f}")
        return [prior, (what, f"{self.fit.objective:.6f}")]

    def tables(self) -> Iterator[Any]:
        """Yield what rich prints: the numbers, then for each node its states and parameters."""
        rich_table, rich_text = (require(f"rich.{m}", extra="cli") for m in ("table", "text"))
        overview = rich_table.Table(title="Fit", title_justify="left", show_header=False)
        for what, value in self.numbers():
            overview.add_row(what, value)
        yield overview
        counts = self._expected_counts()
        for node in self.fit.model.order:
            grids = self._parameters(node)
            if node.name in counts:
                grids = [self._states(node, counts[node.name]), *grids]
            if grids:
                yield rich_text.Text(f"\n{_title(node)}", style="italic")
            for header, *rows in grids:
                table = rich_table.Table()
                for name in header:
                    table.add_column(name, justify="right")
                for row in rows:
                    table.add_row(*row)
                yield table

    def _expected_counts(self) -> dict[str, Array]:
        """Return the number of rows, or weight, that the assignment rule puts into each state."""
        posterior = self.fit.assigned()
        names = [node.name for node in self.fit.model.latents]
        return {name: posterior.row_weights @ posterior.marginal(name) for name in names}

    def _states(self, node: Node, counts: Array) -> list[list[str]]:
        """Return header and rows: how much of the data each state of a latent stands for."""
        unit = "rows" if self.fit.total_weight == self.fit.n_rows else "weight"
        if not self.fit.is_assigned_whole:
            unit = f"expected {unit}"
        rows = [
            [state, f"{count:.2f}", f"{count / counts.sum():.4f}"]
            for state, count in zip(state_names(node), counts, strict=True)
        ]
        return [[node.name, unit, "share"], *rows]

    def _parameters(self, node: Node) -> list[list[list[str]]]:
        """Return header and rows, one for each combination of the parents' states, if any."""
        if node.dist is None:
            return []
        model, errors = self.fit.model, self.standard_errors.get(node.name, {})
        cells = {
            states: {
                field: _cell(value, error)
                for field, value, error in parameters_at(node.dist, states, errors)
            }
            for states in product(*map(range, model.parents_shape(node.name)))
        }
        # The cases of a switch may have different parameters.
        fields = list(dict.fromkeys(field for known in cells.values() for field in known))
        if not fields:
            return []
        parents = model.discrete_parents(node.name)
        header = [*(parent.name for parent in parents), *fields]
        names = product(*map(state_names, parents))
        rows = [
            [*states, *(known.get(field, "") for field in fields)]
            for states, known in zip(names, cells.values(), strict=True)
        ]
        return [[header, *rows]]

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        yield from self.tables()

    def __str__(self) -> str:
        return render(self.tables())

    __repr__ = __str__


def _title(node: Node) -> str:
    """Return the conditional, its family, and how many of its parameters are free."""
    assert node.dist is not None
    family = type(node.dist.free).__name__
    if node.dist.levels is not None:
        family += f" of {', '.join(state_names(node))}"
    if node.tie is not None:
        return f"{node}: {family}, tied to {node.tie}"
    if node.dist.free is not node.dist:
        return f"{node}: {family}, fixed"
    try:
        n_free = count_parameters(node.dist)
    except MissingMethodError:
        return f"{node}: {family}"
    return f"{node}: {family}, {n_free} free parameter{'' if n_free == 1 else 's'}"


def _cell(value: Array, error: Array | None) -> str:
    if error is None:
        return number_text(value, decimals=5, threshold=16)
    pairs = np.empty(np.shape(value), dtype=object)
    for index in np.ndindex(pairs.shape):
        pairs[index] = f"{value[index]:.5g} ± {error[index]:.2g}"
    return np.array2string(
        pairs, threshold=16, edgeitems=2, separator=", ", formatter={"object": str}
    )
