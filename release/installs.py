"""A newcomer's path: what ``make dist`` and ``make deb`` built, installed as people do, used outside of the checkout.

The wheel goes into a fresh environment with pip for every Python found, with pipx and with uv; as root, and where there
is debootstrap, wheel and package also go into a clean Debian. Each must compare policies, have its manual pages, and
say in one line what an extra is needed for. A way whose program is not there is named, and no failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

SUITE: Final = "trixie"
PYTHONS: Final = ("python3.11", "python3.12", "python3.13", "python3.14")
_IN_DEBIAN: Final = """\
set -e
export DEBIAN_FRONTEND=noninteractive
rm -f /etc/dpkg/dpkg.cfg.d/*
apt-get update -qq
apt-get install -y -qq --no-install-recommends python3-venv /new/*.deb >/dev/null
cd / && numaprobe compare nvme-epyc >/compared && test -f /usr/share/man/man1/numaprobe.1.gz
echo "  apt: $(numaprobe --version), $(python3 --version), numaprobe compare nvme-epyc: $(grep -c . /compared) lines"
apt-get purge -y -qq numaprobe >/dev/null
test ! -e /usr/lib/python3/dist-packages/numaprobe
python3 -m venv /venv && /venv/bin/pip install -q /new/*.whl
/venv/bin/numaprobe compare nvme-epyc >/compared-too && test -f /venv/share/man/man1/numaprobe.1
echo "  pip: $(/venv/bin/numaprobe --version), $(du -sm /venv | cut -f1) MB with pip, the same as apt's: \
$(cmp -s /compared /compared-too && echo yes || echo no)"
"""


def check_installs(folder: Path) -> None:
    """Install what is in ``folder`` in every way that there is; end with 1 if one fails."""
    [wheel] = folder.resolve().glob("*.whl")
    with tempfile.TemporaryDirectory(prefix="numaprobe-installs-") as place:
        failed = [way for way, works in _ways(wheel, Path(place)) if not works]
    sys.exit(1 if failed else 0)


def _ways(wheel: Path, place: Path) -> list[tuple[str, bool]]:
    found = []
    for python in PYTHONS:
        if here := _python(python):
            home = place / python
            steps = [[here, "-m", "venv", home], [home / "bin/pip", "install", "-q", wheel]]
            found.append(_tried(f"pip, {python}", steps, home / "bin/numaprobe", home / "share/man/man1"))
        else:
            print(f"pip, {python}: not tried, it is not here")
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    home = place / "uv"
    with_uv = {"UV_TOOL_DIR": str(home / "tools"), "UV_TOOL_BIN_DIR": str(home / "bin")}
    pages = home / "tools/numaprobe/share/man/man1"
    found.append(_tried("uv", [[uv, "tool", "install", "-q", wheel]], home / "bin/numaprobe", pages, with_uv))
    if shutil.which("pipx"):
        home = place / "pipx"
        names = {"PIPX_HOME": "home", "PIPX_BIN_DIR": "bin", "PIPX_MAN_DIR": "man"}
        with_pipx = {name: str(home / part) for name, part in names.items()}
        steps = [["pipx", "install", wheel]]
        found.append(
            _tried("pipx", steps, home / "bin/numaprobe", home / "home/venvs/numaprobe/share/man/man1", with_pipx)
        )
    else:
        print("pipx: not tried, it is not here")
    if os.geteuid() == 0 and shutil.which("debootstrap"):
        found.append((f"Debian {SUITE}", _in_debian(wheel.parent, place / "root")))
        print(f"apt and pip, a clean Debian {SUITE}: {'works' if found[-1][1] else 'FAILED'}")
    else:
        print(f"a clean Debian {SUITE}: not tried, it needs root and debootstrap")
    return found


def _python(name: str) -> str | Path | None:
    """Return a Python of this name: one of pyenv's, or on the path."""
    built = sorted(Path.home().glob(f".pyenv/versions/*/bin/{name}"))
    return built[-1] if built else shutil.which(name)


def _tried(
    way: str, steps: list[list[str | Path]], program: Path, pages: Path, variables: dict[str, str] | None = None
) -> tuple[str, bool]:
    """Install in one way, and use what was installed."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | (variables or {})
    for step in steps:
        if subprocess.run(step, env=environment, check=False).returncode:
            print(f"{way}: FAILED at {step[0]}")
            return way, False
    here = pages.parent.parent.parent
    compared = subprocess.run([program, "compare", "nvme-epyc"], cwd="/", check=False, capture_output=True, text=True)
    lacking = subprocess.run(
        [program, "run", "nvme-epyc", "-o", here / "x.png"], check=False, capture_output=True, text=True
    )
    works = (
        compared.returncode == 0
        and (pages / "numaprobe-compare.1").exists()
        and (lacking.returncode, lacking.stderr.count("\n")) == (3, 1)
    )
    print(f"{way}: {'works' if works else 'FAILED'}")
    return way, works


def _in_debian(new: Path, root: Path) -> bool:
    """Make a clean Debian of the suite below ``root`` and install there."""
    sites = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Label: Debian"]
    site = subprocess.run(sites, check=True, capture_output=True, text=True).stdout.partition("\n")[0]
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, root, site], check=False, stdout=-3
    )
    if made.returncode:
        return False
    for name in ("resolv.conf", "hosts", "ssl/certs/ca-certificates.crt"):  # the network is reached as from here
        shutil.copy(Path("/etc") / name, root / "etc" / name)
    shutil.copytree(new, root / "new")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    environment["PIP_CERT"] = "/etc/ssl/certs/ca-certificates.crt"
    return subprocess.run(["chroot", root, "sh", "-c", _IN_DEBIAN], env=environment, check=False).returncode == 0
