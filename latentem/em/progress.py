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
    """

    def __init__(self, enabled: bool) -> None:
        self._display: Any = None
        self._task: Any = None
        self._run = ""
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

    def update(self, iteration: int, objective: float, run: str) -> None:
        """Show an iteration of a run, which is named."""
        if self._display is None:
            return
        if run != self._run or iteration == 0:
            self._run, self._objective = run, None
        change = "" if self._objective is None else f"  change {objective - self._objective:.3g}"
        self._display.update(
            self._task,
            description=f"{run}  iteration {iteration}  objective {objective:.6f}{change}",
        )
        self._objective = objective
