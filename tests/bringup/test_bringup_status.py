"""``status`` and the preview of a plan: what people and programs see of a machine in a folder."""

import io
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fake_kernel import FakeKernel
from situations import NVME, SITUATIONS, machine

from numaprobe.bringup.forecast import Forecast
from numaprobe.bringup.guard import Guard
from numaprobe.bringup.plan import Plan
from numaprobe.bringup.planner import Wish
from numaprobe.bringup.status import rows, status_to_dict
from numaprobe.bringup.sysfs import Sysfs
from numaprobe.cli.bringup import OpenedMachine, foresee, parse_allowances, plan_changes
from numaprobe.cli.main import run_command
from numaprobe.errors import InputError
from numaprobe.records import json_schema
from numaprobe.report.bringup import print_plan, print_status

GOLDEN = Path(__file__).parent / "golden"
BUSY = ("lvm_on_md_mounted", "open_gpu", "link_with_the_default_route", "root_file_system")


def compared(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("NUMAPROBE_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def busy(folder: Path) -> FakeKernel:
    kernel = machine(folder)
    for case in {one.name: one for one in SITUATIONS if one.name in BUSY}.values():
        case.make(kernel)
    kernel.device("pci", "0000:87:00.0", driver="vfio-pci", override="vfio-pci", ids=(0x144D, 0xA808))
    return kernel


def listed(kernel: FakeKernel) -> list[Any]:
    sysfs = Sysfs(kernel.root)
    return list(rows(sysfs.devices(), Guard(sysfs, kernel).survey(read_disks=False)))


def test_status_is_a_row_for_each_device(tmp_path: Path) -> None:
    stream = io.StringIO()
    print_status(listed(busy(tmp_path)), stream, warnings=["something"])
    compared("status.txt", stream.getvalue())


def test_status_as_json_fits_its_schema_and_says_the_same(tmp_path: Path) -> None:
    found = listed(busy(tmp_path))
    document = json.loads(json.dumps(status_to_dict(found)))
    jsonschema.validate(document, json_schema("numaprobe.status/1"))
    assert [row["name"] for row in document["devices"]] == [row.device.name for row in found]
    drive = next(row for row in document["devices"] if row["name"] == NVME)
    assert (drive["type"], drive["gives"], drive["node"], drive["free"]) == ("nvme", ["nvme0n1"], 1, False)
    assert [one["code"] for one in drive["reasons"]] == ["system", "mounted", "holder"]
    assert drive["reasons"][0]["flag"] is None


def test_the_command_looks_below_another_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kernel = busy(tmp_path)
    kernel.udev("259:3", ID_FS_TYPE="xfs")
    assert run_command(["status", "--root", str(tmp_path), "class=nvme", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in document["devices"]] == [NVME, "0000:84:00.0", "0000:87:00.0"]
    assert run_command(["status", "--root", str(tmp_path)]) == 0
    assert "virtio1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["0000:99:00.0"], 2, "there is no device '0000:99:00.0'"),
        (["../../etc"], 2, "cannot be the name of a device"),
        (["driver=mlx5_core"], 3, "no driver 'mlx5_core' is loaded; to load it: modprobe mlx5_core"),
        (["driver=nvme", "node=7"], 2, "no device fits driver=nvme node=7"),
    ],
)
def test_what_fits_nothing_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    machine(tmp_path)
    assert run_command(["status", "--root", str(tmp_path), *words]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_a_container_without_sysfs_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["status", "--root", str(tmp_path)]) == 3
    assert f"{tmp_path}/sys is no sysfs; mount it" in capsys.readouterr().err


# --- what would be done


def preview(kernel: FakeKernel, wish: Wish, *terms: str) -> tuple[Plan, Forecast]:
    here = OpenedMachine(Sysfs(kernel.root), kernel)
    plan = plan_changes(here, terms, wish, Guard(here.sysfs, kernel))
    return plan, foresee(here, plan)


def many(folder: Path, release: str) -> FakeKernel:
    kernel = machine(folder)
    kernel.put("proc/sys/kernel/osrelease", release)
    for index in range(3):
        kernel.device("pci", f"0000:9{index}:00.0", driver="nvme", node=1)
    for index in range(2, 5):
        kernel.device("virtio", f"virtio{index}", driver="virtio_blk", node=index % 2, ids=(0x1AF4, 2))
    return kernel


@pytest.mark.parametrize(("release", "worker"), [("6.1.0-fake", "kworker/4:"), ("7.3.4-fake", "kworker/4:")])
def test_pci_is_queued_to_the_first_cpu_of_the_node_and_others_run_in_the_writer(
    tmp_path: Path, release: str, worker: str
) -> None:
    kernel = many(tmp_path, release)
    plan, expected = preview(kernel, Wish(action="rebind"), "0000:9?:*", "virtio[234]")
    for change in plan.changes:
        record = expected.probes[change.bus, change.name]
        assert record.cpu_node == change.node
        assert expected.writes_itself(change) == (change.bus == "virtio")
        if change.bus == "pci":
            assert (record.cpu, (record.comm or "").startswith(worker)) == (4, True)
    costs = [expected.probes["pci", f"0000:9{index}:00.0"].cost_ns or 0 for index in range(3)]
    assert max(costs) > 34_300_000, "three drives on one CPU wait for each other"
    assert kernel.writes == []


def test_one_by_one_takes_as_long_as_all_together(tmp_path: Path) -> None:
    kernel = many(tmp_path, "6.12.1")
    for index in range(3):
        kernel.device("pci", f"0000:a0:0{index}.0", driver="ioatdma", node=0, ids=(0x8086, 1), pci_class=0x088000)
    _, expected = preview(kernel, Wish(action="rebind", jobs=8), "driver=ioatdma")
    assert expected.makespan_ns == 3_000_000
    assert (expected.assumed, expected.emulated) == (("ioatdma",), ())
    _, serial = preview(kernel, Wish(action="rebind", jobs=1), "0000:9?:*")
    _, parallel = preview(kernel, Wish(action="rebind"), "0000:9?:*")
    assert serial.makespan_ns == 3 * 34_300_000
    assert parallel.makespan_ns is not None
    assert 34_300_000 < parallel.makespan_ns < 60_000_000


def test_nothing_to_bind_has_an_empty_forecast(tmp_path: Path) -> None:
    _, expected = preview(many(tmp_path, "6.12.1"), Wish(action="unbind"), "0000:9?:*")
    assert (expected.makespan_ns, dict(expected.probes), expected.assumed) == (None, {}, ())


def test_the_preview_says_what_where_and_why_not(tmp_path: Path) -> None:
    kernel = busy(tmp_path)
    for index in range(2):
        kernel.device("pci", f"0000:b{index}:00.0", driver="strange", node=1, ids=(1, 2), pci_class=0x120000)
    stream = io.StringIO()
    print_plan(*preview(kernel, Wish(action="rebind"), "class=nvme", "class=accelerator", "class=network"), stream)
    compared("preview.txt", stream.getvalue())


def test_no_terms_and_no_reason_are_refused_in_one_line(tmp_path: Path) -> None:
    kernel = machine(tmp_path)
    with pytest.raises(InputError, match=r"unbind what\?"):
        preview(kernel, Wish(action="unbind"))
    with pytest.raises(InputError, match="write --allow DEVICE=REASON"):
        parse_allowances(["mounted"])
    here = OpenedMachine(Sysfs(kernel.root), kernel)
    allowed = parse_allowances(["0000:99:00.0=data"])
    with pytest.raises(InputError, match=r"there is no device '0000:99:00.0'"):
        plan_changes(here, [NVME], Wish(action="unbind"), Guard(here.sysfs, kernel, allowed))
