from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario_text import MACHINE, refusal

from numaprobe.errors import InputError, UnknownNameError, UsageError
from numaprobe.reading.budget import BUDGETS
from numaprobe.scenario import builtin_names, load_scenario, parse_scenario, scenario_source
from numaprobe.scenario.reader import parse_toml, read_scenario

if TYPE_CHECKING:
    import random
    from pathlib import Path

VALID = f"""
machine = "{MACHINE}"
[[drivers]]
name = "nvme"
bus = "pci"
probe_type = "async"
phases = [{{ sleep = "1ms" }}, {{ hold = {{ lock = "acpi", phases = [{{ compute = "2ms" }}] }} }}]
[[devices]]
name = "0000:{{i:02x}}:00.0"
count = 3
bus = "pci"
node = 1
compatible = "nvme"
"""

BAD = {
    "x": "is no TOML: Expected '='",
    'machine = "x"\nmachine = "y"': "is no TOML: Cannot overwrite a value",
    "": "machine: is missing",
    'machin = "x"': "machin: unknown key; did you mean 'machine'?",
    "machine = 1": "machine: 1: input should be a valid string",
    'machine = "x"\ndrivers = 5': "drivers: 5: input should be a list",
    'machine = "x"\ndrivers = [5]': "drivers[0]: 5: input should be a table",
    VALID.replace('"2ms"', '"25 parsecs"'): (
        "drivers[0].phases[1].hold.phases[0].compute: '25 parsecs' has no known time unit; use one of ns, us, µs, ms"
    ),
    VALID.replace('"1ms"', '"-1ms"'): "drivers[0].phases[0].sleep: '-1ms' is not a time",
    VALID.replace('"1ms"', '"99999999s"'): "drivers[0].phases[0].sleep: '99999999s' is longer than a day",
    VALID.replace('sleep = "1ms"', 'sleep = "1ms", compute = "1ms"'): (
        "drivers[0].phases[0]: a phase does exactly one thing; this one does compute and sleep"
    ),
    VALID.replace(
        '{ sleep = "1ms" }', "{}"
    ): "drivers[0].phases[0]: a phase does exactly one thing; this one does none",
    VALID.replace('{ sleep = "1ms" }', '{ fail = "EWHAT" }'): "drivers[0].phases[0].fail: 'EWHAT' is no errno name",
    VALID.replace('{ sleep = "1ms" }', '{ sleep = "1ms", attempts = 2 }'): "'attempts' belongs to a phase with 'fail'",
    VALID.replace('{ sleep = "1ms" }', '{ allocate = { size = "1MiB", where = "moon" } }'): (
        "drivers[0].phases[0].allocate.where: 'moon' is no place for memory"
    ),
    VALID.replace('{ sleep = "1ms" }', '{ wait = { device = "a", supplier = "b" } }'): (
        "drivers[0].phases[0].wait: a wait does exactly one thing"
    ),
    VALID.replace(
        "count = 3", "count = 1000000"
    ): "devices[0].count: 1000000 is no count; write a number from 1 to 200000",
    VALID.replace("count = 3", "count = -1"): "devices[0].count: -1 is no count",
    VALID.replace("node = 1", "node = 1.5"): "devices[0].node: 1.5 is no node",
    VALID.replace("node = 1", "node = []"): "devices[0].node: [] is no node",
    VALID.replace('"async"', '"maybe"'): "drivers[0].probe_type: 'maybe': input should be 'default', 'async' or 'sync'",
    VALID.replace('bus = "pci"\nprobe', 'buss = "pci"\nprobe'): "drivers[0].buss: unknown key; did you mean 'bus'?",
    VALID + "[[steps]]\n": "steps[0]: a step does exactly one thing; this one does none of add",
    VALID
    + '[[steps]]\nadd = "*"\nload = "nvme"': "steps[0]: a step does exactly one thing; this one does add and load",
    VALID + '[[steps]]\nadd = "*"\ndriver = "nvme"': "steps[0]: 'driver' belongs to a step with 'bind'",
    VALID
    + '[[steps]]\nparallel = [{ add = "a/b" }]': "steps[0].parallel[0].add[0]: 'a/b' is not a device or driver name",
    VALID + '[[steps]]\noffline = "3-1"': "steps[0].offline: '3-1' runs backwards; write 1-3",
    VALID.replace('bus = "pci"\nprobe', 'jitter = 0.1\nbus = "pci"\nprobe'): (
        "a driver has 'jitter', so the scenario needs a 'seed'"
    ),
    'machine = "x"\nx = ' + "[" * 3000 + "]" * 3000: "is nested too deeply",
    'machine = "x"\nx = ' + "[" * 60 + "]" * 60: "is nested deeper than 40 tables",
    'machine = "x"\nseed = ' + "9" * 5000: "is no TOML: Exceeds the limit",
}


