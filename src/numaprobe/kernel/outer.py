"""Functions that lead to a driver's own probe: core and bus code, which a record does not time if it can help it."""

from __future__ import annotations

from typing import Final

from numaprobe.kernel.kprobes import LOCAL_PCI_PROBE, REALLY_PROBE

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
