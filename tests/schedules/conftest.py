"""Scenarios whose order matters, small enough to be searched to the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from numaprobe.scenario import parse_scenario, prepare
from numaprobe.scenario.reader import parse_toml

if TYPE_CHECKING:
    from collections.abc import Callable

    from numaprobe.scenario import Setting

ABBA = """
machine = "1 node x 2 cores"
[[drivers]]
name = "left"
phases = [{{ hold = {{ lock = "{0}", phases = [{{ hold = {{ lock = "{1}", phases = [{{ compute = "1us" }}] }} }}] }} }}]
[[drivers]]
name = "right"
phases = [{{ hold = {{ lock = "{2}", phases = [{{ hold = {{ lock = "{3}", phases = [{{ compute = "1us" }}] }} }}] }} }}]
[[devices]]
name = "l0"
compatible = "left"
[[devices]]
name = "r0"
compatible = "right"
[[steps]]
add = "*"
[[steps]]
parallel = [{{ load = "left" }}, {{ load = "right" }}]
"""


def setting_of(text: str, policy: str = "inline") -> Setting:
    return prepare(parse_scenario(parse_toml(text.encode(), "here"), "here"), policy=policy)


@pytest.fixture
def abba() -> Callable[[str], Setting]:
    """Two drivers that take two locks: in the order of the letters, ``abba`` or ``abab``."""
    return lambda letters: setting_of(ABBA.format(*letters))