@pytest.mark.parametrize(("text", "reason"), BAD.items(), ids=[str(i) for i in range(len(BAD))])
def test_bad_files_are_told_in_one_line_with_file_and_path(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "nvme.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_scenario(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert reason in message
    assert "\n" not in message
    assert len(message) < 500


def test_a_valid_file_says_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(VALID, encoding="utf-8")
    scenario = load_scenario(tmp_path / "mine.toml")
    assert scenario.name == "mine"
    assert scenario.where == str(tmp_path / "mine.toml")
    assert scenario.drivers[0].phases[1].hold is not None
    assert scenario.drivers[0].phases[1].hold.phases[0].compute == 2_000_000
    assert scenario.devices[0].count == 3


def test_unreadable_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.toml: cannot be read: no such file"):
        load_scenario(tmp_path / "gone.toml")
    with pytest.raises(InputError, match="is a folder"):
        load_scenario(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'machine = "\xe4"')
    with pytest.raises(InputError, match="is not UTF-8 at byte 11"):
        load_scenario(tmp_path / "latin.toml")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "scenario", BUDGETS["scenario"]._replace(size=1 << 20))
    (tmp_path / "huge.toml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(InputError, match=r"larger than 1 MiB, and no TOML scenario is"):
        load_scenario(tmp_path / "huge.toml")


def test_an_unknown_scenario_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'nvme-epyc'"):
        load_scenario("nvme-epic")
    with pytest.raises(UnknownNameError, match="known: "):
        scenario_source("zzz")


def test_a_machine_file_is_found_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "box.xml").write_text("<topology/>", encoding="utf-8")
    (tmp_path / "mine.toml").write_text('machine = "box.xml"', encoding="utf-8")
    assert load_scenario(tmp_path / "mine.toml").machine == str(tmp_path / "box.xml")


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("drivers[0].probe_type=sync", lambda s: s.drivers[0].probe_type == "sync"),
        ("devices[0].count=64", lambda s: s.devices[0].count == 64),
        ('drivers[0].phases[0]={ sleep = "7ms" }', lambda s: s.drivers[0].phases[0].sleep == 7_000_000),
        ("order=drivers-first", lambda s: s.order == "drivers-first"),
        ("caller.cpu=2", lambda s: s.caller.cpu == 2),
        ("cmdline=isolcpus=1 quiet", lambda s: s.cmdline == "isolcpus=1 quiet"),
    ],
)
def test_overrides_change_the_file(override: str, path: object) -> None:
    scenario = parse_scenario(tomllib.loads(VALID), overrides=[override])
    assert callable(path)
    assert path(scenario)


@pytest.mark.parametrize("override", ["x", "=1", "drivers[7].name=x", "machine[0]=x", "a b=1", "drivers.name=x"])
def test_overrides_that_change_nothing_are_refused(override: str) -> None:
    with pytest.raises(UsageError):
        parse_scenario(tomllib.loads(VALID), overrides=[override])


def test_overrides_do_not_change_the_text_they_were_given() -> None:
    data = {"machine": MACHINE}
    parse_scenario(data, overrides=["seed=5"], name="x")
    assert data == {"machine": MACHINE}


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_are_refused_in_one_line(content: bytes) -> None:
    assert "\n" not in (refusal(lambda: parse_scenario(parse_toml(content, "fuzz"), "fuzz")) or "")


SOURCES = [scenario_source(name) for name in builtin_names() if name != "host"]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SOURCES), st.randoms(use_true_random=False))
def test_mutated_files_are_read_or_refused_in_one_line(text: str, chance: random.Random) -> None:
    characters = list(text)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(characters))
        characters[at : at + chance.randint(0, 3)] = chance.choice(['"', "[", "-", "9" * 9, "=", "{i}", "", "\n", "é"])
    content = "".join(characters).encode()
    assert "\n" not in (refusal(lambda: parse_scenario(parse_toml(content, "fuzz"), "fuzz")) or "")


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)),
    max_leaves=20,
)
KEYS = st.sampled_from(["machine", "drivers", "devices", "steps", "buses", "caller", "seed", "cmdline", "other"])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, JSON))
def test_any_values_are_read_or_refused_in_one_line(data: dict[str, object]) -> None:
    text = refusal(lambda: parse_scenario(data, "fuzz")) or ""
    assert "\n" not in text
    assert len(text) < 1000
