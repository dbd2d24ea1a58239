"""The traces of many hosts: collected into one dataset, and asked.

``sources`` (folders), ``ssh`` (hosts) and ``piped`` (standard input of a configuration tool) find traces,
``identity`` says what each is known by, ``known`` which are in the dataset already, and ``collect`` adds the others,
day by day. ``figures`` takes from the dataset what ``analysis.fleet`` needs, ``questions`` are the prepared ones, and
``settings`` has ``advise`` look at each class of machines, whose answers ``advised`` keeps. See ``docs/fleet.md``.
"""

from numaprobe.study.fleet.answer import FLEET_SCHEMA, FleetAnswer
from numaprobe.study.fleet.collect import Collected, collect
from numaprobe.study.fleet.piped import piped_sources
from numaprobe.study.fleet.questions import QUESTIONS, ask_fleet
from numaprobe.study.fleet.sources import TraceSource, file_sources
from numaprobe.study.fleet.ssh import COMMAND, SshHosts, check_host, read_hosts

__all__ = [
    "COMMAND",
    "FLEET_SCHEMA",
    "QUESTIONS",
    "Collected",
    "FleetAnswer",
    "SshHosts",
    "TraceSource",
    "ask_fleet",
    "check_host",
    "collect",
    "file_sources",
    "piped_sources",
    "read_hosts",
]
