"""The logins that must not be cut: the connection or terminal that this command came over, and those of others.

Whoever takes the link of his own ssh session away takes away the only one who could put it back. Three witnesses,
since each can be missing: ``SSH_CONNECTION`` in the environment of this process or of one above it (sudo takes it out
of ours); the connections of those processes; and, since tmux and screen leave the chain, every connection of a login
server. A login by a serial line or a virtual console is the controlling terminal of one of those processes.
"""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.bringup.processes import read_stat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numaprobe.bringup.network import Address, Network
    from numaprobe.bringup.processes import Process
    from numaprobe.bringup.root import Root

#: Programs that people log in through.
SERVERS: Final = frozenset(
    (
        "sshd",
        "sshd-session",
        "sshd-auth",
        "dropbear",
        "telnetd",
        "in.telnetd",
        "rlogind",
        "cockpit-ws",
        "cockpit-tls",
        "xrdp",
    )
)
#: ``TCP_ESTABLISHED``, include/net/tcp_states.h, as ``/proc/net/tcp`` writes it
_ESTABLISHED: Final = "01"
_ENVIRONMENT: Final = "SSH_CONNECTION="
#: Arguments and environment of a process have at most a quarter of its stack: 2 MiB, unless somebody raised it.
MAX_ENVIRONMENT: Final = 2**23


@dataclass(frozen=True, slots=True)
class Logins:
    """Where people came in."""

    #: our address and theirs, of each connection
    connections: frozenset[tuple[Address, Address]]
    #: terminals, ``MAJOR:MINOR``
    terminals: frozenset[str]
    #: the processes above this one, and the login servers
    pids: frozenset[int]

    def links(self, network: Network) -> set[str]:
        """Return the links that these connections need: where our address is, and where packets to theirs leave.

        An address that is on no link but ``lo`` (announced by a routing daemon) may be reached over any: then all links
        that a route leads over.
        """
        if not self.connections:
            return set()
        owners: dict[Address, set[str]] = {}
        for link in network.links:
            for address in (network.addresses(link) or ()) if link != "lo" else ():
                owners.setdefault(address, set()).add(link)
        found = set()
        for ours, theirs in self.connections:
            if theirs.is_loopback:
                continue
            over = network.link_to(theirs)
            found |= owners.get(ours) or {route.link for route in network.routes}
            found |= {over} if over else set()
        return found


def read_logins(root: Root, processes: Mapping[int, Process]) -> Logins:
    """Return the logins that there are now."""
    above = list(_chain(root, processes))
    servers = [process for process in processes.values() if process.name in SERVERS]
    sockets = {inode for process in (*above, *servers) for inode in process.sockets}
    stat = read_stat(root, "self")
    terminals = {process.tty for process in above} | ({stat[2]} if stat else set())
    told = _told(root, ["self", *(process.pid for process in above)])
    connections = {*told, *_connections(root, sockets)}
    return Logins(
        connections=frozenset(connections),
        terminals=frozenset(tty for tty in terminals if tty is not None),
        pids=frozenset(process.pid for process in (*above, *servers)),
    )


def _chain(root: Root, processes: Mapping[int, Process]) -> Iterator[Process]:
    stat = read_stat(root, "self")
    pid, seen = stat[1] if stat else 0, set[int]()
    while pid in processes and pid not in seen:
        seen.add(pid)
        yield processes[pid]
        pid = processes[pid].parent


def _told(root: Root, pids: list[int | str]) -> Iterator[tuple[Address, Address]]:
    for pid in pids:
        for line in (root.text(f"proc/{pid}/environ", MAX_ENVIRONMENT) or "").split("\0"):
            if line.startswith(_ENVIRONMENT):
                fields = line.removeprefix(_ENVIRONMENT).split()
                with contextlib.suppress(ValueError, IndexError):
                    yield _address(fields[2]), _address(fields[0])


def _address(text: str) -> Address:
    found = ipaddress.ip_address(text.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


def _connections(root: Root, sockets: set[str]) -> Iterator[tuple[Address, Address]]:
    for file in ("proc/net/tcp", "proc/net/tcp6") if sockets else ():
        for line in root.table(file)[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _ESTABLISHED and fields[9] in sockets:  # noqa: PLR2004
                yield _unpacked(fields[1]), _unpacked(fields[2])


def _unpacked(text: str) -> Address:
    """Return an address as ``/proc/net/tcp`` writes it: words of 32 bits in the order of this machine."""
    digits = text.partition(":")[0]
    words = [bytes.fromhex(digits[start : start + 8])[::-1] for start in range(0, len(digits), 8)]
    return _address(str(ipaddress.ip_address(b"".join(words))))
