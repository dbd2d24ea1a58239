"""Network links at one moment: which are up, have addresses and routes, and what is built on them.

A bond, bridge, team or VLAN uses the links below it: ``upper_NAME`` and ``master`` in ``/sys/class/net``. So a link is
in use by whatever is true of it or of a link above it. Addresses and routes that every link has as soon as it is up
(fe80::/10, multicast, the table *local*) say nothing more than that and are not counted.

Sources: Documentation/ABI/testing/sysfs-class-net, proc(5), net/ipv6/route.c (rt6_info_route).
"""

from __future__ import annotations

import ipaddress
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from numaprobe.bringup.root import Root
    from numaprobe.bringup.senses import Senses

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Net = ipaddress.IPv4Network | ipaddress.IPv6Network

#: ``IFF_UP``, include/uapi/linux/if.h
_UP: Final = 1
#: ``RTF_UP`` and ``RTF_LOCAL``, include/uapi/linux/{route,ipv6_route}.h
_ROUTE_UP: Final = 1
_ROUTE_LOCAL: Final = 0x80000000


class Route(NamedTuple):
    """A route that leads over a link."""

    net: Net
    link: str

    def __str__(self) -> str:
        """Return what people call it."""
        return "the default route" if self.net.prefixlen == 0 else f"the route to {self.net}"


class Network:
    """Links, addresses and routes at one moment."""

    def __init__(self, root: Root, senses: Senses) -> None:
        self._root, self._senses = root, senses

    @cached_property
    def links(self) -> list[str]:
        """All links of our namespace."""
        return self._root.names("sys/class/net")

    def chain(self, link: str) -> list[str]:
        """Return a link and the links that are built on it."""
        found = [link]
        for name in found:  # it grows while it is walked
            names = (entry for entry in self._root.names(f"sys/class/net/{name}") if entry.startswith("upper_"))
            uppers = [entry.removeprefix("upper_") for entry in names]
            master = self._root.link(f"sys/class/net/{name}/master")
            found += [one for one in (*uppers, *self._base(master)) if one not in found]
        return list(dict.fromkeys(found))

    @staticmethod
    def _base(said: str | None) -> list[str]:
        return [] if said is None else [said.rpartition("/")[2]]

    def is_up(self, link: str) -> bool:
        """Return whether a link is administratively up."""
        return bool((self._root.number(f"sys/class/net/{link}/flags") or 0) & _UP)

    def addresses(self, link: str) -> list[Address] | None:
        """Return the addresses that somebody gave a link; None if nobody knows."""
        four = self._senses.addresses_of(link)
        if four is None:
            return None
        return [*(ipaddress.ip_address(text) for text in four), *self._six.get(link, ())]

    @cached_property
    def _six(self) -> dict[str, list[Address]]:
        found: dict[str, list[Address]] = {}
        for line in self._root.table("proc/net/if_inet6"):
            fields = line.split()
            if len(fields) > 5:  # noqa: PLR2004  address, index, prefix, scope, flags, link
                address = ipaddress.IPv6Address(bytes.fromhex(fields[0]))
                if not address.is_link_local:
                    found.setdefault(fields[5], []).append(address)
        return found

    @cached_property
    def routes(self) -> list[Route]:
        """The routes that somebody made, the longest prefix first."""
        found = [*self._four_routes(), *self._six_routes()]
        return sorted(found, key=lambda route: -route.net.prefixlen)

    def _four_routes(self) -> list[Route]:
        found = []
        for line in self._root.table("proc/net/route")[1:]:
            fields = line.split()
            if len(fields) > 7 and int(fields[3], 16) & _ROUTE_UP:  # noqa: PLR2004
                net, mask = (int.from_bytes(bytes.fromhex(fields[index])[::-1], "big") for index in (1, 7))
                found.append(Route(ipaddress.IPv4Network((net, mask.bit_count()), strict=False), fields[0]))
        return found

    def _six_routes(self) -> list[Route]:
        found = []
        for line in self._root.table("proc/net/ipv6_route"):
            fields = line.split()
            if len(fields) < 10 or int(fields[8], 16) & _ROUTE_LOCAL or fields[9] == "lo":  # noqa: PLR2004
                continue
            net = ipaddress.IPv6Network((bytes.fromhex(fields[0]), int(fields[1], 16)), strict=False)
            if not (net.is_link_local or net.is_multicast):
                found.append(Route(net, fields[9]))
        return found

    def link_to(self, address: Address) -> str | None:
        """Return the link that packets to an address leave by, as the main table says."""
        return next((route.link for route in self.routes if address in route.net), None)

    def uses(self, link: str) -> list[tuple[str, str]]:
        """Return code and sentence of each way in which a link is in use."""
        found: list[tuple[str, str]] = []
        chain = self.chain(link)
        for name in chain:
            way = link if name == link else f"{name} (on {link})"
            if name != link:
                found.append(("master", f"{link} is part of {name}"))
            if self.is_up(name):
                found.append(("link-up", f"{way} is up"))
            addresses = self.addresses(name)
            if addresses is None:
                found.append(("address", f"the addresses of {way} cannot be seen"))
            elif addresses:
                found.append(("address", f"{way} has {', '.join(map(str, addresses[:2]))}"))
            over = [str(route) for route in self.routes if route.link == name]
            if over:
                more = f" and {len(over) - 1} more" if len(over) > 1 else ""
                found.append(("route", f"{over[-1]} leads over {way}{more}"))
        return found
