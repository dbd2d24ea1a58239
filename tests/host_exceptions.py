"""Which tests of the driver core the host machine cannot carry, and why.

Everything else in ``tests/drivercore`` and ``tests/buses`` runs on it too: the same core, in real time. There the two
nodes have one real CPU each.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from numaprobe.hostmachine import HostMachine
from numaprobe.topology import symmetric

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.hostmachine.runner import HostTimer

_EXACT = "states a time to the millisecond; real time only promises 'not before'"
_LONG = "waits out a timeout of seconds, which virtual time passes at once"
_CPUS = "names CPUs 2 and 3, which a machine of two CPUs does not have"

#: name of the test function -> reason
HOST_EXCEPTIONS: dict[str, str] = {
    "test_synchronize_cookie_waits_for_the_earlier_ones_only": _EXACT,
    "test_an_exclusive_domain_is_not_part_of_the_global_wait": _EXACT,
    "test_a_domain_waits_for_its_own_calls_only": _EXACT,
    "test_waiting_for_nothing_returns_at_once": _EXACT,
    "test_async_probes_of_one_driver_run_in_parallel": _EXACT,
    "test_registration_in_either_order_has_one_outcome": _EXACT,
    "test_sync_probes_of_one_caller_are_serial_and_of_two_callers_parallel": _EXACT,
    "test_records_add_up": _EXACT,
    "test_a_probe_waiting_for_the_lock_is_deferred_by_the_block": _EXACT,
    "test_wait_for_device_probe_returns_at_once_when_nothing_runs": _EXACT,
    "test_a_bind_is_not_counted_as_a_probe": _EXACT,
    "test_a_timeout_asked_for_runs_from_the_first_registration_on_a_booted_system": _LONG,
    "test_each_registered_driver_re_arms_the_timeout": _LONG,
    "test_after_it_expired_the_timeout_is_not_armed_again": _LONG,
    "test_the_timeout_names_each_device_still_pending": _LONG,
    "test_the_timeout_is_silent_when_nothing_is_pending": _LONG,
    "test_a_device_whose_supplier_is_missing_says_so": _LONG,
    "test_more_than_32768_entries_run_in_the_caller": "makes 32,768 works at once, each with a thread's wake-up",
    "test_regions_are_added_near_their_node_in_parallel": _EXACT,
    "test_devices_first_then_driver_is_parallel_only_with_async_probing": _EXACT,
    "test_virtual_functions_enabled_later_are_placed_as_any_device": _CPUS,
    "test_a_sync_platform_probe_runs_where_its_caller_is": _CPUS,
}

#: the folders whose tests run on the host machine
HOST_FOLDERS = ("drivercore", "buses")


#: Sleeps last this many times what a test asks for: its tests order tasks by single milliseconds of virtual time, which
#: on a loaded computer says nothing.
STRETCH = 6


class SlowHost(HostMachine):
    """A host machine on which a millisecond of a test is long enough to tell from nothing."""

    async def sleep(self, ns: int) -> None:
        await super().sleep(ns * STRETCH)

    def timer(self, delay_ns: int, function: Callable[[], object]) -> HostTimer:
        return super().timer(delay_ns * STRETCH, function)


def host_kinds(folder: str, function: str) -> tuple[str, ...]:
    """Return ("host",) if this test runs on the host machine here."""
    here = {0, 1} <= os.sched_getaffinity(0)
    return ("host",) if here and folder in HOST_FOLDERS and function not in HOST_EXCEPTIONS else ()


def make_host(topology: Any, profile: Any) -> HostMachine:
    """Make a host machine; the usual two nodes get one real CPU each."""
    if topology.name == "two nodes":
        topology = symmetric("two nodes", nodes=2, cores=1)
    return SlowHost(topology, profile)
