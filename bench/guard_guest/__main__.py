"""``python -m bench.guard_guest [KERNEL…]``: the guard against the real thing, in guests of QEMU.

For each kernel one guest of two nodes boots, with four NVMe drives behind an IOMMU, a virtio disk and a network link.
In it every case of ``cases.toml`` is brought about (file systems, LVM on MD, dm-crypt, swap, open handles, links,
logins, VFIO), the guard is asked, and the kernel's own count of writes to sysfs has to stay where it was. A case whose
programs are not there is left out, and named. Exit 1: a case failed, or nothing could be counted.

``GUARD_TOOLS``: a folder with the programs, as ``dpkg-deb -x`` unpacks them (``make lab-guards`` makes one).
``GUARD_FOLDER``: where everything is kept. ``GUARD_CASES``: the numbers of the cases as a list, if not all (``0,4-9``).
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numaprobe.errors import KernelInterfaceError, NumaprobeError
from numaprobe.kernel.lab.guest import guest_environment, run_script
from numaprobe.kernel.lab.plan import GuestPlan
from numaprobe.kernel.lab.stage import check_name
from numaprobe.kernel.lab.testmodule import MODULE, built_module
from numaprobe.kernel.lab.tools import SYSTEM_PATHS, find_kernel, find_tools
from numaprobe.topology import load_topology

if TYPE_CHECKING:
    from numaprobe.kernel.lab.tools import KernelImage

MACHINE: Final = "2 nodes x 1 core, 768MiB per node"
MODULES: Final = "nvme virtio_blk virtio_net ext4 loop btrfs raid1 dm-mod dm-crypt dm-multipath 8021q bridge"
AGENT: Final = Path(__file__).with_name("agent.py")
DISK: Final = 256 << 20
DRIVES: Final = ("a", "b", "c", "d")
TIMEOUT: Final = 2400.0
TOOL_FOLDERS: Final = ("usr/sbin", "usr/bin", "sbin", "bin")
LIBRARIES: Final = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")


def plan_in(folder: Path) -> GuestPlan:
    """Return the guest. Its devices stand behind the IOMMU, which QEMU wants to know before them."""
    options = ["-device", "intel-iommu"]
    for index, name in enumerate((*DRIVES, "v", "nic")):
        options += ["-device", f"pcie-root-port,id=guard{index},bus=pcie.0,chassis={40 + index},addr={0x14 + index:#x}"]
        if name == "nic":
            options += ["-device", f"virtio-net-pci,romfile=,bus=guard{index}"]
            continue
        image = check_name(folder / f"{name}.img")
        with image.open("wb") as file:
            file.truncate(DISK)
        kind = "virtio-blk-pci" if name == "v" else "nvme"
        options += ["-drive", f"if=none,id=disk{index},file={image},format=raw"]
        options += ["-device", f"{kind},serial={name},drive=disk{index},bus=guard{index}"]
    return GuestPlan(
        topology=load_topology(MACHINE), devices=(), cmdline="intel_iommu=on iommu=pt", qemu=tuple(options)
    )


def environment() -> str:
    """Return shell assignments with which the guest finds its programs."""
    tools = os.environ.get("GUARD_TOOLS")
    folders = [f"{tools}/{name}" for name in TOOL_FOLDERS] if tools else []
    libraries = ":".join(f"{tools}/{name}" for name in LIBRARIES) if tools else ""
    path = ":".join((*folders, *SYSTEM_PATHS, "/usr/bin", "/bin"))
    return f"export PATH={shlex.quote(path)} LD_LIBRARY_PATH={shlex.quote(libraries)}"


def run(kernel: KernelImage, folder: Path) -> dict[str, Any]:
    """Boot one guest, and return what its agent found."""
    with contextlib.suppress(KernelInterfaceError):  # no compiler, no headers: the cases that need it are left out
        shutil.copyfile(built_module(kernel), folder / MODULE)
        (folder / MODULE).chmod(0o755)
    cases = os.environ.get("GUARD_CASES")
    agent = shlex.join([sys.executable, str(AGENT), str(folder), *([cases] if cases else [])])
    lines = [
        environment(),
        f"for module in {MODULES}; do modprobe $module || true; done",
        "sleep 5",
        f"{guest_environment()} {agent} > {shlex.quote(str(folder / 'agent.log'))} 2>&1",
    ]
    run_script(plan_in(folder), lines, kernel=kernel, tools=find_tools(), folder=folder, timeout=TIMEOUT)
    path = folder / "result.json"
    found: dict[str, Any] = (
        json.loads(path.read_text()) if path.is_file() else {"cases": [], "missing": [], "counted": 0}
    )
    return found


def told(kernel: KernelImage, found: dict[str, Any], seconds: float) -> bool:
    """Print a line for each case; return whether all is well."""
    cases = found["cases"]
    good = [one for one in cases if one["passed"]]
    print(f"\n== kernel {kernel.release}: {len(good)} of {len(cases)} as they must be, {seconds:.0f} s")
    for one in cases:
        codes = ",".join(one.get("codes", ())) or one.get("error", "-")
        print(f"{'passed' if one['passed'] else 'FAILED'}  {one['case']:46} {codes:28} writes {one.get('writes', '-')}")
        if not one["passed"]:
            print(json.dumps(one, indent=1))
    for one in found["missing"]:
        print(f"LEFT OUT {one['case']}: no {', '.join(one['programs'])} here")
    print(f"the kprobe on kernfs_fop_write_iter counted {found['counted']} of 1 write before the cases")
    return bool(cases) and len(good) == len(cases) and found["counted"] == 1


def main() -> None:
    fine = True
    chosen: list[str | None] = [*sys.argv[1:]] or [None]
    for wanted in chosen:
        place = os.environ.get("GUARD_FOLDER")
        folder = Path(tempfile.mkdtemp(prefix="numaprobe-guards-", dir=place))
        begun = time.monotonic()
        try:
            kernel = find_kernel(wanted)
            fine &= told(kernel, run(kernel, folder), time.monotonic() - begun)
        except NumaprobeError as error:
            print(f"{wanted or 'newest'}: {error}")
            fine = False
        print(f"kept: {folder}")
    sys.exit(not fine)


if __name__ == "__main__":
    main()
