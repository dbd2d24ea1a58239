"""The states of a device, and the one table of the steps between them.

::

            add            ready           probe          bind
      NEW ------> REGISTERED ---> UNBOUND ------> PROBING ------> BOUND
                      |            |  ^  ^           | fail         | release
                      | remove     |  |  +-----------+              v
                      +----------> |  +------------------------ RELEASING
                                   v          released
                                REMOVED

A step that the table does not have raises ``StateError`` (``Device.step``), changes nothing, and carries the device's
story.

Source: ``drivers/base/core.c``, ``drivers/base/dd.c``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class DeviceState(StrEnum):
    """Where a device is in its life."""

    NEW = "new"
    REGISTERED = "registered"
    UNBOUND = "unbound"
    PROBING = "probing"
    BOUND = "bound"
    RELEASING = "releasing"
    REMOVED = "removed"


#: step -> {state before: state after}. The whole truth about what may follow what.
STEPS: Final[dict[str, dict[DeviceState, DeviceState]]] = {
    "add": {DeviceState.NEW: DeviceState.REGISTERED},
    "ready": {DeviceState.REGISTERED: DeviceState.UNBOUND},
    "probe": {DeviceState.UNBOUND: DeviceState.PROBING},
    "fail": {DeviceState.PROBING: DeviceState.UNBOUND},
    "bind": {DeviceState.PROBING: DeviceState.BOUND},
    "release": {DeviceState.BOUND: DeviceState.RELEASING},
    "released": {DeviceState.RELEASING: DeviceState.UNBOUND},
    "remove": {DeviceState.REGISTERED: DeviceState.REMOVED, DeviceState.UNBOUND: DeviceState.REMOVED},
}


def story_line(step: str, detail: str) -> str:
    """Return a line of a device's story; a step leads to one state, wherever it starts."""
    if not step:
        return detail
    after = next(iter(STEPS[step].values()))
    return f"{step}: {after} {detail}" if detail else f"{step}: {after}"
