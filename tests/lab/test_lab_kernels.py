"""Kernels that nobody packaged: build trees, package files, revisions; with small programs in the place of big ones."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from numaprobe.errors import InputError, MissingInterfaceError, RefusedError
from numaprobe.kernel.lab import choose
from numaprobe.kernel.lab.build import BuildFailedError, built_revision, clone_of
from numaprobe.kernel.lab.choose import choose_kernel
from numaprobe.kernel.lab.config import NEEDED, check_config, guest_config
from numaprobe.kernel.lab.packages import kernel_of_package
from numaprobe.kernel.lab.tools import KernelImage
from numaprobe.kernel.lab.trees import build_id, kernel_of_tree, tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

RELEASE = "7.3.4-mine"

PROGRAMS = {
    "strip": 'cp "$4" "$3"',
    "readelf": 'cat "$2"',
    "depmod": 'touch "$2/lib/modules/$3/modules.dep"',
    "dpkg-deb": 'mkdir -p "$3/boot" "$3/lib/modules/6.9.1/kernel"; cp "$2" "$3/boot/vmlinuz-6.9.1"\n'
    'case "$2" in *whole*) touch "$3/lib/modules/6.9.1/kernel/nvme.ko";; *other*) rm -r "$3/boot";; esac',
    # A build: olddefconfig does nothing, bzImage compiles drivers/base/dd.c into the image, unless it says "broken".
    "make": """for word; do case "$word" in O=*) out=${word#O=};; esac; done
case "$*" in *olddefconfig*) exit 0;; esac
source=$3
if grep -q broken "$source/drivers/base/dd.c"; then echo "drivers/base/dd.c:3:1: error: expected ';'"; exit 2; fi
mkdir -p "$out/include/config" "$out/arch/x86/boot"
echo 7.3.4 > "$out/include/config/kernel.release"
cp "$source/drivers/base/dd.c" "$out/arch/x86/boot/bzImage"
touch "$out/modules.order"
echo made >> "$LOG" """,
    **dict.fromkeys(("gcc", "flex", "bison", "bc", "ccache"), ":"),
}


@pytest.fixture(autouse=True)
def programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_programs: Callable[[Mapping[str, str]], None]
) -> None:
    with_programs(PROGRAMS)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A build tree of a kernel with one module."""
    tree = tmp_path / "linux tree"
    for name, text in {
        "include/config/kernel.release": f"{RELEASE}\n",
        ".config": guest_config(),
        "arch/x86/boot/bzImage": "image",
        "modules.order": "drivers/nvme/host/nvme.o\n",
        "drivers/nvme/host/nvme.ko": "module",
        "modules.builtin": "kernel/fs/9p/9p.ko\n",
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "vmlinux").write_text(f"Build ID: {bytes(range(20)).hex()}\n")
    return tree


def files_below(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_a_tree_is_laid_out_and_left_as_it_was(tree: Path) -> None:
    before = files_below(tree)
    image = kernel_of_tree(tree)
    assert image.release == RELEASE
    assert image.build_id == bytes(range(20)).hex()
    assert image.path.read_text() == "image"
    assert (image.modules / "kernel/drivers/nvme/host/nvme.ko").read_text() == "module"
    assert (image.modules / "modules.builtin").is_file()
    assert files_below(tree) == before
    # What was laid out is the build of that moment: a later one that writes into the same files is another kernel.
    (tree / "arch/x86/boot/bzImage").write_text("newer")
    os.utime(tree / "arch/x86/boot/bzImage", (2e9, 2e9))
    assert kernel_of_tree(tree).path.read_text() == "newer"
    assert image.path.read_text() == "image"


def test_a_tree_is_taken_once_and_old_layouts_go(tree: Path, tmp_path: Path) -> None:
    first = kernel_of_tree(tree)
    assert kernel_of_tree(tree) == first
    for number in range(12):
        (tree / "vmlinux").write_text(f"Build ID: {bytes([number]).hex() * 20}\n")
        newest = kernel_of_tree(tree)
    assert newest.path.is_file()
    assert len(list((tmp_path / "cache/numaprobe/kernels/.trees").iterdir())) == 8
    assert not first.path.exists()


def test_without_vmlinux_the_image_tells_builds_apart(tree: Path) -> None:
    (tree / "vmlinux").unlink()
    one = build_id(tree)
    (tree / "arch/x86/boot/bzImage").write_text("other")
    assert len(one) == len(build_id(tree)) == 40
    assert one != build_id(tree)


@pytest.mark.parametrize("name", ["", "arch/x86/boot/bzImage", "vmlinux"])
def test_a_tree_is_named_by_itself_or_by_its_image(tree: Path, name: str) -> None:
    assert tree_of(tree / name) == tree
    assert choose_kernel(str(tree / name)).release == RELEASE


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (".config", "no .config"),
        ("arch/x86/boot/bzImage", "make -j"),
        ("drivers/nvme/host/nvme.ko", r"nvme\.ko was not built"),
    ],
)
def test_a_build_that_did_not_end_is_refused(tree: Path, gone: str, message: str) -> None:
    (tree / gone).unlink()
    with pytest.raises(MissingInterfaceError, match=message):
        kernel_of_tree(tree)


