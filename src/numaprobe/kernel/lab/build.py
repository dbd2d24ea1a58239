"""Building a kernel for guests: a revision of a source tree, in a clone and a build directory of our own.

The user's tree is read and never changed, not even its ``.git``: the clone borrows its objects (git-clone(1),
``--shared``) and checks revisions out one after the other. One build directory serves them all, so that ``make`` builds
what differs between two revisions and nothing else; ``ccache`` is used where it is installed. A source tree that is not
git's (a distribution's source package) is copied once and put under git.

A kernel whose build ended is known by its files (a tree of git) and configuration; it is not built again. One of the
guest's configuration takes about 3 GB of disk and ten minutes of a core or more; one is made at a time. Building
runs what the tree says, as ``make`` does: give it trees that you would build yourself.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from numaprobe.errors import InputError, MissingInterfaceError, RefusedError
from numaprobe.kernel.lab.config import guest_config
from numaprobe.kernel.lab.layout import need, run
from numaprobe.kernel.lab.tools import KernelImage, cache_directory
from numaprobe.kernel.lab.trees import is_source_tree, kernel_of_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: bytes that must be free before a build begins
_ROOM: Final = 4 * 2**30
_FAILURE: Final = re.compile(
    r"^(?:\S+:\d+:(?:\d+:)? (?:fatal )?error: .*|ERROR: modpost: .*|ld: .*|.*: undefined .*)", re.MULTILINE
)
#: git for the clone: nobody's hooks, nobody's signature, a name for what it commits
_GIT: Final = (
    *("git", "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false", "-c", "gc.auto=0"),
    *("-c", "user.name=numaprobe", "-c", "user.email=numaprobe@localhost", "-c", "advice.detachedHead=false"),
)
#: what makes two builds of one source the same, and lets ccache know it again
_SAME: Final = {
    "KBUILD_BUILD_TIMESTAMP": "2001-01-01",
    "KBUILD_BUILD_USER": "numaprobe",
    "KBUILD_BUILD_HOST": "lab",
    "CCACHE_NOHASHDIR": "1",
}


class BuildFailedError(RefusedError):
    """A kernel could not be built; the text has the compiler's first words and names the log."""


@dataclass(frozen=True, slots=True)
class Clone:
    """A source tree of our own, and where it is built; see ``clone_of``."""

    #: the user's tree
    origin: Path
    folder: Path

    @property
    def source(self) -> Path:
        """The checked-out files."""
        return self.folder / "source"

    def commit_of(self, revision: str) -> str:
        """Return the commit that a revision of the user's tree names.

        Raises:
            InputError: there is none of that name.

        """
        if (
            not (self.origin / ".git").exists() and revision == "HEAD"
        ):  # ours moves: what was copied is the first commit
            return self._git("rev-list", "--max-parents=0", "HEAD").strip()
        tree = self.origin if (self.origin / ".git").exists() else self.source
        try:
            return run([*_GIT, "-C", str(tree), "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"]).strip()
        except RefusedError:
            raise InputError(f"has no revision '{revision[:80]}'", str(self.origin)) from None

    def subject_of(self, commit: str) -> str:
        """Return the first line of a commit's message."""
        return self._git("log", "-1", "--format=%s", commit).strip()

    def commits(self, base: str, tip: str) -> list[str]:
        """Return the commits that lead from ``base`` to ``tip``, the first one first; of a merge its first parent's."""
        return self._git("rev-list", "--reverse", "--first-parent", f"{base}..{tip}").split()

    def files_of(self, commit: str) -> str:
        """Return git's name for all files of a commit: the same for two commits whose files are the same."""
        return self._git("rev-parse", f"{commit}^{{tree}}").strip()

    def check_out(self, commit: str) -> None:
        """Make the files those of ``commit``; whatever else is there is taken away."""
        self._git("checkout", "--quiet", "--force", "--detach", commit)
        self._git("clean", "--quiet", "-fdx")

    def apply(self, patch: Path, base: str) -> str:
        """Put a patch on ``base``: a mailbox, a series, an ordinary diff, or a semantic patch; return the commit.

        Raises:
            InputError: it does not apply; the text says where.
            MissingInterfaceError: a semantic patch, and no Coccinelle.

        """
        self.check_out(base)
        if patch.suffix == ".cocci":
            return self._apply_semantic(patch)
        mails = re.search(rb"(?m)^From: ", patch.read_bytes()) is not None
        try:
            if mails:
                self._git("am", "--quiet", "--3way", "--committer-date-is-author-date", str(patch.absolute()))
            else:
                self._git("apply", "--index", str(patch.absolute()))
                self._git("commit", "--quiet", "--no-verify", "-m", patch.name, "--date", "2001-01-01T00:00:00Z")
        except RefusedError as error:
            with contextlib.suppress(RefusedError):
                self._git("am", "--abort")
            self.check_out(base)
            said = str(error).rpartition("error: ")[2] or str(error)
            raise InputError(f"does not apply to {base[:12]}: {said}", str(patch)) from None
        return self._git("rev-parse", "HEAD").strip()

    def _apply_semantic(self, patch: Path) -> str:
        """Have Coccinelle change the files that a semantic patch names in a line ``// Files: …``."""
        need("spatch", what="a semantic patch", instead="install Coccinelle (make lab-build)")
        lines = patch.read_text(encoding="utf-8", errors="replace").splitlines()
        names = next((line.partition(":")[2].split() for line in lines if line.startswith("// Files:")), [])
        if not names:
            raise InputError("names no files to change: write a line '// Files: drivers/base/dd.c'", str(patch))
        for name in names:
            path = (self.source / name).resolve()
            if not path.is_file() or not path.is_relative_to(self.source.resolve()):
                raise InputError(f"is for {name}, which this tree does not have", str(patch))
            run(["spatch", "--very-quiet", "--in-place", "--sp-file", str(patch.absolute()), str(path)])
            if not self._git("diff", "--name-only", "--", name).strip():
                self.check_out("HEAD")
                raise InputError(
                    f"changes nothing in {name}: the function that it is for is another one here", str(patch)
                )
        message = lines[0].lstrip("/ ")[:200] or patch.name
        self._git("commit", "--quiet", "--no-verify", "--all", "-m", message, "--date", "2001-01-01T00:00:00Z")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        return run([*_GIT, "-C", str(self.source), *arguments])


