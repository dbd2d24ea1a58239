"""A scenario for the lab's own module: its lines, its steps, what is refused; how the module is built. No guest."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from bench.lab_module.table import table_lines

from numaprobe.cli.main import run_command
from numaprobe.errors import InputError, MissingInterfaceError, RefusedError
from numaprobe.kernel.lab import guest as guests
from numaprobe.kernel.lab.guest import GuestResult
from numaprobe.kernel.lab.headers import headers_of
from numaprobe.kernel.lab.testmodule import MODULE, built_module
from numaprobe.kernel.lab.tools import KernelImage, Tools
from numaprobe.records import ProbeRecord, Trace
from numaprobe.scenario import load_scenario, parse_scenario, prepare
from numaprobe.scenario.inkernel import MARK, fitting_factor, inexpressible, module_plan, scaled_scenario
from numaprobe.study.guests import GuestOptions
from numaprobe.study.lab import GuestSetting, record_together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numaprobe.kernel.lab.plan import GuestPlan
    from numaprobe.scenario.inkernel import ModulePlan

SOURCES = files("numaprobe.kernel.lab").joinpath("module")
RELEASE = "6.12.117+deb12-amd64"
COMMON = "linux-headers-6.12.117+deb12-common"

EVERYTHING: dict[str, Any] = {
    "machine": "2 nodes x 2 cores",
    "drivers": [
        {
            "name": "virtio-pci",
            "bus": "pci",
            "match": ["a", "b"],
            "probe_type": "async",
            "phases": [
                {"compute": "1ms"},
                {"hold": {"lock": "acpi", "phases": [{"sleep": "2ms"}, {"hold": {"lock": "x", "phases": []}}]}},
                {"allocate": {"size": "4KiB", "where": "device"}},
                {"register": [{"name": "{parent}-{i}", "count": 2, "compatible": "led"}]},
                {"enable_vfs": 2},
                {"wait": {"device": "led0", "timeout": "1s"}},
                {"wait": {"supplier": "nobody"}},
                {"fail": "ENODEV", "attempts": 1},
            ],
            "remove": [{"compute": "3ms"}],
        },
        {"name": "led", "phases": [{"undivided": {"expected": [{"sleep": "5ms"}]}}]},
    ],
    "devices": [
        {"name": "0000:01:00.0", "bus": "pci", "node": 1, "compatible": "a"},
        {"name": "0000:02:00.0", "bus": "pci", "node": "none", "compatible": "b", "phases": []},
        {"name": "led0", "compatible": "led", "suppliers": ["0000:01:00.0", "gone"], "parent": "0000:02:00.0"},
    ],
}

LINES = """\
bus 0 pci pci
bus 1 plain numaprobe-platform
bridge 0 1
bridge 1 -1
driver 0 0 async virtio-pci.lab
match 0 256
match 0 257
driver 1 1 default led
match 1 258
function 0 0 0 0 256 2 259
virtual 1 0 0 1 0
virtual 2 0 0 2 0
device 3 1 -1 0 0 258 0000:01:00.0-0
device 4 1 -1 0 0 258 0000:01:00.0-1
function 5 0 1 0 257 0 0
device 6 1 -1 5 -1 258 led0
supplier 6 0
supplier 6 7
do p0 compute 2000000 0 0
do p0 lock 0 0 0
do p0 sleep 4000000 0 0
do p0 lock 1 0 0
do p0 unlock 1 0 0
do p0 unlock 0 0 0
do p0 allocate 4096 -2 0
do p0 register 0 0 0
do p0 vfs 2 0 0
do p0 wait 6 2000000000 110
do p0 wait -1 -1 517
do p0 fail 19 1 0
do r0 compute 6000000 0 0
do p1 sleep 10000000 0 0
own 5
"""


def plan_of(factor: int = 1, **changes: Any) -> ModulePlan:
    scenario = parse_scenario({**EVERYTHING, **changes}, "test")
    return module_plan(scenario, prepare(scenario).plan.topology, factor=factor)


def text_of(plan: ModulePlan) -> str:
    return plan.guest.files["scenario.txt"].decode()


# ---- the text ------------------------------------------------------------------------------------------------------
def test_a_scenario_is_written_as_the_modules_lines() -> None:
    plan = plan_of(factor=2)
    assert text_of(plan) == LINES
    assert plan.names["0000:01:00.0"] == "20000:00:00.0"
    assert plan.names["0000:01:00.2"] == "20000:00:00.2"
    assert plan.names["0000:02:00.0"] == "20001:00:00.0"
    assert plan.names["0000:01:00.0-1"] == "0000:01:00.0-1"
    assert plan.pci_drivers == ("virtio-pci.lab",)
    assert plan.guest.devices == ()


def test_the_module_knows_every_word_that_is_written() -> None:
    tell = SOURCES.joinpath("tell.c").read_text()
    defines = set(re.findall(r'\{ "(\w+) ", define_\w+ \}', tell))
    assert {line.split()[0] for line in LINES.splitlines()} == defines
    verbs = re.search(r"verbs\[\] = \{(.*?)\};", tell, re.DOTALL)
    assert verbs is not None
    written = {line.split()[2] for line in LINES.splitlines() if line.startswith("do ")}
    assert written == set(re.findall(r'"(\w+)"', verbs[1]))


def test_the_modules_sizes_are_the_ones_that_are_checked() -> None:
    from numaprobe.scenario.inkernel import layout, limits

    header = SOURCES.joinpath("lab.h").read_text()
    sizes = {
        name: int(value, 0) for name, value in re.findall(r"#define LAB_(\w+)\s+(0x\w+|\d+)$", header, re.MULTILINE)
    }
    assert sizes["DEVICES"] == layout.MAX_DEVICES + 1
    assert sizes["DRIVERS"] == layout.MAX_DRIVERS + 1
    assert sizes["BUSES"] == layout.MAX_BUSES + 1
    assert sizes["MATCHES"] == layout.MAX_MATCHES
    assert sizes["LOCKS"] == layout.MAX_LOCKS
    assert (sizes["MEMORY"], sizes["HELD"]) == (limits.MAX_ALLOCATIONS, limits.MAX_HELD)
    assert plan_of().names["0000:01:00.0"].startswith(f"{sizes['DOMAIN']:x}:")


def test_more_functions_than_a_bus_has_get_another_bridge() -> None:
    devices = [{"name": "d{i}", "count": 300, "bus": "pci", "node": 1, "compatible": "a"}]
    plan = plan_of(drivers=[{"name": "a", "bus": "pci"}], devices=devices)
    assert text_of(plan).count("bridge ") == 2
    assert plan.names["d255"] == "20000:00:1f.7"
    assert plan.names["d256"] == "20001:00:00.0"
    few = plan_of(drivers=[{"name": "a", "bus": "pci"}], devices=[{**devices[0], "count": 2}])
    assert few.names == {"d0": "20000:00:00.0", "d1": "20000:00:01.0"}


@pytest.mark.parametrize(
    ("what", "count"),
    [("devices", 4096), ("drivers", 64), ("buses", 16), ("locks", 65), ("texts that one driver matches", 17)],
)
def test_more_than_the_module_takes_is_refused(what: str, count: int) -> None:
    changes: dict[str, Any] = {"drivers": [{"name": "a"}], "devices": [{"name": "d", "compatible": "a"}]}
    if what == "devices":
        changes["devices"] = [{"name": "d{i}", "count": count, "compatible": "a"}]
    elif what == "drivers":
        changes["drivers"] = [{"name": f"a{index}"} for index in range(count)]
    elif what == "locks":
        holds = [{"hold": {"lock": f"l{index}", "phases": []}} for index in range(count)]
        changes["drivers"] = [{"name": "a", "phases": holds}]
    elif what != "buses":
        changes["drivers"] = [{"name": "a", "match": [f"m{index}" for index in range(count)]}]
    else:
        changes["buses"] = [{"name": f"b{index}"} for index in range(count)]
    with pytest.raises(InputError, match=f"{what}; the lab's module takes at most"):
        plan_of(**changes)


# ---- the steps -----------------------------------------------------------------------------------------------------
def steps_of(*steps: dict[str, Any], **changes: Any) -> list[str]:
    return list(plan_of(steps=list(steps), **changes).guest.steps)


def test_steps_are_lines_to_the_module_by_the_task_that_takes_them() -> None:
    told, pinned, *lines = steps_of(
        {"add": "*"},
        {"load": "virtio-pci"},
        {"load": "led", "async_probe": True, "cpu": 3},
        {"register": "led", "cpu": 1, "pinned": False},
        {"settle": True},
        {"remove": "led0"},
    )
    assert told == 'tell() { echo "$*" > /sys/kernel/numaprobe/tell; }'
    assert pinned == "taskset -cp 0 $$ >/dev/null"
    tell = "/sys/kernel/numaprobe/tell"
    assert lines == [
        "step 'steps[0]' tell add 0 5 6",
        "step 'steps[1]' tell load 0",
        f"step 'steps[2]' taskset -c 3 /bin/sh -c 'echo '\"'\"'load-async 1'\"'\"' > {tell}'",
        f"step 'steps[3]' taskset -c 0-3 /bin/sh -c 'echo '\"'\"'register 1'\"'\"' > {tell}'",
        "step 'steps[4]' tell settle",
        "step 'steps[5]' tell remove 6",
    ]


def test_what_users_write_goes_to_sysfs() -> None:
    lines = "\n".join(
        steps_of(
            {"bind": "0000:01:00.0"},
            {"unbind": "led0"},
            {"drivers_probe": "led0"},
            {"sriov_numvfs": {"device": "0000:01:00.0", "vfs": 4}},
            {"autoprobe": {"bus": "platform", "on": False}},
            {"expect_bound": "0000:01:00.1"},
        )
    )
    assert "echo 20000:00:00.0 > /sys/bus/pci/drivers/virtio-pci.lab/bind" in lines
    assert "echo led0 > /sys/bus/numaprobe-platform/drivers/led/unbind" in lines
    assert "echo led0 > /sys/bus/numaprobe-platform/drivers_probe" in lines
    assert "echo 4 > /sys/bus/pci/devices/20000:00:00.0/sriov_numvfs" in lines
    assert "echo 0 > /sys/bus/numaprobe-platform/drivers_autoprobe" in lines
    assert "[ -e /sys/bus/pci/devices/20000:00:00.1/driver ]" in lines
    assert "virtual 4 0 0 4 0" in text_of(plan_of(steps=[{"sriov_numvfs": {"device": "0000:01:00.0", "vfs": 4}}])), (
        "a step asks for more functions than the probe does"
    )


def test_other_tasks_carry_a_line_out_and_a_step_can_wait_for_a_probe() -> None:
    lines = steps_of(
        {"offline": "1", "during": {"probe": "led0", "after": "5ms"}},
        {"add": "led0"},
        {"add": "0000:01:00.0", "kind": "kworker", "cpu": 1},
        {"add": "0000:02:00.0", "kind": "kthread", "cpu": 2, "pinned": True, "comm": "a b"},
        {"busy": {"cpus": "0-1", "tasks": 2}},
        caller={"comm": "irq/42-pciehp", "kind": "kthread"},
    )[2:]
    offline = "echo 0 > /sys/devices/system/cpu/cpu1/online"
    assert lines == [
        "{ step 'steps[0]' tell await 6 5000000 && { step 'steps[0]' /bin/sh -c '"
        + offline
        + '\'; }; } & armed="$armed $!"',
        "step 'steps[1]' tell kthread -1 irq/42-pciehp add 6",
        "step 'steps[2]' tell worker 1 1 add 0",
        "step 'steps[3]' tell kthread 2 a_b add 5",
        "step 'steps[4]' tell busy 2 0 -1 0 -1 0-1",
        "step settle tell settle; kill $armed 2>/dev/null; wait",
    ]
    with pytest.raises(InputError, match="a kernel thread does not write to sysfs"):
        steps_of({"bind": "led0"}, caller={"comm": "kthread", "kind": "kthread"})


def test_devices_that_are_registered_asynchronously_are_waited_for() -> None:
    changes = {"drivers": [{"name": "p", "bus": "nd"}], "devices": [{"name": "p0", "bus": "nd", "compatible": "p"}]}
    assert steps_of({"add": "*"}, **changes)[2:] == ["step 'steps[0]' tell add 0", "step 'steps[0]' tell sync"]


def test_a_guest_is_left_as_it_was_found() -> None:
    plan = plan_of(buses=[{"name": "pci", "autoprobe": False}])
    assert any("echo 0 > /sys/bus/pci/drivers_autoprobe" in line for line in plan.guest.setup)
    assert plan.guest.after[0] == "echo 1 > /sys/bus/pci/drivers_autoprobe"
    assert "rmmod numaprobe_lab" in plan.guest.after


def test_recorded_drivers_get_the_scenarios_names() -> None:
    trace = Trace(source="kernel", probes=(ProbeRecord(device="20000:00:00.0", driver="virtio-pci.lab", cost_ns=1),))
    assert plan_of().as_named(trace).probes[0].driver == "virtio-pci"


NESTED: list[dict[str, Any]] = []
for _ in range(9):
    NESTED = [{"hold": {"lock": "l", "phases": NESTED}}]


def test_isolated_cpus_are_a_partition_that_is_taken_back() -> None:
    plan = plan_of(devices=[], steps=[{"isolate": "1-2"}, {"isolate": ""}])
    isolating = [line for line in plan.guest.steps if "isolate" in line]
    assert isolating == ["step 'steps[0]' isolate '1-2'", "step 'steps[1]' isolate ''"]
    assert "isolate ''" in plan.guest.after


# ---- what a module cannot do ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drivers": [{"name": "a", "phases": [{"allocate": "4KiB"}] * 9}]}, "keeps 8 pieces of memory"),
        ({"drivers": [{"name": "a", "phases": NESTED}]}, "holds 8 locks at a time"),
        ({"booting": True}, "booting: a module is loaded when the kernel has booted"),
        ({"steps": [{"block_probing": True}]}, r"steps\[0\]: device_block_probing\(\) is not exported"),
        ({"drivers": [{"name": "u", "bus": "usb"}]}, r"drivers\[0\].bus: USB devices have a road of their own"),
        (
            {"buses": [{"name": "old", "kind": "pci"}], "drivers": [{"name": "u", "bus": "old"}]},
            "a kernel has one PCI bus",
        ),
        ({"devices": [{"name": "led0"}, {"name": "a", "bus": "pci", "parent": "led0"}]}, "below its host bridges"),
        (
            {"drivers": [{"name": "a", "phases": [{"register": [{"name": "x", "bus": "pci"}]}]}]},
            r"drivers\[0\].register: a PCI function comes from its bus",
        ),
    ],
)
def test_what_no_module_can_do_is_refused_with_its_place(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan_of(**{"devices": [], **changes})


def test_most_built_in_scenarios_can_be_expressed() -> None:
    from bench.lab_module.__main__ import all_cases

    from numaprobe.scenario import builtin_names

    names = [name for name in builtin_names() if name != "host"]
    cannot = {name for name in names if list(inexpressible(load_scenario(name)))}
    assert {one.scenario for one in all_cases()} == set(names) - cannot
    assert len(cannot) < 3
    for one in all_cases():
        scenario = load_scenario(one.scenario)
        if one.cmdline is not None:
            scenario = scenario.model_copy(update={"cmdline": one.cmdline})
        assert module_plan(scenario, prepare(scenario, machine=one.machine).plan.topology).guest.steps


# ---- times ---------------------------------------------------------------------------------------------------------
def test_times_are_scaled_and_nothing_is_in_doubt() -> None:
    scenario = parse_scenario(
        {
            **EVERYTHING,
            "seed": 1,
            "drivers": [{"name": "led", "jitter": 0.1, "phases": [{"compute": "1ms"}]}],
            "devices": [{"name": "led0", "compatible": "led", "phases": [{"sleep": "2ms"}]}],
            "steps": [{"wait": "1ms"}, {"parallel": [{"wait": "2ms"}]}, {"add": "*", "at_most": "1s"}],
        },
        "test",
    )
    longer = scaled_scenario(scenario, 3)
    assert longer.drivers[0].jitter == 0
    assert longer.drivers[0].phases[0].said == 3_000_000
    assert longer.devices[0].phases is not None
    assert longer.devices[0].phases[0].said == 6_000_000
    assert longer.steps[0].said == 3_000_000
    assert longer.steps[1].inside()[0].said == 6_000_000
    assert longer.steps[2].at_most is None
    assert fitting_factor(scenario) == 10
    assert fitting_factor(load_scenario("pmem-2018")) == 1


# ---- building it ---------------------------------------------------------------------------------------------------
PROGRAMS = {
    "strip": 'cp "$4" "$3"',
    "readelf": 'cat "$2"',
    "gcc": 'case "$1" in -fmin-*) exit 1;; esac',
    "make": """echo "$@" >> "$LOG"
