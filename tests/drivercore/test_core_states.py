"""The table of a device's states: every pair is in it, or refused with nothing changed and the story told."""

from __future__ import annotations

from itertools import product

import pytest

from numaprobe.drivercore import Bus, Device, DeviceState
from numaprobe.drivercore.states import STEPS
from numaprobe.errors import StateError

S = DeviceState
#: The whole life of a device, written once more.
ALLOWED = {
    (S.NEW, "add"): S.REGISTERED,
    (S.REGISTERED, "ready"): S.UNBOUND,
    (S.REGISTERED, "remove"): S.REMOVED,
    (S.UNBOUND, "probe"): S.PROBING,
    (S.UNBOUND, "remove"): S.REMOVED,
    (S.PROBING, "fail"): S.UNBOUND,
    (S.PROBING, "bind"): S.BOUND,
    (S.BOUND, "release"): S.RELEASING,
    (S.RELEASING, "released"): S.UNBOUND,
}


def make(state: DeviceState) -> Device:
    dev = Device(name="a", bus=Bus("plain"), state=state)
    dev.tell(7, "was here")
    return dev


@pytest.mark.parametrize(("state", "step"), [*product(DeviceState, STEPS)])
def test_every_pair_is_in_the_table_or_refused(state: DeviceState, step: str) -> None:
    dev = make(state)
    if (state, step) in ALLOWED:
        dev.step(step, 8, "why")
        assert dev.state is ALLOWED[state, step]
        assert dev.story()[-1].endswith(f"8 ns  {step}: {dev.state} why")
        return
    with pytest.raises(StateError, match=f"device a is {state}: it cannot take the step '{step}'") as caught:
        dev.step(step, 8)
    assert dev.state is state
    assert dev.story() == ("             7 ns  was here",)
    assert caught.value.story == dev.story()


def test_every_state_but_the_last_leads_on() -> None:
    assert {before for before, _ in ALLOWED} == set(DeviceState) - {S.REMOVED}


def test_a_device_shows_where_it_is() -> None:
    assert repr(make(S.BOUND)) == "<Device plain/a bound>"
    assert make(S.BOUND).is_bound
    assert not make(S.RELEASING).is_bound
