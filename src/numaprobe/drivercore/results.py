"""Results of probes: the kernel's errno values, their names, and what their signs mean.

A probe body returns 0 or a negative errno. ``really_probe`` tells two kinds of failure apart by sign: *negative* means
that the core could not even try (suppliers missing, device gone), *positive* is the errno that the body returned. The
scan of a bus's drivers stops on the first and goes on after the second. ``-EPROBE_DEFER`` is an outcome, not an error.

Source: ``drivers/base/dd.c``, ``include/linux/errno.h``.
"""

from __future__ import annotations

import errno
from typing import Final

from numaprobe.errors import InputError

#: ``include/linux/errno.h``: never seen by user space, so Python's errno module does not know it.
EPROBE_DEFER: Final = 517
ENOTSUPP: Final = 524

_KERNEL_ONLY: Final = {"EPROBE_DEFER": EPROBE_DEFER, "ENOTSUPP": ENOTSUPP}
#: Where one number has two names Python picks the one that the kernel does not.
_KERNELS_CHOICE: Final = {errno.EDEADLK: "EDEADLK", errno.EOPNOTSUPP: "EOPNOTSUPP"}
_NAMES: Final[dict[int, str]] = (
    dict(errno.errorcode) | _KERNELS_CHOICE | {value: name for name, value in _KERNEL_ONLY.items()}
)
_VALUES: Final = {name: value for names in (errno.errorcode, _NAMES) for value, name in names.items()}

#: ``include/linux/err.h``: an error pointer or return is one of the last 4095 values.
MAX_ERRNO: Final = 4095


def errno_name(result: int) -> str:
    """Return "0", or the errno's name whatever the sign ("EPROBE_DEFER"); a number without a name as "E999"."""
    if result == 0:
        return "0"
    value = abs(result)
    return _NAMES.get(value, f"E{value}")


def errno_value(name: str) -> int:
    """Return the positive errno of this name ("ENODEV"); 0 for "0".

    Raises:
        InputError: no errno has this name.

    """
    if name == "0":
        return 0
    try:
        return _VALUES[name]
    except KeyError:
        raise InputError(f"{name[:40]!a} is no errno name; write for example ENODEV or EPROBE_DEFER") from None


def is_deferral(result: int) -> bool:
    """Tell whether a result of either sign asks for a later try."""
    return result in (EPROBE_DEFER, -EPROBE_DEFER)
