"""For authors of user-space drivers: ``with numaprobe.host() as core``."""

from numaprobe.library.driver import Defer, DeviceDriver, DeviceView, driver
from numaprobe.library.entry import Host, host
from numaprobe.library.facade import AsyncCore, Core

__all__ = ["AsyncCore", "Core", "Defer", "DeviceDriver", "DeviceView", "Host", "driver", "host"]
