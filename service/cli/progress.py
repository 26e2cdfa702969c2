"""Progress display on standard error: a bar on a terminal, plain lines elsewhere, nothing with --quiet."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["ShardProgress"]

_EVERY_S = 2.0  # between plain lines


class ShardProgress:
    """Context manager that shows how many shards and items are finished; an audit uses it as progress callback."""

    def __init__(self, title: str, *, quiet: bool, unit: str = "shards") -> None:
        self._title, self._quiet, self._unit, self._items, self._shown = title, quiet, unit, 0, 0.0
        self._bar: Progress | None = None
        if not quiet and sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task(title, total=None)

    def __enter__(self) -> "ShardProgress":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, done: int, total: int, items: int) -> None:
        """Show that `done` of `total` shards are finished; `items` is the number of items in the latest shard."""
        self._items += items
        if self._bar:
            self._bar.update(self._task, completed=done, total=total, description=f"{self._title}: {self._items} items")
        elif not self._quiet and (done == total or time.monotonic() - self._shown > _EVERY_S):
            self._shown = time.monotonic()
            print(f"{self._title}: {done}/{total} {self._unit}, {self._items} items", file=sys.stderr, flush=True)

    def count(self, label: str, items: int) -> None:
        """Show that `items` more items of `label` are encoded; for work that is not split into shards."""
        self._items += items
        if self._bar:
            self._bar.update(self._task, completed=self._items, description=f"{self._title}: {label}")
        elif not self._quiet and time.monotonic() - self._shown > _EVERY_S:
            self._shown = time.monotonic()
            print(f"{self._title}: {self._items} items ({label})", file=sys.stderr, flush=True)
