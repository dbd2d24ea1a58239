"""Which task waits for which, when nothing can run any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numaprobe.virtual.task import VirtualTask


def waits(blocked: Iterable[VirtualTask]) -> list[str]:
    """Return one line for each blocked task, in the order in which they blocked."""
    return [_line(task) for task in blocked]


def _line(task: VirtualTask) -> str:
    doing = f" (executing {task.work.name})" if task.work is not None else ""
    return f"{task.comm}{doing} waits for {task.waits_for}"
