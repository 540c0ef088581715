"""The exceptions and warnings of latentem, and the one way their messages are written.

Every message reads ``{where}: {what} must {requirement}, got {actual}. {remedy}``, so that it says
which node or array is meant, what was expected, what was found and what to change.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class LatentemError(Exception):
    """Base of all errors raised by latentem.

    Attributes
    ----------
    node : str or None
        Name of the node concerned.
    iteration : int or None
        Iteration at which it happened.
    """

    def __init__(
        self, message: str, *, node: str | None = None, iteration: int | None = None
    ) -> None:
        super().__init__(message)
        self.node = node
        self.iteration = iteration


class ModelError(LatentemError, ValueError):
    """The declared graph, or a parameter in it, does not make a model."""


class DataError(LatentemError, ValueError):
    """The data do not fit the model."""


class TooLargeError(ModelError):
    """Exact inference would need a table beyond the documented limit."""


class EqualStatesError(ModelError):
    """All states are equal at the start: a stationary point of EM."""


class DegenerateError(LatentemError, ArithmeticError):
    """The likelihood has no maximum here: some state has too little to be fitted to."""


class ObjectiveDecreasedError(LatentemError, RuntimeError):
    """The objective fell, which exact EM cannot do: a maximiser is wrong."""


class MissingMethodError(LatentemError, NotImplementedError):
    """A distribution lacks an optional method that what was asked for needs."""


class MissingExtraError(LatentemError, ImportError):
    """An optional dependency is not installed."""


class ConvergenceWarning(UserWarning):
    """A fit stopped before it converged."""


class DegenerateWarning(UserWarning):
    """A fit ended on a constraint that keeps it from degenerating, or leaves parameters open."""


class Unsuitable(ValueError):
    """What a distribution finds wrong with a value or parameter, before the node's name is known.

    The graph and the data binding turn it into a `ModelError` or `DataError` that names the node.
    """

    def __init__(self, requirement: str, actual: str, remedy: str = "") -> None:
        super().__init__(f"must {requirement}, got {actual}. {remedy}".strip())
        self.requirement = requirement
        self.actual = actual
        self.remedy = remedy


def require(module: str, *, extra: str | None = None) -> ModuleType:
    """Import an optional dependency.

    Parameters
    ----------
    module : str
        Module to import.
    extra : str, optional
        The extra of latentem that installs it; without one, it is installed by its own name.

    Raises
    ------
    MissingExtraError
        If it is not installed; the message says how to.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        wanted = module if extra is None else f"'latentem[{extra}]'"
        raise MissingExtraError(
            f"{module} is needed for this and is not installed. "
            f"Install it with: pip install {wanted}"
        ) from error
