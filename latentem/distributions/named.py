"""Options of regressions that name a covariate: offsets and trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution, Inputs
from latentem.distributions.checks import counted, listed
from latentem.errors import ModelError, Unsuitable


class NamesCovariates(Distribution):
    """A regression of which options may name covariates: these have no coefficients.

    A subclass has the fields ``inputs`` and ``collinear``, and one for each option. It says in
    `named_widths` how many columns the covariate of an option must have.
    """

    __slots__ = ()
    takes_covariates: ClassVar[bool] = True
    #: The options.
    named: ClassVar[tuple[str, ...]] = ("offset",)

    coefficients: Array | None
    inputs: Inputs | None
    #: The states (a mask) whose coefficients are the smallest of many that fit alike.
    collinear: Array | None

    @property
    def events(self) -> tuple[str, ...]:
        if self.collinear is None or not self.collinear.any():
            return ()
        return (
            f"the covariates of state {listed(self.collinear)} are collinear, so of all "
            "coefficients that fit alike these are the smallest",
        )

    @property
    def named_widths(self) -> Mapping[str, tuple[int | None, str]]:
        """The number of columns of each named covariate, and why; None if not known yet."""
        return {}

    def check_named(self) -> None:
        """Raise `ModelError` unless the offset is the name of a covariate, if there is one."""
        name = getattr(self, "offset", None)
        if not isinstance(name, str | None):
            raise ModelError(
                f"{type(self).__name__}: offset must be the name of a covariate among the parents "
                f"of its node, got {name!r}. Give its name."
            )

    @property
    def named_columns(self) -> dict[str, slice]:
        if self.inputs is None:
            return {}
        named = {option: getattr(self, option) for option in self.named}
        return {
            option: self.inputs.columns(name)
            for option, name in named.items()
            if isinstance(name, str)
        }

    def with_inputs(self, inputs: Inputs) -> Self:
        for option in self.named:
            name = getattr(self, option)
            if isinstance(name, str) and name not in inputs.names:
                raise Unsuitable(
                    f"be '{name}' because {type(self).__name__} has {option}={name!r}",
                    f"only {list(inputs.names)}",
                    f"Add covariate({name!r}) to its parents.",
                )
        made = self if self.inputs == inputs else attrs.evolve(self, inputs=inputs)  # type: ignore[misc]
        for option, columns in made.named_columns.items():
            width, why = made.named_widths.get(option, (1, "it is one number a row"))
            found = columns.stop - columns.start
            if width not in (None, found):
                raise Unsuitable(
                    f"have {counted(width, 'column')} '{getattr(self, option)}', its {option}, "
                    f"because {why}",
                    f"{found}",
                    f"Pass {'(n,)' if width == 1 else f'(n, {width})'}.",
                )
        if made.coefficients is not None:
            made._check_width(made.coefficients.shape[-1])
        return made

    def _check_width(self, p: int) -> None:
        """Raise `Unsuitable` unless there is a covariate for each of p coefficients."""
        width = self.n_regressors
        if width != p:
            beside = "".join(f" beside its {option}" for option in self.named_columns)
            raise Unsuitable(
                f"have {counted(p, 'column')}{beside} because its parameters have "
                f"{counted(p, 'coefficient')}",
                f"{width}",
                "Pass the covariates that it was fitted to, or fit it again.",
            )

    @property
    def n_regressors(self) -> int:
        """The number of columns that have coefficients."""
        return 0 if self.inputs is None else self.inputs.width - len(self._places())

    def _places(self) -> set[int]:
        """Return the columns that have no coefficients."""
        return {i for place in self.named_columns.values() for i in range(place.start, place.stop)}

    def split(self, inputs: Array) -> tuple[Array, dict[str, Array]]:
        """Return the covariates with coefficients ``(n, p)``, and those named ``(n, width)``."""
        columns = self.named_columns
        for option in self.named:
            name = getattr(self, option)
            if isinstance(name, str) and option not in columns:
                raise ModelError(
                    f"{type(self).__name__}: {option}={name!r} must be a covariate of its node "
                    "because it is a column among others, got a distribution by itself. "
                    "Use it in a model."
                )
        if not columns:
            return inputs, {}
        named = {option: inputs[:, place] for option, place in columns.items()}
        return np.delete(inputs, sorted(self._places()), axis=1), named