def test_a_configuration_that_no_guest_can_have_is_refused_with_what_is_missing(tree: Path) -> None:
    text = guest_config().replace("CONFIG_9P_FS=y", "# CONFIG_9P_FS is not set")
    (tree / ".config").write_text(text)
    with pytest.raises(InputError, match=r"a guest needs CONFIG_9P_FS \(the guest's files\); 'numaprobe lab --config'"):
        kernel_of_tree(tree)
    with pytest.raises(InputError, match=rf"CONFIG_X86_64 .* and {len(NEEDED) - 4} more"):
        check_config("CONFIG_ARM64=y\n", "x")


def test_lockdep_is_an_option_of_the_configuration() -> None:
    assert "CONFIG_PROVE_LOCKING=y" in guest_config(lockdep=True)
    assert "PROVE_LOCKING" not in guest_config()


def test_a_directory_that_is_no_kernel_and_one_that_was_not_built(tmp_path: Path, source: Path) -> None:
    with pytest.raises(MissingInterfaceError, match="no build tree of a kernel"):
        choose_kernel(str(tmp_path))
    with pytest.raises(MissingInterfaceError, match="not built here; build it"):
        choose_kernel(str(source))


def test_a_package_is_unpacked_once_by_its_content(tmp_path: Path) -> None:
    package = tmp_path / "whole kernel.deb"
    package.write_text("one")
    image = choose_kernel(str(package))
    assert (image.release, image.path.read_text()) == ("6.9.1", "one")
    package.write_text("two")
    assert kernel_of_package(package).path.read_text() == "two"
    assert image.path.read_text() == "one"


@pytest.mark.parametrize(("name", "error"), [("bare.deb", MissingInterfaceError), ("other.deb", InputError)])
def test_a_package_without_modules_or_image_is_refused_and_leaves_nothing(
    tmp_path: Path, name: str, error: type[Exception]
) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(error):
        choose_kernel(str(tmp_path / name))
    assert not list((tmp_path / "cache/numaprobe/kernels/.packages").iterdir())


def test_a_series_that_is_not_here_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fetched = KernelImage(tmp_path, "6.12.1")
    told: list[str] = []
    monkeypatch.setattr(choose.fetch, "fetch_kernel", lambda series: fetched if series == "9.12" else None)
    assert choose_kernel("9.12", told.append) == fetched
    assert told == ["kernel 9.12 is not here: fetching Debian's"]
    with pytest.raises(MissingInterfaceError, match=r"no kernel 9\.12\.7 to boot"):
        choose_kernel("9.12.7")


