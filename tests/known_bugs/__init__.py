"""Known bugs of driver core, PCI and workqueue, each as a small program with a buggy and a fixed variant.

Numbers (K01, ...) are those of the project's list of known bugs, taken from commit texts and list mails. A program says
what the tasks of the report do to each other, and no more. It is written with what the kernel has: device locks, sysfs
attributes (a ``Drain`` counts their active references), async calls, works, flushes, memory.
"""

from __future__ import annotations

from known_bugs.catalogue import BUGS, CONTROLS, Bug, Control

__all__ = ["BUGS", "CONTROLS", "Bug", "Control"]
