"""What is shown while a fit runs."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from latentem.errors import require


class Progress:
    """A live line with iteration, objective and its change, where someone can watch.

    Nothing is written if it is not asked for, or if standard error is not a terminal or notebook.

    Parameters
    ----------
    enabled : bool
    n_starts : int
        Number of starts that will be tried.
    what : str
        What the runs are from.
    """

    def __init__(self, enabled: bool, n_starts: int, what: str = "starts") -> None:
        self._display: Any = None
        self._task: Any = None
        self._start = 0
        self._n_starts = n_starts
        self._what = what
        self._objective: float | None = None
        if enabled:
            progress = require("rich.progress", extra="cli")
            console = require("rich.console", extra="cli").Console(stderr=True)
            if console.is_terminal or console.is_jupyter:
                self._display = progress.Progress(
                    progress.SpinnerColumn(),
                    progress.TextColumn("{task.description}"),
                    progress.TimeElapsedColumn(),
                    console=console,
                    transient=True,
                )

    def __enter__(self) -> Self:
        if self._display is not None:
            self._display.start()
            self._task = self._display.add_task("fitting", total=None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._display is not None:
            self._display.stop()

    def update(self, iteration: int, objective: float) -> None:
        """Show an iteration."""
        if self._display is None:
            return
        if iteration == 0:
            self._start += 1
            self._objective = None
        change = "" if self._objective is None else f"  change {objective - self._objective:.3g}"
        run = f"run {self._start} ({self._n_starts} {self._what})  " if self._n_starts > 1 else ""
        self._display.update(
            self._task,
            description=f"{run}iteration {iteration}  objective {objective:.6f}{change}",
        )
        self._objective = objective