# ---- builds --------------------------------------------------------------------------------------------------------
def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source tree that is not under git."""
    source = tmp_path / "source tree"
    (source / "drivers/base").mkdir(parents=True)
    (source / "Kbuild").touch()
    (source / "drivers/base/dd.c").write_text("int one;\n")
    return source


@pytest.fixture
def repository(source: Path) -> Path:
    git(source, "init", "-q")
    git(source, "add", ".")
    git(source, "commit", "-qm", "one")
    git(source, "tag", "v1")
    (source / "drivers/base/dd.c").write_text("int two;\n")
    git(source, "commit", "-qam", "two")
    return source


def test_a_revision_is_built_once_and_the_tree_is_left_alone(repository: Path, tmp_path: Path) -> None:
    before = files_below(repository)
    told: list[str] = []
    assert choose_kernel(f"{repository}@v1", told.append).path.read_text() == "int one;\n"
    assert choose_kernel(f"{repository}@HEAD").path.read_text() == "int two;\n"
    assert choose_kernel(f"{repository}@v1").path.read_text() == "int one;\n"
    assert (tmp_path / "log").read_text() == "made\n" * 2
    assert files_below(repository) == before
    assert len(told) == 2


def test_a_tree_that_is_not_gits_is_copied(source: Path) -> None:
    assert choose_kernel(f"{source}@HEAD").path.read_text() == "int one;\n"
    assert not (source / ".git").exists()


def test_the_base_of_a_copied_tree_stays_what_was_copied(source: Path, tmp_path: Path) -> None:
    patch = tmp_path / "x.diff"
    patch.write_text(PATCH.format("three").replace("-int two;", "-int one;"))
    clone = clone_of(source)
    base = clone.commit_of("HEAD")
    assert clone.apply(patch, base) != base
    assert clone_of(source).commit_of("HEAD") == base


PATCH = """--- a/drivers/base/dd.c
+++ b/drivers/base/dd.c
@@ -1 +1 @@
-int two;
+int {};
"""


def test_a_patch_is_built_on_its_base(repository: Path, tmp_path: Path) -> None:
    patch = tmp_path / "a patch.diff"
    patch.write_text(PATCH.format("three"))
    clone = clone_of(repository)
    base = clone.commit_of("HEAD")
    patched = clone.apply(patch, base)
    assert built_revision(clone, patched).path.read_text() == "int three;\n"
    assert built_revision(clone, base).path.read_text() == "int two;\n"
    again = built_revision(clone, clone.apply(patch, base))
    assert again.path.read_text() == "int three;\n"
    assert (tmp_path / "log").read_text() == "made\n" * 2


def test_a_series_of_mails_is_applied(repository: Path, tmp_path: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")
    (repository / "drivers/base/dd.c").write_text("int four;\n")
    git(repository, "commit", "-qam", "four")
    (repository / "drivers/base/dd.c").write_text("int five;\n")
    git(repository, "commit", "-qam", "five")
    mails = tmp_path / "series.mbox"
    mails.write_text(git(repository, "format-patch", "--stdout", base) + "\n")
    clone = clone_of(repository)
    tip = clone.apply(mails, base)
    assert built_revision(clone, tip).path.read_text() == "int five;\n"
    assert [clone.subject_of(one) for one in clone.commits(base, tip)] == ["four", "five"]
    assert clone.commits(tip, base) == []


def test_a_patch_that_does_not_apply_and_one_that_does_not_build(repository: Path, tmp_path: Path) -> None:
    patch = tmp_path / "x.diff"
    clone = clone_of(repository)
    patch.write_text(PATCH.format("three"))
    with pytest.raises(InputError, match=r"does not apply to \w{12}: .*dd\.c"):
        clone.apply(patch, clone.commit_of("v1"))
    patch.write_text(PATCH.format("broken"))
    with pytest.raises(BuildFailedError, match=r"does not build: drivers/base/dd\.c:3:1: error: expected ';'"):
        built_revision(clone, clone.apply(patch, clone.commit_of("HEAD")))
    assert clone.commit_of("v1") == git(repository, "rev-parse", "v1")


SEMANTIC = """// three: two becomes three
// Files: drivers/base/dd.c
"""


def test_a_semantic_patch_is_coccinelles(repository: Path, tmp_path: Path) -> None:
    """Coccinelle itself is stood for by a program that does what this patch says."""
    spatch = tmp_path / "bin/spatch"
    spatch.write_text('#!/bin/sh\nfor file; do :; done\nsed -i s/two/three/ "$file"\n')
    spatch.chmod(0o755)
    patch = tmp_path / "three.cocci"
    patch.write_text(SEMANTIC)
    clone = clone_of(repository)
    commit = clone.apply(patch, clone.commit_of("HEAD"))
    assert clone.subject_of(commit) == "three: two becomes three"
    assert built_revision(clone, commit).path.read_text() == "int three;\n"
    with pytest.raises(InputError, match=r"changes nothing in drivers/base/dd\.c"):
        clone.apply(patch, clone.commit_of("v1"))
    patch.write_text(SEMANTIC.replace("drivers/base/dd.c", "../../etc/passwd"))
    with pytest.raises(InputError, match="which this tree does not have"):
        clone.apply(patch, clone.commit_of("HEAD"))
    patch.write_text("// three\n")
    with pytest.raises(InputError, match="names no files"):
        clone.apply(patch, clone.commit_of("HEAD"))


def test_what_is_no_source_or_no_revision_is_refused(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no kernel's source tree"):
        clone_of(tmp_path)
    with pytest.raises(InputError, match="has no revision 'v9'"):
        choose_kernel(f"{repository}@v9")


def test_no_room_is_told_before_anything_is_cloned(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numaprobe.kernel.lab.build.shutil.disk_usage", lambda _: type("U", (), {"free": 2**30})())
    with pytest.raises(MissingInterfaceError, match=r"a build needs 4 GiB .*; 1 are free"):
        clone_of(repository)


def test_an_error_of_a_program_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bin/dpkg-deb").write_text("#!/bin/sh\necho first >&2; echo 'not a package' >&2; exit 2\n")
    (tmp_path / "x.deb").write_text("x")
    with pytest.raises(RefusedError, match="not a package"):
        choose_kernel(str(tmp_path / "x.deb"))
