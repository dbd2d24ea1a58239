"""What the kernel command line says to the driver core.

``driver_async_probe=a,b`` names drivers that probe asynchronously unless they force otherwise; with ``*`` in the list
every driver does *but* the named ones (there is no ``!``). The kernel keeps the list in a buffer of 256 bytes: what
does not fit is cut with a warning, in the middle of a name if need be.

Source: ``save_async_options``, ``cmdline_requested_async_probing`` (``dd.c``), ``module.async_probe``
(``kernel/module/main.c``), ``deferred_probe_timeout=``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: ``ASYNC_DRV_NAMES_MAX_LEN``, the terminating zero included.
ASYNC_DRV_NAMES_MAX_LEN: Final = 256
#: ``driver_deferred_probe_timeout`` with and without modules, seconds.
DEFERRED_TIMEOUT_MODULES_S: Final = 10
_TRUE: Final = {"", "1", "y", "Y", "t", "T", "on", "ON", "On"}
_FALSE: Final = {"0", "n", "N", "f", "F", "off", "OFF", "Off"}
_MAX_TIMEOUT_S: Final = 86_400


def parse_bool(text: str, name: str) -> bool:
    """Read a kernel boolean (``kstrtobool``); a parameter without value is true.

    Raises:
        InputError: neither.

    """
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise InputError(f"{name[:40]!a}={text[:20]!a}: write 1 or 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreOptions:
    """Options of a driver core.

    Attributes:
        driver_async_probe: the parameter's text.
        module_async_probe: ``module.async_probe``: the default of every module.
        modules_async: module name to its ``<module>.async_probe``.
        deferred_probe_timeout_ns: None = 10 s with modules, 0 without; 0 = never.
        modules: the kernel has modules (``CONFIG_MODULES``).
        booted: ``late_initcall`` is over, so that deferred probing is live from the start.
        keep_records: so many of the last records are kept; None = all. For a daemon that probes for months.
        keep_story: so many of the last lines of each device's story are kept, and the rest counted; None = all.
        keep_tracebacks: keep the traceback of what a device's bodies raised last (``Device.traceback``).

    Raises:
        InputError: a negative ``keep_records``, a ``keep_story`` below 1.

    """

    driver_async_probe: str = ""
    module_async_probe: bool = False
    modules_async: dict[str, bool] = field(default_factory=dict)
    deferred_probe_timeout_ns: int | None = None
    modules: bool = True
    booted: bool = True
    keep_records: int | None = None
    keep_story: int | None = None
    keep_tracebacks: bool = False

    def __post_init__(self) -> None:
        if self.keep_records is not None and self.keep_records < 0:
            raise InputError(f"keep_records={self.keep_records}: write how many records to keep, or None for all")
        if self.keep_story is not None and self.keep_story < 1:
            raise InputError(f"keep_story={self.keep_story}: write how many lines to keep, at least 1, or None for all")

    @classmethod
    def from_parameters(cls, parameters: Iterable[tuple[str, str | None]], *, booted: bool = True) -> CoreOptions:
        """Read the parameters that concern the core from (name, value) pairs, in their order; ignore the others.

        Raises:
            InputError: a value is not of its kind.

        """
        names, everywhere, modules, timeout = "", False, {}, None
        for name, value in parameters:
            text = value or ""
            if name == "driver_async_probe":
                names = text
            elif name == "module.async_probe":
                everywhere = parse_bool(text, name)
            elif name.endswith(".async_probe"):
                modules[name.removesuffix(".async_probe")] = parse_bool(text, name)
            elif name == "deferred_probe_timeout":
                timeout = _parse_seconds(text)
        return cls(
            driver_async_probe=names,
            module_async_probe=everywhere,
            modules_async=modules,
            deferred_probe_timeout_ns=timeout,
            booted=booted,
        )

    @property
    def timeout_ns(self) -> int:
        """The deferred-probe timeout in force; 0 = never."""
        if self.deferred_probe_timeout_ns is not None:
            return self.deferred_probe_timeout_ns
        return DEFERRED_TIMEOUT_MODULES_S * 10**9 if self.modules else 0

    @property
    def async_names_cut(self) -> bool:
        """Whether the list of names is longer than the kernel's buffer."""
        return len(self.driver_async_probe) >= ASYNC_DRV_NAMES_MAX_LEN

    def requested_async(self, driver: str) -> bool:
        """Tell whether the command line asks for asynchronous probing of this driver."""
        if not self.driver_async_probe:
            return False
        names = self.driver_async_probe[: ASYNC_DRV_NAMES_MAX_LEN - 1].split(",")
        return ("*" in names) != (driver in names)

    def module_async(self, module: str) -> bool:
        """Tell whether a module of this name probes asynchronously by its own flag."""
        return self.modules_async.get(module, self.module_async_probe)


def _parse_seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:9]) > _MAX_TIMEOUT_S:
        raise InputError(f"deferred_probe_timeout={text[:20]!a}: write whole seconds, at most a day")
    return int(text) * 10**9
