"""What the number of ``probe of DEVICE returned N`` means.

Before 5.14 ``really_probe`` returned **1 = bound and 0 = not bound**: the driver's errno was dropped, so that the next
driver could try (a line ``failed with error`` before it names the errno; of ENODEV, ENXIO and EPROBE_DEFER there is
none). A negative number was the driver core's own: EPROBE_DEFER for a missing supplier. Since 5.14 **0 = bound**, a
positive number is the errno that the driver returned, a negative one the driver core's.

A log shows which it is by itself, or its release does, in this order: what only one of them can print (7.3's words; a
positive number of 2 or more; a 0 right behind ``failed with error``); the release; a 1, which is nearly always
``bound``, hardly ever EPERM. Where nothing of these is there, 5.14 and later is assumed; that is said, unless a driver
goes on with a device after a 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from numaprobe.records.errnos import UNTOLD, errno_name
from numaprobe.runtime.facts import value_of
from numaprobe.runtime.release import parse_release

#: ``Linux version``; the head of an oops; the manufacturer of a root hub (``utsname()->release`` in each)
_RELEASE: Final = re.compile(
    r"Linux version (\d\S{0,127})(?:\s|$)"
    r"|ainted:? (?:[A-Z \[\]=_]{0,64} )?(\d{1,2}\.\d{1,3}\S{0,100}) #"
    r"|Manufacturer: Linux (\d{1,2}\.\d{1,3}\S{0,100}) \w",
    re.ASCII,
)


def find_release(text: str) -> str | None:
    """Return the kernel's release that a message names."""
    match = _RELEASE.search(text)
    return next((part for part in match.groups() if part), None) if match else None


@dataclass(slots=True)
class Evidence:
    """What one boot's log has shown of the meaning of its numbers."""

    #: the kernel's, as the log or its machine tells; known when the log was read
    release: str | None = None
    #: lines that only a kernel before 5.14, or only one since, can print
    old: int = 0
    new: int = 0
    #: numbers that say 1
    ones: int = 0
    #: a driver went on with a device after a 0, and no other probe of it came
    alive: bool = False
    #: numbers at all whose meaning depends on it
    numbers: int = 0

    def saw(self, number: int, *, said: int | None, recent: bool) -> None:
        """Count a ``returned`` line.

        Args:
            number: as printed.
            said: the errno that a line about the same probe named; None: no line did.
            recent: the line has the words of 7.3.

        """
        self.numbers += 1
        self.ones += number == 1
        if recent or number > 1:
            self.new += 1
        elif number == 0 and said:
            self.old += 1

    @property
    def is_old(self) -> bool:
        """Whether the numbers are those of a kernel before 5.14."""
        if bool(self.old) != bool(self.new):
            return bool(self.old)
        return self._of_release() if self.release is not None else self.ones > 0

    @property
    def assumed(self) -> bool:
        """Whether nothing tells."""
        return bool(self.numbers and not (self.old or self.new or self.ones or self.alive) and self.release is None)

    def _of_release(self) -> bool:
        release = parse_release(self.release or "")
        return release is not None and not value_of("probe_returns_errno", release)

    def result(self, number: int, said: int | None) -> str:
        """Return the outcome that a number stands for: "0", an errno's name, or that it is not told."""
        if not self.is_old or number not in (0, 1):
            return errno_name(number)
        return "0" if number else errno_name(said or UNTOLD)
