"""A small valid scenario for tests, and how to change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numaprobe.errors import InternalError, NumaprobeError
from numaprobe.scenario import Outcome, Scenario, parse_scenario, prepare, run_setting

if TYPE_CHECKING:
    from collections.abc import Callable

#: four CPUs on two nodes
MACHINE = "2 nodes x 1 llc x 2 cores"


def scenario(**changes: Any) -> Scenario:
    """Return a scenario of one driver ``d`` and one device ``dev`` on node 1, with these keys in place."""
    data: dict[str, Any] = {
        "name": "test",
        "machine": MACHINE,
        "drivers": [{"name": "d", "phases": [{"compute": "1ms"}]}],
        "devices": [{"name": "dev", "node": 1, "compatible": "d"}],
    }
    return parse_scenario(data | changes)


def run(policy: str = "inline", **changes: Any) -> Outcome:
    """Run such a scenario."""
    settings = {key: changes.pop(key) for key in ("kernel", "cmdline") if key in changes}
    return run_setting(prepare(scenario(**changes), **settings), policy)


def refusal(call: Callable[[], object]) -> str | None:
    """Return the text of the error that ``call`` ends with; None if it does not. A bug of ours passes through."""
    try:
        call()
    except InternalError:
        raise
    except NumaprobeError as error:
        return str(error)
    return None
