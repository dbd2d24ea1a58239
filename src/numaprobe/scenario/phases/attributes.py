"""``attributes``: files that a device has in sysfs, and what their functions do."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from numaprobe.scenario.phases.base import Phases, with_inner
from numaprobe.scenario.quantities import NamePattern
from numaprobe.scenario.tables import Table, refused


class AttributeModel(Table):
    """A file: of a device as long as it is there, of a driver as long as it is bound to one (``dev_groups``)."""

    name: NamePattern
    #: what reading it does; None: it cannot be read
    show: Phases | None = None
    #: what writing it does; None: it cannot be written
    store: Phases | None = None
    #: both under the device's lock
    locked: bool = False

    @model_validator(mode="after")
    def _does_what_a_file_does(self) -> Self:
        if self.show is None and self.store is None:
            raise refused("a file of sysfs has 'show', 'store' or both: what reading and writing it does")
        for phase in with_inner((*(self.show or ()), *(self.store or ()))):
            if phase.registers:
                raise refused(f"a file of sysfs cannot '{phase.key}'; devices come in probes and by steps")
        return self


Attributes = Annotated[tuple[AttributeModel, ...], Field(strict=False, max_length=100)]
