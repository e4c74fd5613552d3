"""What the user sees while work goes on: one console, progress bars, timed steps.

Progress goes to standard error, results to standard output, so that a pipe carries results only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)  # fmt: skip
from rich.progress import TimeRemainingColumn as _Remaining
from rich.table import Table

T = TypeVar("T")

console = Console(stderr=True, highlight=False)
"""Progress and messages (standard error)."""
results = Console(highlight=False)
"""Results (standard output)."""
_LINE_EVERY = 60.0


def bar(show: bool = True) -> Progress:
    """A rich progress display on the console; removed from the screen when it ends."""
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        _Remaining(), console=console, transient=True, disable=not show,
    )  # fmt: skip


def track(items: Iterable[T], description: str, total: int | None = None, show: bool = True) -> Iterator[T]:
    """Iterate with a progress bar; `total` defaults to `len(items)` where there is one."""
    if not show:
        yield from items
        return
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    with bar() as progress:
        yield from progress.track(items, total=total, description=description)


@contextmanager
def rated(description: str, total: int, unit: str, show: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with a rate, the time left, and a line with the average rate at the end.

    Where there is no terminal to draw a bar on, such as in a log, a line is printed every `_LINE_EVERY` seconds.

    Gives a function of how much of `total` has been reached, and how many more `unit`s (such as texts) are done.
    """
    start = said = time.monotonic()
    count = 0
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), _Remaining(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not show) as progress:
        task = progress.add_task(description, total=total or None, rate="")

        def reached(done: int, more: int) -> None:
            nonlocal count, said
            count += more
            now = time.monotonic()
            rate = count / max(now - start, 1e-9)
            progress.update(task, completed=done, rate=f"{rate:,.0f} {unit}/s")
            if show and not console.is_terminal and now - said >= _LINE_EVERY:
                said = now
                share = f", {min(1.0, done / total):.0%}" if total else ""
                console.print(f"  [dim]{description}: {count:,} {unit}{share}, {rate:,.0f} a second[/dim]")

        yield reached
    if show and count:
        rate = count / max(time.monotonic() - start, 1e-9)
        console.print(f"  [dim]{count:,} {unit}, {rate:,.0f} a second[/dim]")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step and, when it has ended well, say how long it took."""
    console.print(f"[bold]·[/bold] {title} ...")
    start = time.monotonic()
    yield
    console.print(f"[green]✓[/green] {title} [dim]({time.monotonic() - start:.1f} s)[/dim]")


def warn(message: str) -> None:
    """One warning line."""
    console.print(f"[yellow]warning:[/yellow] {message}", soft_wrap=True)


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table of plain values on standard output; long cells are folded."""
    table = Table(title=escape(title), title_justify="left")
    for label in header:
        table.add_column(escape(label), overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    results.print(table)
