"""Results of probes: what their signs mean. Their names are in ``numaprobe.records.errnos``.

A probe body returns 0 or a negative errno. ``really_probe`` tells two kinds of failure apart by sign: *negative* means
that the core could not even try (suppliers missing, device gone), *positive* is the errno that the body returned. The
scan of a bus's drivers stops on the first and goes on after the second. ``-EPROBE_DEFER`` is an outcome, not an error.

Source: ``drivers/base/dd.c``, ``include/linux/errno.h``.
"""

from __future__ import annotations

from typing import Final

from numaprobe.records.errnos import errno_name, errno_value

__all__ = ["ENOTSUPP", "EPROBE_DEFER", "MAX_ERRNO", "errno_name", "errno_value", "is_deferral"]

#: ``include/linux/errno.h``: never seen by user space, so Python's errno module does not know it.
EPROBE_DEFER: Final = errno_value("EPROBE_DEFER")
ENOTSUPP: Final = errno_value("ENOTSUPP")

#: ``include/linux/err.h``: an error pointer or return is one of the last 4095 values.
MAX_ERRNO: Final = 4095


def is_deferral(result: int) -> bool:
    """Tell whether a result of either sign asks for a later try."""
    return result in (EPROBE_DEFER, -EPROBE_DEFER)
