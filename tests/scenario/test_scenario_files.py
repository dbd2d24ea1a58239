"""Files of sysfs in a scenario: who may have which, what reading and writing them does, and who cannot take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from numaprobe.errors import InputError
from numaprobe.scenario import parse_scenario, prepare, save_scenario
from numaprobe.scenario.inkernel.limits import inexpressible
from numaprobe.scenario.reader import parse_toml
from numaprobe.study import make_setting, run

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.scenario import Setting

TEXT = """
machine = "1 node x 2 cores"
[[drivers]]
name = "panel"
phases = [{ compute = "1ms" }]
attributes = [{ name = "brightness", show = [{ sleep = "2ms" }], store = [{ fail = "EINVAL" }] }]
[[devices]]
name = "panel{i}"
count = 2
compatible = "panel"
attributes = [{ name = "label", show = [{ hold = { lock = "acpi", phases = [{ sleep = "1ms" }] } }] }]
[[steps]]
add = "*"
[[steps]]
STEP
"""


def setting_of(step: str, text: str = TEXT) -> Setting:
    return prepare(parse_scenario(parse_toml(text.replace("STEP", step).encode(), "here"), "here"))


def warnings_of(step: str) -> list[str]:
    return [one.message for one in run(setting_of(step)).trace.warnings if one.kind == "attribute"]


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ('read = { device = "*", file = "label" }', []),
        (
            'read = { device = "*", file = "brightness" }',
            [f"reading panel{i}/brightness failed: ENOENT" for i in (0, 1)],
        ),
        ('load = "panel"\n[[steps]]\nread = { device = "panel1", file = "brightness" }', []),
        (
            'load = "panel"\n[[steps]]\nwrite = { device = "panel1", file = "brightness" }',
            ["writing panel1/brightness failed: EINVAL"],
        ),
        ('write = { device = "panel0", file = "label" }', ["writing panel0/label failed: EACCES"]),
    ],
)
def test_what_a_user_gets(step: str, told: list[str]) -> None:
    assert warnings_of(step) == told


def test_reading_takes_its_time_and_the_locks_that_it_says() -> None:
    steps = '{ read = { device = "panel0", file = "label" } }, { read = { device = "panel1", file = "label" } }'
    outcome = run(setting_of(f'parallel = [{steps}]\nat_least = "2ms"\nat_most = "2ms"'))
    assert outcome.passed
    assert len(outcome.checks) == 2


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("STEP", 'read = { device = "panel0", file = "labl" }', r"steps\[1\].read.file: .* did you mean 'label'"),
        ("STEP", 'read = { device = "panl0", file = "label" }', r"steps\[1\].read: 'panl0' is no device"),
        ("STEP", 'read = "panel0"', "read"),
        (', show = [{ sleep = "2ms" }], store = [{ fail = "EINVAL" }]', "", "has 'show', 'store' or both"),
        ('show = [{ sleep = "2ms" }]', "show = [{ enable_vfs = 2 }]", "cannot 'enable_vfs'"),
        (
            'show = [{ sleep = "2ms" }]',
            'show = [{ hold = { lock = "l", phases = [{ register = [{ name = "c" }] }] } }]',
            "cannot 'register'",
        ),
        (
            "{ compute = ",
            '{ wait = { device = "panel0", optional = true } }, { compute = ',
            "belongs to a wait for a sup",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(old: str, new: str, why: str) -> None:
    assert old in TEXT
    with pytest.raises(InputError, match=why) as caught:
        run(setting_of("settle = true", TEXT.replace(old, new, 1)))
    assert "\n" not in str(caught.value)


def test_what_is_kept_as_a_file_says_the_same(tmp_path: Path) -> None:
    setting = setting_of('read = { device = "panel0", file = "label" }')
    save_scenario(setting.scenario, tmp_path / "kept.toml")
    kept = make_setting(str(tmp_path / "kept.toml")).scenario
    assert kept.drivers == setting.scenario.drivers
    assert kept.devices == setting.scenario.devices
    assert kept.steps == setting.scenario.steps


def test_the_labs_module_says_that_it_has_no_such_file() -> None:
    scenario = setting_of('read = { device = "panel0", file = "label" }').scenario
    assert list(inexpressible(scenario)) == [("steps[1]", "the module's devices have no files of their own")]
    waits = TEXT.replace("{ compute", '{ wait = { supplier = "panel0", optional = true } }, { compute')
    ((place, why),) = inexpressible(setting_of("settle = true", waits).scenario)
    assert place == "drivers[0].phases"
    assert "'optional'" in why
