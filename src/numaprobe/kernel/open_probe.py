"""A probe in flight, and which of its calls the record will time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.kernel.kprobes import LOCAL_PCI_PROBE, REALLY_PROBE

if TYPE_CHECKING:
    from numaprobe.kernel.calls import Call
    from numaprobe.kernel.roads import Road

#: Functions between ``really_probe`` and the driver: timed only if nothing nearer to the driver was seen.
OUTER: Final = frozenset(
    {
        REALLY_PROBE,
        LOCAL_PCI_PROBE,
        "call_driver_probe",
        "driver_probe_device",
        "__driver_probe_device",
        "pci_call_probe",
        "pci_device_probe",
        "__pci_device_probe",
        "platform_probe",
        "platform_drv_probe",
        "virtio_dev_probe",
        "nvdimm_bus_probe",
        "faux_probe",
        "auxiliary_bus_probe",
        "i2c_device_probe",
        "spi_probe",
        "usb_probe_interface",
        "usb_probe_device",
        "scsi_bus_probe",
        "amba_probe",
        "pnp_device_probe",
        "hid_device_probe",
        "mmc_bus_probe",
        "mdio_probe",
        "phy_probe",
        "serio_driver_probe",
        "cxl_bus_probe",
    }
)


@dataclass(slots=True)
class Finished:
    """A call that returned."""

    call: Call
    end_ns: int
    result: int | None


@dataclass(slots=True, eq=False)
class OpenProbe:
    """A probe in flight."""

    device: str
    driver: str
    path: str | None
    asynchronous: bool | None
    nested: bool | None
    #: how it was reached; None: its ``really_probe`` was not recorded
    road: Road | None = None
    #: the call that opened it: ``really_probe``, or the outermost one that was recorded
    root: Call | None = None
    #: of the calls that returned, the one to time
    body: Finished | None = None
    #: the PCI core took part
    is_pci: bool = False

    def offer(self, done: Finished) -> None:
        """Take a returned call as the body if it is nearer to the driver's own function than what there is."""
        if self.body is None or self._prefers(done, self.body):
            self.body = done

    @staticmethod
    def _prefers(new: Finished, old: Finished) -> bool:
        new_outer, old_outer = new.call.function in OUTER, old.call.function in OUTER
        if new_outer != old_outer:
            return old_outer
        if new.call.start_ns >= old.end_ns:
            return True  # the same again, later: what counts is the last try
        return not new_outer  # both the driver's: the one that returned later is the outermost
