"""A table of a fit, for people to read."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from itertools import product
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.errors import MissingMethodError, require

if TYPE_CHECKING:
    from latentem.em.result import Fit


@attrs.frozen(eq=False, repr=False)
class Summary:
    """Numbers of a fit, and its parameters by node and state. Print it, or show it with rich.

    Printing needs the extra ``cli``.
    """

    fit: Fit

    def numbers(self) -> list[tuple[str, str]]:
        """Return the named numbers of the fit, each saying what it is."""
        fit = self.fit
        rows = [("model", str(fit.model))]
        if fit.model.requires_hard:
            rows.append(("distortion J, total", f"{fit.distortion:.6f}"))
        else:
            rows.append(("log-likelihood, total in nats", f"{fit.log_likelihood:.6f}"))
            try:
                rows += [
                    ("free parameters", str(fit.n_parameters)),
                    ("AIC, smaller is better", f"{fit.aic:.4f}"),
                    ("BIC, smaller is better", f"{fit.bic:.4f}"),
                    ("ICL, smaller is better", f"{fit.icl:.4f}"),
                ]
            except MissingMethodError as error:
                rows.append(("free parameters", str(error)))
        rows.append(("iterations", str(fit.iterations)))
        if len(fit.starts) > 1:
            rows.append(("starts", fit.starts_line))
        rows.append(("ending", fit.status.value))
        return rows

    def tables(self) -> Iterator[Any]:
        """Yield rich tables: the numbers, then one for each node."""
        table = require("rich.table", extra="cli")
        overview = table.Table(title="Fit", title_justify="left", show_header=False)
        for what, value in self.numbers():
            overview.add_row(what, value)
        yield overview
        model = self.fit.model
        for name, dist in model.distributions.items():
            parents = model.discrete_parents(name)
            shape = model.parents_shape(name)
            known = {f: v for f, v in dist.parameters.items() if v is not None}
            if not known:
                continue
            node = table.Table(
                title=f"{model.by_name[name]}: {type(dist).__name__}", title_justify="left"
            )
            for parent in parents:
                node.add_column(parent.name, justify="right")
            for field in known:
                node.add_column(field, justify="right")
            for states in product(*map(range, shape)):
                cells = [
                    _cell(value[states] if value.shape[: len(shape)] == shape else value)
                    for value in known.values()
                ]
                node.add_row(*map(str, states), *cells)
            yield node

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        yield from self.tables()

    def __str__(self) -> str:
        console = require("rich.console", extra="cli")
        out = StringIO()
        printer = console.Console(file=out, width=100, color_system=None, force_terminal=False)
        for table in self.tables():
            printer.print(table)
        return out.getvalue().rstrip()

    __repr__ = __str__


def _cell(value: Array) -> str:
    return np.array2string(np.asarray(value), precision=5, threshold=16, edgeitems=2)
