"""What the traces of many hosts say together: who is unlike its peers, where drivers are slow, what changed.

Everything is told of *hosts*: probes of one boot share its machine, its kernel and its moment, and thousands of them
are one witness. So each host gives one number to every comparison, and hosts are compared with their *peers* alone:
those with as many nodes and CPUs, and of the same product where it is told.

``rows`` says what is needed of each host, ``robust`` how far a number is from many others, ``unlike``, ``slower``,
``changed`` and ``shares`` answer.
"""

from numaprobe.analysis.fleet.changed import FleetChange, compare_hosts
from numaprobe.analysis.fleet.rows import DriverFigures, HostFigures
from numaprobe.analysis.fleet.shares import FindingShare, share_interval
from numaprobe.analysis.fleet.slower import SlowPlace, find_slow_places
from numaprobe.analysis.fleet.unlike import Sign, SlownessSeen, UnlikeHost, find_unlike, slowness_seen

__all__ = [
    "DriverFigures",
    "FindingShare",
    "FleetChange",
    "HostFigures",
    "Sign",
    "SlowPlace",
    "SlownessSeen",
    "UnlikeHost",
    "compare_hosts",
    "find_slow_places",
    "find_unlike",
    "share_interval",
    "slowness_seen",
]
