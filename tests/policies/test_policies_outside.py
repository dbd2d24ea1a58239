"""Policies of others: from packages, from files; what they do wrong is theirs, and takes no other one down."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from numaprobe.cli.main import run_command
from numaprobe.errors import NumaprobeError, PolicyError, UnknownNameError, UsageError
from numaprobe.policies import POLICIES, Policy, all_policies, broken_policies, make_policy
from numaprobe.scenario import load_scenario, prepare, run_setting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core_world import World

CALLS: list[str] = []


@dataclass(frozen=True, kw_only=True)
class Outside(Policy):
    """Counts."""

    origin = "a test"
    summary = "leaves probes where they are and counts them"

    loud: bool = False

    async def probe_device(self, at: Any, dev: Any, function: Any, *, is_async: bool) -> int:
        CALLS.append(dev.name)
        return await function()  # type: ignore[no-any-return]


class Taken(Policy):
    name = "inline"


class Entry:
    def __init__(self, name: str, loaded: object) -> None:
        self.name = name
        self.value = f"package.module:{name}"
        self._loaded = loaded

    def load(self) -> object:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def put(*entries: Entry) -> None:
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries)

    return put


# ---- packages ------------------------------------------------------------------------------------------------------
def test_a_policy_from_an_entry_point(install: Callable[..., None], make_world: Callable[..., World]) -> None:
    install(Entry("outside", Outside))
    assert list(all_policies()) == ["outside", *POLICIES]
    policy = make_policy("outside+loud")
    assert isinstance(policy, Outside)
    assert (policy.loud, policy.label) == (True, "outside+loud")
    world = make_world(policy)

    async def main() -> None:
        await world.core.driver_register(world.driver("drv"))
        await world.core.device_add(world.device("a"))

    CALLS.clear()
    world.run(main)
    assert CALLS == ["a"]
    with pytest.raises(UnknownNameError, match="did you mean 'outside'"):
        make_policy("outsid")


BROKEN = [
    Entry("broken", ImportError("no module named 'gone'\nand more")),
    Entry("broken", SyntaxError("bad")),
    Entry("broken", int),
    Entry("broken", None),
    Entry("broken", Outside),  # calls itself 'outside'
    Entry("inline", Taken),
]


@pytest.mark.parametrize("bad", BROKEN)
def test_a_broken_one_takes_no_other_down(install: Callable[..., None], bad: Entry) -> None:
    install(bad, Entry("outside", Outside))
    assert list(all_policies()) == ["outside", *POLICIES]
    assert isinstance(make_policy("outside"), Outside)
    assert type(make_policy("inline")) is POLICIES["inline"]
    (line,) = broken_policies()
    assert line.startswith(f"policy '{bad.name}' from package.module:{bad.name} ")
    assert "\n" not in line
    if bad.name == "broken":
        with pytest.raises(UsageError, match=r"policy 'broken' from package\.module:broken"):
            make_policy("broken")


def test_two_packages_with_one_name(install: Callable[..., None]) -> None:
    install(Entry("outside", Outside), Entry("outside", Outside))
    assert list(all_policies()) == list(POLICIES)
    with pytest.raises(UsageError, match="several packages give it"):
        make_policy("outside")


def test_the_catalogue_lists_the_good_ones_and_names_the_bad(
    install: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    install(Entry("broken", int), Entry("outside", Outside))
    assert run_command(["policies"]) == 0
    said = capsys.readouterr()
    assert "outside" in said.out
    assert said.err.startswith("numaprobe: warning: policy 'broken' from")


# ---- files ---------------------------------------------------------------------------------------------------------
HEADER = "from dataclasses import dataclass\nfrom numaprobe.policies import NodeWork, Policy\n"


def file(tmp_path: Path, body: str, name: str = "mine.py") -> str:
    (tmp_path / name).write_text(HEADER + body)
    return str(tmp_path / name)


def test_ten_lines_are_a_policy(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "class Mine(NodeWork):\n"
        "    '''All of it on the node.'''\n"
        "    def probe_device(self, at, dev, function, *, is_async):\n"
        "        return self.run_on_node(at, dev, function)\n",
    )
    policy = make_policy(f"{path}:Mine+pin")
    assert (policy.label, policy.spec) == ("mine+pin", f"{path}:Mine+pin")
    trace = run_setting(prepare(load_scenario("pmem-2018")), policy).trace
    assert trace.policy == "mine+pin"
    assert all(record.cpu_node == record.device_node for record in trace.probes)


def test_a_file_that_is_edited_is_read_again(tmp_path: Path) -> None:
    path = file(tmp_path, "class Mine(Policy):\n    summary = 'one'\n")
    assert make_policy(f"{path}:Mine").summary == "one"
    path = file(tmp_path, "class Mine(Policy):\n    summary = 'another'\n")
    assert make_policy(f"{path}:Mine").summary == "another"


def test_a_plus_in_a_folder_is_no_option(tmp_path: Path) -> None:
    (tmp_path / "c++").mkdir()
    path = file(tmp_path / "c++", "class Mine(NodeWork):\n    pass\n")
    assert make_policy(f"{path}:Mine+pin").label == "mine+pin"


@pytest.mark.parametrize(
    ("body", "cls", "message"),
    [
        ("class Mine(Policy)\n    pass\n", "Mine", r"mine.py: does not run: SyntaxError: .*\(line 3\)"),
        ("1 / 0\n", "Mine", r"mine.py: does not run: ZeroDivisionError: division by zero \(line 3\)"),
        ("import no_such_module\n", "Mine", r"does not run: ModuleNotFoundError.*\(line 3\)"),
        ("class Mine(Policy):\n    pass\n", "Mina", r"unknown policy class in .*'Mina': did you mean 'Mine'\?"),
        ("class Mine:\n    pass\n", "Mine", "Mine is no subclass of numaprobe's Policy"),
        ("", "Policy", "Policy is no subclass of numaprobe's Policy that is defined here"),
        ("class Inline(Policy):\n    pass\n", "Inline", "its name 'inline' is taken"),
        ("class Mine(Policy):\n    pass\n", "Mine+pin", r"unknown option of policy mine 'pin'"),
    ],
)
def test_a_file_that_holds_no_policy_is_one_line(tmp_path: Path, body: str, cls: str, message: str) -> None:
    with pytest.raises(NumaprobeError, match=message) as caught:
        make_policy(f"{file(tmp_path, body)}:{cls}")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("spec", ["/nowhere/mine.py:X", "\0.py:X", ".py:X", "mine.py:"])
def test_a_file_that_is_not_there(spec: str) -> None:
    with pytest.raises(NumaprobeError):
        make_policy(spec)


# ---- the contract of a placement -----------------------------------------------------------------------------------
PLACES = ["call_site", "probe_device", "bus_probe"]
MISTAKES = {
    "    async def {place}(self, at, dev, function, **more):\n        return 0\n": "never ran the probe of 0000:",
    "    def {place}(self, at, dev, function, **more):\n        return function\n": "TypeError|never ran",
    (
        "    async def {place}(self, at, dev, function, **more):\n"
        "        await function()\n        return await function()\n"
    ): "ran 2 times the probe of 0000:",
    "    async def {place}(self, at, dev, function, **more):\n        await function()\n        return 'x'\n": (
        "returned 'x' for 0000:"
    ),
    "    def {place}(self, at, dev, function, **more):\n        return 1 / 0\n": (
        r"{place} raised ZeroDivisionError: division by zero \(.*mine.py:5\)"
    ),
    "    async def {place}(self, at, dev, function, **more):\n        return dev.nonsense\n": (
        r"{place} raised AttributeError: .*nonsense.* \(.*mine.py:5\)"
    ),
    "    def placement(self, core):\n        return core.nonsense\n": r"placement raised AttributeError.*mine.py:5",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("body", MISTAKES)
def test_a_mistake_is_its_authors_and_is_named(tmp_path: Path, place: str, body: str) -> None:
    path = file(tmp_path, "class Mine(Policy):\n" + body.replace("{place}", place))
    # the driver is synchronous: so all three places are passed
    setting = prepare(load_scenario("nvme-epyc", overrides=["drivers[0].probe_type=sync"]))
    with pytest.raises(PolicyError, match=MISTAKES[body].replace("{place}", place)) as caught:
        run_setting(setting, f"{path}:Mine")
    assert str(caught.value).startswith("policy 'mine'")


def test_a_mistake_in_an_async_probe_is_named_too(tmp_path: Path) -> None:
    body = "class Mine(Policy):\n    async def probe_device(self, at, dev, function, *, is_async):\n        return 0\n"
    with pytest.raises(PolicyError, match="never ran the probe of 0000:"):
        run_setting(prepare(load_scenario("nvme-epyc")), f"{file(tmp_path, body)}:Mine")


def test_the_command_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = "class Mine(Policy):\n    def probe_device(self, at, dev, function, *, is_async):\n        return at.x\n"
    assert run_command(["run", "nvme-epyc", "-p", f"{file(tmp_path, body)}:Mine"]) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"numaprobe: policy 'mine': probe_device raised AttributeError.*mine.py:5\)\n", said)


def test_a_policy_from_a_file_as_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file(tmp_path, "class Mine(Policy):\n    pass\n")
    assert run_command(["compare", "nvme-epyc", "-p", "inline", "-b", f"{path}:Mine"]) == 0
    assert "Percentages are of mine." in capsys.readouterr().out
