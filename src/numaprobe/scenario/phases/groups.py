"""``[[devices]]`` and what a probe registers: groups of devices that are alike."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from numaprobe.scenario.phases.attributes import Attributes
from numaprobe.scenario.phases.base import Phases
from numaprobe.scenario.quantities import NamePattern
from numaprobe.scenario.tables import MAX_DEVICES, Names, Table, refused

#: A node number; ``none`` (-1, the firmware gave none); ``spread`` (round robin over the nodes online); ``cpu``
#: (device *i* on the node of the *i*-th CPU online); or a list of nodes, taken in turn.
NodeChoice = Literal["none", "spread", "cpu"] | int | list[int]


def _node(value: Any) -> Any:  # noqa: ANN401  whatever the file holds
    fits = (isinstance(value, int) and not isinstance(value, bool) and value >= -1) or (
        isinstance(value, list) and value and all(type(item) is int and item >= 0 for item in value)
    )
    if not fits and value not in ("none", "spread", "cpu"):
        raise refused(f"{value!r:.40} is no node; write a number, a list of numbers, 'none', 'spread' or 'cpu'")
    return value


def _count(value: Any) -> Any:  # noqa: ANN401  whatever the file holds
    if value == "cpus" or (type(value) is int and 0 < value <= MAX_DEVICES):
        return value
    text = f"{value!r:.40} is no count; write a number from 1 to {MAX_DEVICES}, or 'cpus' for one per CPU online"
    raise refused(text)


class DeviceGroup(Table):
    """``[[devices]]``: a device, or ``count`` devices that are alike."""

    name: NamePattern
    count: Annotated[int | Literal["cpus"], BeforeValidator(_count)] = 1
    #: the first value of ``{i}``
    first: Annotated[int, Field(ge=0, le=MAX_DEVICES)] = 0
    bus: NamePattern = "platform"
    #: None: the parent's node, or none
    node: Annotated[NodeChoice | None, BeforeValidator(_node)] = None
    parent: NamePattern | None = None
    #: what drivers match: their ``match`` lists
    compatible: NamePattern | None = None
    #: devices that must be bound first
    suppliers: Annotated[Names | None, Field()] = None
    #: what probing it costs, whichever driver does; None: its driver's phases
    phases: Phases | None = None
    #: files that it has in sysfs as long as it is there
    attributes: Attributes = ()
    #: in ``register``, of a PCI device: it is a virtual function of the device that registers it
    virtual_function: bool = False
    #: of a USB device or interface: whether it may be used from the start (its ``authorized``); None: it may
    authorized: bool | None = None

    @property
    def own(self) -> dict[str, bool]:
        """What only devices of its bus take."""
        said = {"virtual_function": self.virtual_function or None, "authorized": self.authorized}
        return {key: value for key, value in said.items() if value is not None}