case "$BREAK" in 1) echo "tell.c:1:1: error: expected ';'" >&2; exit 2;; esac
for word; do case "$word" in M=*) echo built > "${word#M=}/numaprobe_lab.ko";; esac; done""",
    "apt-cache": f"""case "$*" in
*-o*) ;;
*madison*linux-headers-{RELEASE}) echo 'h | 6.12.117-1 | site';;
*show*linux-headers-{RELEASE}=6.12.117-1) echo 'Depends: {COMMON} (= 1), linux-kbuild-6.12, gcc-12';;
esac""",
    "apt-get": """case "$1" in indextargets) echo 'Debian http://mirror/debian/';; esac
for word; do case "$word" in linux-*) echo "$word" >> "$LOG"; echo "$word" > "${word%%=*}_1.deb";; esac; done""",
    "dpkg-deb": f"""case "$2" in
*-amd64_*) mkdir -p "$3/usr/src/linux-headers-{RELEASE}"; cd "$3/usr/src/linux-headers-{RELEASE}"
    echo 'include /usr/src/linux-headers-6.12.117+deb12-common/Makefile' > Makefile
    echo 'CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=y' > .config
    touch Module.symvers; ln -s /usr/lib/linux-kbuild-6.12/scripts scripts;;
esac""",
}


@pytest.fixture
def place(tmp_path: Path, with_programs: Callable[[Mapping[str, str]], None]) -> Path:
    with_programs(PROGRAMS)
    return tmp_path


def image_in(place: Path, release: str = RELEASE, **more: Any) -> KernelImage:
    return KernelImage(place / "cache" / release / "boot" / f"vmlinuz-{release}", release, **more)


def test_headers_are_fetched_unpacked_and_moved(place: Path) -> None:
    cache = place / "cache"
    told: list[str] = []
    headers = headers_of(image_in(place), cache, told.append)
    assert headers == cache / ".headers" / RELEASE / "usr/src" / f"linux-headers-{RELEASE}"
    common = f"{cache}/.headers/{RELEASE}/usr/src/linux-headers-6.12.117+deb12-common/Makefile"
    assert (headers / "Makefile").read_text() == f"include {common}\n"
    assert str((headers / "scripts").readlink()) == f"{cache}/.headers/{RELEASE}/usr/lib/linux-kbuild-6.12/scripts"
    fetched = (place / "log").read_text().split()
    assert fetched == [
        f"linux-headers-{RELEASE}=6.12.117-1",
        COMMON,
        "linux-kbuild-6.12",
    ]
    assert headers_of(image_in(place), cache, told.append) == headers
    assert told == [f"fetching the headers of {RELEASE} (about 17 MB)"]


def test_headers_that_are_installed_are_taken(place: Path) -> None:
    image = image_in(place)
    (image.modules / "build").mkdir(parents=True)
    for name in ("Makefile", "Module.symvers"):
        (image.modules / "build" / name).touch()
    assert headers_of(image, place / "cache") == image.modules / "build"


def test_headers_that_nobody_has_are_told(place: Path) -> None:
    with pytest.raises(MissingInterfaceError, match=r"no suite of Debian's on your mirror has linux-headers-6\.9"):
        headers_of(image_in(place, "6.9.1-mine"), place / "cache")


def test_a_build_tree_is_its_own_headers_while_it_is_that_kernels(place: Path) -> None:
    tree = place / "linux"
    tree.mkdir()
    image = image_in(place, build_id="ab" * 20, tree=tree)
    with pytest.raises(MissingInterfaceError, match=r"has no Module\.symvers"):
        headers_of(image, place / "cache")
    (tree / "Module.symvers").touch()
    (tree / "vmlinux").write_text(f"Build ID: {'ab' * 20}\n")
    assert headers_of(image, place / "cache") == tree
    (tree / "vmlinux").write_text(f"Build ID: {'cd' * 20}\n")
    with pytest.raises(MissingInterfaceError, match="was built again since its kernel was taken"):
        headers_of(image, place / "cache")


def test_the_module_is_built_once_for_a_kernel(place: Path) -> None:
    cache, told = place / "cache", list[str]()
    module = built_module(image_in(place), cache, told.append)
    assert module.name == MODULE
    assert module.read_text() == "built\n"
    assert built_module(image_in(place), cache, told.append) == module
    made = [line for line in (place / "log").read_text().splitlines() if " M=" in line]
    assert len(made) == 1
    assert "CC=gcc" in made[0]
    assert "CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT= " in made[0]  # what this gcc does not take
    assert [path.name for path in module.parent.iterdir()] == [MODULE]


def test_a_module_that_does_not_build_says_why_and_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREAK", "1")
    with pytest.raises(RefusedError, match=r"does not build against .*: tell.c:1:1: error: expected ';'"):
        built_module(image_in(place), place / "cache")
    assert list((place / "cache/.modules").iterdir()) == []


def test_without_a_compiler_nothing_is_fetched(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numaprobe.kernel.lab.layout._search", lambda: str(place / "nothing"))
    with pytest.raises(MissingInterfaceError, match="building the test module needs make; install it: make lab-build"):
        built_module(image_in(place), place / "cache")
    assert not (place / "log").exists()


# ---- one guest for several plans -----------------------------------------------------------------------------------
def probe(device: str, start: int, driver: str = "led") -> ProbeRecord:
    return ProbeRecord(device=device, driver=driver, cost_ns=1, start_ns=start, end_ns=start + 1)


def test_several_scenarios_share_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = [probe(MARK, 30, MARK), probe(MARK, 60, MARK)]
    trace = Trace(source="kernel", probes=(probe("led0", 10), marks[0], probe("led0", 40), *marks[1:], probe("x", 70)))
    plans: list[GuestPlan] = []

    def booted(plan: GuestPlan, *, folder: Path, **_: Any) -> GuestResult:
        plans.append(plan)
        (folder / "1/steps.failed").write_text("steps[0] failed\n")
        return GuestResult(trace=trace, status=0, seconds=1.0, folder=folder)

    monkeypatch.setattr(guests, "run_guest", booted)
    options = GuestOptions(image=image_in(tmp_path), tools=Tools(tmp_path, ""), timeout=1.0)
    plan = plan_of()
    setting = GuestSetting(scenario=plan.scenario, plan=plan.guest, options=options, module=plan)
    first, second, third = record_together([setting, setting, setting])
    assert not isinstance(first, RefusedError)
    assert not isinstance(second, RefusedError)
    assert [one.start_ns for one in first.trace.probes] == [10]
    assert [one.start_ns for one in second.trace.probes] == [40]
    assert [one.message for one in second.failures] == ["steps[0] failed"]
    assert isinstance(third, RefusedError), "its mark is missing: the guest did not come so far"
    lines = plans[0].steps
    assert lines.count("rmmod numaprobe_lab") == 3
    assert lines.count("tell add 4095") == 3
    assert sum("export NUMAPROBE_SHARED=" in line for line in lines) == 3


def test_the_table_has_a_row_for_each_scenario_and_says_what_is_not_there(tmp_path: Path) -> None:
    rows = [
        {"scenario": "lab-nvme", "probes": 3, "agree": 3, "differs": []},
        {"scenario": "sriov", "probes": 17, "agree": 16, "differs": [{"device": "x"}]},
        {"scenario": "busy", "error": "the guest did not come so far"},
    ]
    (tmp_path / "lab-module-6.12.json").write_text(json.dumps(rows))
    (tmp_path / "lab-module-6.1.json").write_text("[]")
    cases: list[Any] = [
        ("lab-nvme", None, None, {}),
        ("sriov", None, "isolcpus=1", {"6.12": "the reason"}),
        ("busy", None, None, {}),
    ]
    lines = list(table_lines(tmp_path, cases))
    assert lines[:5] == [
        "| scenario | 6.1 | 6.12 |",
        "|---|---|---|",
        "| `lab-nvme` | not run | 3 of 3 |",
        "| `sriov` (`isolcpus=1`) | not run | 16 of 17* |",
        "| `busy` | not run | no result |",
    ]
    assert "* `sriov`, 6.12: the reason" in lines
    assert "| `isolated-at-run-time` | not run | not run |" in lines
    assert not any("is not expressed" in line for line in lines)


# ---- the command ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scale", "3"], "--scale is for --module"),
        (["--module", "--overhead", "3"], "--overhead measures drivers of QEMU's devices"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["lab", "lab-nvme", *options]) == 2
    assert words in capsys.readouterr().err
