"""Which driver fits a device that has none: by the aliases that depmod and the kernel's build collected.

A device says what it is in its ``modalias``; ``modules.alias`` says which module takes which, as patterns, and
``modules.builtin.modinfo`` the same of what is built in. A driver of the device's bus fits if it belongs to such a
module. That is how udev finds the module to load; which of several drivers then binds, the kernel decides by the order
of their registration, so several that fit are for the user to choose from.

Sources: depmod(8), modules.builtin (Documentation/kbuild/kbuild.rst), fnmatch as kmod uses it.
"""

from __future__ import annotations

import fnmatch
import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numaprobe.bringup.sysfs import Sysfs, SysfsDevice

_WILD: Final = re.compile(r"[*?\[]")


class Modules:
    """The aliases of the running kernel's modules."""

    def __init__(self, sysfs: Sysfs) -> None:
        self._sysfs, self._root = sysfs, sysfs.root
        self._known: dict[str, frozenset[str]] = {}

    def drivers_for(self, device: SysfsDevice) -> list[str]:
        """Return the registered drivers that fit a device; the one of its override alone, if it has one."""
        if device.override is not None:
            return [device.override] if self._sysfs.has_driver(device.bus, device.override) else []
        modules = self.modules_for(device)
        return [driver for driver in self._sysfs.drivers(device.bus) if self._module(device.bus, driver) in modules]

    def modules_for(self, device: SysfsDevice) -> frozenset[str]:
        """Return the modules, loaded or not, that fit a device, with ``_`` for ``-``."""
        alias = self._sysfs.modalias(device.path)
        if alias not in self._known:
            self._known[alias] = frozenset(self._matching(alias))
        return self._known[alias]

    def _module(self, bus: str, driver: str) -> str:
        said = self._root.link(f"sys/bus/{bus}/drivers/{driver}/module")
        return _plain(driver if said is None else said.rpartition("/")[2])

    def _matching(self, alias: str) -> Iterator[str]:
        for length in self._lengths:
            for pattern, module in self._aliases.get(alias[:length], ()):
                if fnmatch.fnmatchcase(alias, pattern):
                    yield module

    @cached_property
    def _aliases(self) -> dict[str, list[tuple[str, str]]]:
        """Patterns and modules, by what stands before the first wildcard."""
        found: dict[str, list[tuple[str, str]]] = {}
        for pattern, module in (*self._listed(), *self._built_in()):
            wild = _WILD.search(pattern)
            found.setdefault(pattern[: wild.start()] if wild else pattern, []).append((pattern, _plain(module)))
        return found

    @cached_property
    def _lengths(self) -> list[int]:
        return sorted({len(start) for start in self._aliases})

    @property
    def _folder(self) -> str:
        release = self._root.text("proc/sys/kernel/osrelease") or ""
        return f"lib/modules/{release}"

    def _listed(self) -> Iterator[tuple[str, str]]:
        for line in self._root.table(f"{self._folder}/modules.alias"):
            if line.startswith("alias "):
                pattern, _, module = line.removeprefix("alias ").rpartition(" ")
                yield pattern, module

    def _built_in(self) -> Iterator[tuple[str, str]]:
        text = "\n".join(self._root.table(f"{self._folder}/modules.builtin.modinfo"))
        for entry in text.split("\0"):
            module, _, rest = entry.partition(".")
            if rest.startswith("alias="):
                yield rest.removeprefix("alias="), module


def _plain(module: str) -> str:
    return module.replace("-", "_")