def clone_of(tree: Path, cache: Path | None = None, told: Callable[[str], object] = lambda _: None) -> Clone:
    """Return the clone of a source tree, made if it is not there.

    Args:
        tree: a kernel's source, git's or not.
        cache: where; None: the user's cache directory.
        told: gets a line before something that takes minutes.

    Raises:
        InputError: it is no kernel's source.
        MissingInterfaceError: no git, no compiler, or no room.

    """
    tree = tree.absolute()
    if not is_source_tree(tree):
        raise InputError("is no kernel's source tree", str(tree))
    need(*("git", "make", "gcc", "flex", "bison", "bc"), what="building a kernel", instead="install it: make lab-build")
    place = (cache or cache_directory()) / ".builds" / hashlib.sha256(os.fsencode(tree)).hexdigest()[:12]
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    if free < _ROOM:
        raise MissingInterfaceError(f"a build needs {_ROOM >> 30} GiB below {place}; {free >> 30} are free")
    clone = Clone(tree, place)
    with _alone(place):
        if not (place / "source/.git").exists():
            shutil.rmtree(place / "source", ignore_errors=True)
            (_borrow if (tree / ".git").exists() else _copy)(tree, place / "source", told)
    return clone


def built_revision(
    clone: Clone, commit: str, *, lockdep: bool = False, told: Callable[[str], object] = lambda _: None
) -> KernelImage:
    """Return the kernel of a commit, built with the guest's configuration unless it was built before.

    Args:
        clone: of ``clone_of``.
        commit: see ``Clone.commit_of`` and ``Clone.apply``.
        lockdep: with orders of locks checked.
        told: gets a line before something that takes minutes.

    Raises:
        BuildFailedError: see there.

    """
    config = guest_config(lockdep=lockdep)
    known = clone.folder / "built" / f"{clone.files_of(commit)}-{hashlib.sha256(config.encode()).hexdigest()[:12]}"
    with _alone(clone.folder):
        name = "lockdep" if lockdep else "plain"
        image = _known(known, clone.folder / f"build-{name}")
        if image is None:
            told(f"building {commit[:12]}{' with lockdep' if lockdep else ''}: minutes, the first time many")
            clone.check_out(commit)
            image = kernel_of_tree(_build(clone, config, name), clone.folder.parents[1])
            known.parent.mkdir(exist_ok=True)
            known.write_text(f"{image.path}\n{image.release}\n{image.build_id}\n", encoding="utf-8")
    return image


def _known(marker: Path, tree: Path) -> KernelImage | None:
    """Return a kernel that was built before, if it is still there."""
    if not marker.is_file():
        return None
    words = marker.read_text(encoding="utf-8").splitlines()
    if len(words) < len(("path", "release", "build_id")):  # a full disk, or a power cut
        return None
    path, release, build_id, *_ = words
    return KernelImage(Path(path), release, build_id=build_id, tree=tree) if Path(path).is_file() else None


# ---- getting a source ----------------------------------------------------------------------------------------------
def _borrow(tree: Path, source: Path, told: Callable[[str], object]) -> None:
    told(f"cloning {tree} (its objects are borrowed)")
    run([*_GIT, "clone", "--quiet", "--shared", "--no-checkout", str(tree), str(source)])


def _copy(tree: Path, source: Path, told: Callable[[str], object]) -> None:
    told(f"copying {tree}, which is not under git: a minute or two")
    half = source.with_name("half")
    shutil.rmtree(half, ignore_errors=True)
    run(["cp", "-a", "--reflink=auto", str(tree), str(half)])
    for arguments in (
        ("init", "--quiet"),
        ("add", "--force", "."),
        ("commit", "--quiet", "--no-verify", "-m", f"{tree.name} as it is"),
    ):
        run([*_GIT, "-C", str(half), *arguments])
    half.rename(source)


# ---- building ------------------------------------------------------------------------------------------------------
def _build(clone: Clone, config: str, name: str) -> Path:
    out = clone.folder / f"build-{name}"
    out.mkdir(exist_ok=True)
    make = ["make", "-s", "-C", str(clone.source), f"O={out}", "LOCALVERSION="]
    if shutil.which("ccache"):
        make.append("CC=ccache gcc")
    log = clone.folder / f"build-{name}.log"
    (out / ".config.new").write_text(config, encoding="ascii")
    (out / ".config.new").replace(out / ".config")
    _make([*make, "olddefconfig"], log)
    _make([*make, f"-j{os.cpu_count() or 1}", "bzImage", "modules"], log)
    return out


def _make(command: Sequence[str], log: Path) -> None:
    """Run make to its end, whole; an interrupt ends all of it.

    Raises:
        BuildFailedError: it failed.

    """
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  make, and a path; no shell
            ["nice", *command],  # noqa: S607  as the user's PATH has it
            env=os.environ | _SAME,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
    if status:
        raise BuildFailedError(f"the kernel does not build: {_reason(log)}; all of it is in {log}")


def _reason(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace")
    match = _FAILURE.search(text)
    lines = [line for line in text.splitlines() if line.strip()]
    return (match[0] if match else lines[-1] if lines else "make said nothing")[:300]


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder; another numaprobe that builds there is waited for."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
