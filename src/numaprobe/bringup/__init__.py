"""Real devices brought up and taken down: chosen, guarded, planned, and only then written.

::

    planner, status, forecast     what would be done, what is there, and how long it would take
    guard                         may this device be touched, and if not, what uses it
    blocks, opens, links, …       one file for each way of being in use
    sysfs                         devices and drivers; the only place that makes the name of a file to write
    root                          the only door to /sys, /proc, /dev and /run

Everything is read through one ``Root``, so that a tree in a folder stands for a machine. This room needs the standard
library alone, but for ``forecast``, which asks the virtual machine.
"""
