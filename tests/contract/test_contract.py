"""One suite over every machine."""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING

import pytest

from numaprobe.errors import InternalError
from numaprobe.testing import CHECKS, EXCEPTIONS, FakeMachine, check_machine
from numaprobe.topology import symmetric

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from numaprobe.runtime import Machine, Work, Workqueue

    Make = Callable[[], AbstractContextManager[Machine]]


def make_fake() -> AbstractContextManager[Machine]:
    return contextlib.nullcontext(FakeMachine())


def make_virtual() -> AbstractContextManager[Machine]:
    virtual = importlib.import_module("numaprobe.virtual")
    return contextlib.nullcontext(virtual.VirtualMachine(symmetric("two nodes", nodes=2, cores=2)))


def make_host() -> AbstractContextManager[Machine]:
    host: AbstractContextManager[Machine] = importlib.import_module("numaprobe.host").HostMachine()
    return host


MACHINES: dict[str, Make] = {"fake": make_fake, "virtual": make_virtual, "host": make_host}

CASES = [
    pytest.param(make, check, id=f"{machine}-{name}")
    for machine, make in MACHINES.items()
    for name, check in CHECKS.items()
    if name not in EXCEPTIONS[machine]
]


@pytest.mark.parametrize(("make", "check"), CASES)
def test_promise(make: Make, check: Callable[[Machine], None]) -> None:
    with make() as machine:
        check(machine)


def test_exceptions_name_checks_and_reasons() -> None:
    assert set(EXCEPTIONS) == set(MACHINES)
    for reasons in EXCEPTIONS.values():
        assert set(reasons) <= set(CHECKS)
        assert all(len(reason) > 20 for reason in reasons.values())


@pytest.mark.parametrize(
    ("make", "name"), [(make, name) for machine, make in MACHINES.items() for name in EXCEPTIONS[machine]]
)
def test_an_exception_is_needed(make: Make, name: str) -> None:
    """An exception that the machine would pass is out of date."""
    with make() as machine, pytest.raises(InternalError):
        CHECKS[name](machine)


def test_the_whole_contract_in_one_call() -> None:
    check_machine(make_fake, excepted=EXCEPTIONS["fake"])


class Greedy(FakeMachine):
    """Breaks one promise: a pending work is queued again."""

    def queue_work_on(self, cpu: int, wq: Workqueue, work: Work) -> bool:
        super().queue_work_on(cpu, wq, work)
        return True


class Deaf(FakeMachine):
    """Breaks another: remarks are lost."""

    def warn(self, kind: str, message: str) -> None:
        """Keep nothing."""


@pytest.mark.parametrize(
    ("broken", "name"), [(Greedy, "queue_once_while_pending"), (Deaf, "remarks_are_kept")], ids=["greedy", "deaf"]
)
def test_a_broken_machine_is_found_out(broken: type[FakeMachine], name: str) -> None:
    with pytest.raises(InternalError, match=rf"^{name}: machine contract"):
        check_machine(lambda: contextlib.nullcontext(broken()), excepted=EXCEPTIONS["fake"])
