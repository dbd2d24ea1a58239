"""The plan's file: what was written is read again, matches the schema, and no name of it can be a path trick."""

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numaprobe.bringup.names import check_device, check_name
from numaprobe.bringup.plan import Allowance, Change, Plan, Skipped, dump_plan, load_plan
from numaprobe.bringup.reasons import CODES, make_reason
from numaprobe.cpuset import CpuSet
from numaprobe.errors import InputError
from numaprobe.records import json_schema

NAMES = st.text("az09.:-_!é ()", min_size=1, max_size=12).filter(lambda name: name not in (".", ".."))
DEVICE = "devices/pci0000:80/0000:80:01.0/0000:81:00.0"


@st.composite
def changes(draw: st.DrawFn) -> Change:
    name, bus = draw(NAMES), draw(NAMES)
    action = draw(st.sampled_from(["bind", "unbind", "rebind"]))
    return Change(
        device=f"devices/{draw(NAMES)}/{name}",
        bus=bus,
        name=name,
        action=action,
        driver_before=None if action == "bind" else draw(NAMES),
        driver_after=None if action == "unbind" else draw(NAMES),
        override_before=draw(st.none() | NAMES),
        override_after=draw(st.none() | NAMES),
        road=draw(st.sampled_from(["bind", "override"])),
        node=draw(st.none() | st.integers(0, 1023)),
        cpus=CpuSet(draw(st.integers(0, 2**70))),
        wave=draw(st.integers(0, 9)),
        exclusive=draw(st.booleans()),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    name = draw(NAMES)
    reasons = tuple(
        make_reason(code, draw(st.text(max_size=9)), "pci", name)
        for code in draw(st.sets(st.sampled_from(sorted(CODES))))
    )
    return Plan(
        changes=tuple(draw(st.lists(changes(), max_size=4, unique_by=lambda change: change.device))),
        skipped=(Skipped(device=f"devices/{name}", bus="pci", name=name, refused=bool(reasons), reasons=reasons),),
        jobs=draw(st.integers(1, 99)),
        deadline_ns=draw(st.none() | st.integers(1, 10**12)),
        allowances=tuple(
            Allowance(device=draw(NAMES), code=code) for code in draw(st.sets(st.sampled_from(sorted(CODES))))
        ),
        kernel=draw(st.none() | st.just("6.12.0")),
        warnings=tuple(draw(st.lists(st.text(max_size=9), max_size=2))),
    )


@settings(max_examples=50, deadline=None)
@given(plans())
def test_any_plan_survives_and_matches_the_schema(plan: Plan) -> None:
    text = dump_plan(plan)
    assert load_plan(text, "plan") == plan
    jsonschema.validate(json.loads(text), json_schema("numaprobe.plan/1"))


def test_the_schema_names_every_field() -> None:
    definitions = json_schema("numaprobe.plan/1")["$defs"]
    for name, kind in (("change", Change), ("skipped", Skipped), ("allowance", Allowance)):
        assert set(definitions[name]["properties"]) == set(kind.__dataclass_fields__)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc", "a\0b", "a\nb", "x" * 256, "\ud800"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a driver"):
        check_name(name, "driver")


@pytest.mark.parametrize(
    "path",
    ["", "devices", "/sys/devices/a", "devices/../../etc", "devices//a", "bus/pci", "devices/a/./b", "devices/a\0"],
)
def test_what_is_no_device_is_refused(path: str) -> None:
    with pytest.raises(InputError, match=r"devices/|cannot be the name"):
        check_device(path)


def change(**fields: object) -> dict[str, object]:
    return {
        "device": DEVICE,
        "bus": "pci",
        "name": "0000:81:00.0",
        "action": "unbind",
        "driver_before": "nvme",
        **fields,
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"driver_before": "../../../etc/x"}, "cannot be the name of a driver"),
        ({"device": "devices/../0000:81:00.0"}, "cannot be the name"),
        ({"name": "0000:82:00.0"}, "is not the directory of a device named"),
        ({"bus": "a/b"}, "cannot be the name of a bus"),
        ({"driver_before": None}, "has the wrong drivers"),
        ({"driver_after": "vfio-pci"}, "has the wrong drivers"),
        ({"action": "format"}, "must be one of bind, unbind, rebind"),
        ({"cpus": "3-1"}, "cpus"),
        ({"wave": -1}, "must not be negative"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(fields: dict[str, object], words: str) -> None:
    text = json.dumps({"schema": "numaprobe.plan/1", "changes": [change(**fields)]})
    with pytest.raises(InputError, match=words):
        load_plan(text, "plan.json")


def test_a_device_is_changed_once_or_unbound_and_later_bound() -> None:
    late = change(action="bind", driver_before=None, driver_after="nvme", wave=1)
    load_plan(json.dumps({"schema": "numaprobe.plan/1", "changes": [change(), late]}), "plan.json")
    for other in (change(), {**late, "wave": 0}):
        with pytest.raises(InputError, match="changed twice"):
            load_plan(json.dumps({"schema": "numaprobe.plan/1", "changes": [change(), other]}), "plan.json")


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_what_is_no_plan_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        load_plan(data, "plan.json")
    assert "\n" not in str(caught.value)
