"""``numaprobe.host()``: a driver core on this computer for the length of a ``with`` block.

Whatever ends the block, an exception, Ctrl-C or SIGTERM included: probing stops, devices go in reverse order of adding,
drivers in reverse order of registering, and no thread or process is left. A body that does not end in time is reported
and left behind; it cannot keep the block from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from numaprobe.drivercore import CoreOptions
from numaprobe.errors import UsageError
from numaprobe.hostmachine import HostMachine
from numaprobe.library.checks import check_host, make_checked
from numaprobe.library.facade import AsyncCore, Core
from numaprobe.library.operations import Operations
from numaprobe.policies import make_policy

if TYPE_CHECKING:
    import concurrent.futures
    from types import FrameType, TracebackType

    from numaprobe.policies import Policy
    from numaprobe.topology import Topology


class Host:
    """What ``host()`` returns: enter it with ``with`` or ``async with``."""

    def __init__(self, machine: HostMachine, policy: Policy, options: CoreOptions, shutdown_s: float) -> None:
        self._machine = machine
        self._policy = policy
        self._options = options
        self._shutdown_s = shutdown_s
        self._operations: Operations | None = None
        self._old_handler: Any = None

    def __enter__(self) -> Core:
        return Core(self._open())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            ended = self._start_shutdown()
            with contextlib.suppress(TimeoutError):
                ended.result(self._shutdown_s)
        finally:
            self._close()

    async def __aenter__(self) -> AsyncCore:
        return AsyncCore(self._open())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(self._start_shutdown()), self._shutdown_s)
        finally:
            await asyncio.to_thread(self._machine.close)
            self._restore_signals()

    def _open(self) -> Operations:
        if self._operations is not None:
            raise UsageError("this host was used already; call numaprobe.host() again")
        self._machine.__enter__()
        self._operations = Operations(self._machine, self._policy, self._options)
        self._catch_signals()
        return self._operations

    def _start_shutdown(self) -> concurrent.futures.Future[None]:
        if self._operations is None:
            raise UsageError("this host was not entered; use it in a 'with' block")
        while self._operations.before_end:
            self._operations.before_end.pop()()
        return self._machine.submit(self._operations.shut_down, comm="shutdown")

    def _close(self) -> None:
        self._machine.close()
        self._restore_signals()

    def _catch_signals(self) -> None:
        """Let SIGTERM end the block as an exception would, if nobody else has a use for it."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._old_handler = signal.signal(signal.SIGTERM, _exit_by_signal)

    def _restore_signals(self) -> None:
        if self._old_handler is not None:
            handler, self._old_handler = self._old_handler, None
            signal.signal(signal.SIGTERM, handler)


def _exit_by_signal(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def host(
    policy: str | Policy = "strict-node",
    *,
    topology: Topology | None = None,
    options: CoreOptions | None = None,
    shutdown_s: float = 30.0,
    **machine_options: Any,  # noqa: ANN401  HostMachine's own
) -> Host:
    """Return a driver core on this computer, to be entered with ``with`` or ``async with``.

    Args:
        policy: where probes run: a name of the catalogue, or a policy with its options set.
        topology: the machine to be; its CPUs must be real. Default: this computer as sysfs shows it.
        options: what a kernel command line would say (``driver_async_probe``, …).
        shutdown_s: how long devices may take to be removed at the end.
        machine_options: ``HostMachine``'s own: ``bind_memory``, ``grace_s``, ``start_method``, ``profile``.

    Raises:
        UnknownNameError: there is no such policy.
        UsageError: an argument is of another kind, or there is no such option.
        RefusedError: the topology is not of this computer.

    """
    check_host(policy, topology, options, shutdown_s)
    chosen = make_policy(policy) if isinstance(policy, str) else policy
    machine: HostMachine = make_checked(HostMachine, topology, **machine_options)
    return Host(machine, chosen, options or CoreOptions(), shutdown_s)
