from __future__ import annotations

from pathlib import Path

import pytest

from numaprobe.errors import InputError, MissingInterfaceError
from numaprobe.kernel.lab.fetch import fetch_kernel
from numaprobe.kernel.lab.tools import KernelImage, find_kernel, find_tools, installed_kernels


def make_kernel(root: Path, release: str, *, modules: bool = True) -> Path:
    (root / "boot").mkdir(parents=True, exist_ok=True)
    path = root / "boot" / f"vmlinuz-{release}"
    path.write_bytes(b"MZ")
    if modules:
        (root / "lib/modules" / release).mkdir(parents=True)
        (root / "lib/modules" / release / "modules.dep").touch()
    return path


def test_missing_programs_are_all_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(MissingInterfaceError, match=r"virtme-ng.*qemu-system-x86.*busybox-static.*kmod"):
        find_tools(str(tmp_path))


def test_programs_are_found_where_they_are(tmp_path: Path) -> None:
    for name in ("vng", "qemu-system-x86_64", "busybox", "depmod"):
        (tmp_path / name).touch(mode=0o755)
    tools = find_tools(str(tmp_path))
    assert tools.vng == tmp_path / "vng"
    assert tools.path == str(tmp_path)


def test_the_newest_kernel_with_modules_is_taken(tmp_path: Path) -> None:
    for release in ("6.1.0-56-amd64", "6.12.117+deb12-amd64", "5.10.0-1-amd64"):
        make_kernel(tmp_path, release)
    make_kernel(tmp_path, "7.2.1-amd64", modules=False)
    assert [image.release for image in installed_kernels([tmp_path])][-1] == "6.12.117+deb12-amd64"
    assert find_kernel(None, [tmp_path]).release == "6.12.117+deb12-amd64"
    assert find_kernel("6.1", [tmp_path]).release == "6.1.0-56-amd64"
    assert find_kernel("6.1.0-56-amd64", [tmp_path]).version == (6, 1)


def test_what_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    make_kernel(tmp_path, "6.1.0-56-amd64")
    with pytest.raises(MissingInterfaceError, match=r"no kernel 6\.12 to boot; there are 6\.1\.0-56-amd64; fetch one"):
        find_kernel("6.12", [tmp_path])
    with pytest.raises(MissingInterfaceError, match="numaprobe lab --fetch"):
        find_kernel(None, [tmp_path / "empty"])


def test_an_image_needs_a_release_and_modules(tmp_path: Path) -> None:
    assert find_kernel(str(make_kernel(tmp_path, "6.1.0"))).release == "6.1.0"
    bare = make_kernel(tmp_path, "6.2.0", modules=False)
    for path, message in ((bare, "depmod -b"), (tmp_path / "bzImage", "no kernel image")):
        with pytest.raises(MissingInterfaceError, match=message):
            find_kernel(str(path))
    (tmp_path / "bzImage").touch()
    with pytest.raises(MissingInterfaceError, match="vmlinuz-RELEASE"):
        find_kernel(str(tmp_path / "bzImage"))


def test_versions() -> None:
    assert KernelImage(Path("/x"), "7.2.12+deb13-amd64").version == (7, 2)
    assert KernelImage(Path("/x"), "next").version == (0, 0)


@pytest.mark.parametrize("series", ["", "6", "six", "6.1; rm", "6.1.3", "../6.1"])
def test_a_series_is_two_numbers(series: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no kernel series"):
        fetch_kernel(series, tmp_path)
