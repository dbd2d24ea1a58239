"""Names of the errno values that a probe may return, as the kernel's sources have them.

Python knows those that user space can see (``include/uapi/asm-generic/errno*.h``); a probe also returns the kernel's
own (``include/linux/errno.h``), of which EPROBE_DEFER is the common one. The sign carries no name: ``really_probe``
hands a probe's own errno on as a positive number.
"""

from __future__ import annotations

import errno
from typing import Final

from numaprobe.errors import InputError

#: ``include/linux/errno.h``
_KERNEL_ONLY: Final = {
    512: "ERESTARTSYS",
    513: "ERESTARTNOINTR",
    514: "ERESTARTNOHAND",
    515: "ENOIOCTLCMD",
    516: "ERESTART_RESTARTBLOCK",
    517: "EPROBE_DEFER",
    518: "EOPENSTALE",
    519: "ENOPARAM",
    521: "EBADHANDLE",
    522: "ENOTSYNC",
    523: "EBADCOOKIE",
    524: "ENOTSUPP",
    525: "ETOOSMALL",
    526: "ESERVERFAULT",
    527: "EBADTYPE",
    528: "EJUKEBOX",
    529: "EIOCBQUEUED",
    530: "ERECALLCONFLICT",
    531: "ENOGRACE",
}
#: where one value has two names, the kernel's sources prefer these
_PREFERRED: Final = {11: "EAGAIN", 35: "EDEADLK", 95: "EOPNOTSUPP"}
#: Stands for an errno that the source does not tell: one more than ``MAX_ERRNO`` of ``include/linux/err.h``
UNTOLD: Final = 4096
#: its name in a record: the device was not bound, and nobody knows why
UNTOLD_NAME: Final = "E?"
_NAMES: Final = {UNTOLD: UNTOLD_NAME, 0: "0", **errno.errorcode, **_KERNEL_ONLY, **_PREFERRED}
#: both names of a value, where it has two
_VALUES: Final = {
    name: value for names in (errno.errorcode, _NAMES) for value, name in names.items() if value != UNTOLD
}

EPROBE_DEFER: Final = "EPROBE_DEFER"


def errno_name(result: int) -> str:
    """Return "0", or the errno's name whatever the sign; a number that has no name as ``E999``."""
    value = abs(result)
    return _NAMES.get(value, f"E{value}")


def errno_value(name: str) -> int:
    """Return the positive errno of this name ("ENODEV"); 0 for "0".

    Raises:
        InputError: no errno has this name.

    """
    try:
        return _VALUES[name]
    except KeyError:
        raise InputError(f"{name[:40]!a} is no errno name; write for example ENODEV or EPROBE_DEFER") from None
