"""The rule of writing: what is replaced, what is written to, what is refused."""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from numaprobe.errors import InputError
from numaprobe.records import check_output, make_folder, open_output, write_atomically, writing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


class Reader(threading.Thread):
    """Reads a pipe or socket to its end."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        super().__init__(daemon=True)
        self._read = read
        self._got = b""
        self.start()

    def run(self) -> None:
        self._got = self._read()

    def got(self) -> bytes:
        self.join(20)
        assert not self.is_alive()
        return self._got


def terminal() -> tuple[int, str]:
    """Return a character device of our own that everybody may have: a pseudo terminal's two ends."""
    master, slave = os.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    return master, name


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = Reader(pipe.read_bytes)
    write_atomically(pipe, b"x" * 300_000)  # more than a pipe holds
    assert reader.got() == b"x" * 300_000
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == ["pipe"]


def test_a_device_is_written_to_also_through_a_link(tmp_path: Path) -> None:
    master, name = terminal()
    link = tmp_path / "link"
    link.symlink_to(name)
    write_atomically(name, "one\n")
    write_atomically(link, "two\n")
    assert os.read(master, 100).replace(b"\r", b"").startswith(b"one\n")
    assert stat.S_ISCHR(link.stat().st_mode)
    assert link.is_symlink()
    assert names(tmp_path) == ["link"]
    os.close(master)


def test_a_node_of_null_stays_a_node_and_one_of_full_is_full(tmp_path: Path) -> None:
    """Nodes of our own where we may make them; else links to the system's, which nobody but root could replace."""
    null, full = tmp_path / "null", tmp_path / "full"
    for path, minor in ((null, 3), (full, 7)):
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
            os.close(os.open(path, os.O_WRONLY))
        except PermissionError:
            assert os.geteuid() != 0 or path.exists() or not os.access("/dev", os.W_OK)
            path.unlink(missing_ok=True)
            path.symlink_to(f"/dev/{path.name}")
    write_atomically(null, "gone")
    with pytest.raises(InputError, match=r"full: cannot be written: No space left on device$"):
        write_atomically(full, "never")
    for path in (null, full):
        assert stat.S_ISCHR(path.stat().st_mode)
    assert names(tmp_path) == ["full", "null"]


def test_a_socket_gets_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 150) / "socket"  # more than an address can hold
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(path.parent, os.O_PATH)
        server.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)
        server.listen()

        def serve() -> bytes:
            link, _ = server.accept()
            with link, link.makefile("rb") as stream:
                return stream.read()

        reader = Reader(serve)
        write_atomically(path, b"x" * 500_000)
        assert reader.got() == b"x" * 500_000
    assert stat.S_ISSOCK(path.stat().st_mode)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("pipe", "nobody reads it; start its reader first"),
        ("socket", "nobody takes connections to this socket; start its reader first"),
        ("datagrams", "it is a socket for datagrams; a stream is needed"),
        ("folder", "it is a folder; name a file in it"),
        ("circle", "its symbolic links lead in a circle"),
        ("descriptor", "Bad file descriptor"),
        ("no\0name", "this is no possible file name"),
        ("no\udfffname", "this is no possible file name"),
    ],
)
def test_what_takes_nothing_is_refused_in_one_line(
    kind: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(writing, "PATIENCE", 0.05)
    path = tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "circle":
        (tmp_path / "other").symlink_to(path)
        path.symlink_to("other")
    elif kind == "descriptor":
        path.symlink_to("/dev/fd/987654")
    elif kind in {"socket", "datagrams"}:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if kind == "socket" else socket.SOCK_DGRAM)
        made.bind(str(path))
        if kind == "socket":
            made.close()  # and nobody listens
        else:
            request.addfinalizer(made.close)
    before = names(tmp_path)
    with pytest.raises(InputError, match=f"cannot be written: {re.escape(reason)}$"):
        write_atomically(path, "x")
    assert names(tmp_path) == before


def test_a_reader_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    tried = threading.Event()

    def read() -> bytes:
        assert tried.wait(20)
        return pipe.read_bytes()

    reader = Reader(read)
    opened, os_open = [], os.open

    def watched(name: str, flags: int) -> int:
        opened.append(name)
        if len(opened) == 3:
            tried.set()
        return os_open(name, flags)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", watched)
        write_atomically(pipe, "worth it")
    assert reader.got() == b"worth it"
    assert len(opened) >= 3


def test_a_reader_that_goes_away_is_a_broken_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def read_a_little() -> bytes:
        with pipe.open("rb") as file:
            return file.read(1)

    reader = Reader(read_a_little)
    with pytest.raises(BrokenPipeError):
        write_atomically(pipe, b"x" * 10_000_000)
    assert reader.got() == b"x"


def test_an_open_descriptor_is_written_to_and_what_was_there_stays(tmp_path: Path) -> None:
    """What ``numaprobe run … -o /dev/stdout >> log`` asks for."""
    log = tmp_path / "log"
    log.write_text("before\n")
    with log.open("ab") as file:
        inode = log.stat().st_ino
        link = tmp_path / "link"
        link.symlink_to(f"/dev/fd/{file.fileno()}")
        write_atomically(link, "one\n")
        write_atomically(f"/proc/self/fd/{file.fileno()}", "two\n")
        assert not file.closed
        file.write(b"three\n")
    assert log.read_text() == "before\none\ntwo\nthree\n"
    assert log.stat().st_ino == inode


def test_a_link_that_leads_nowhere_yet_makes_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_replaced_file_keeps_mode_and_attributes_and_other_names_keep_the_old_content(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_text("old")
    path.chmod(0o640)
    os.setxattr(path, "user.note", b"mine")
    os.link(path, other)
    write_atomically(path, "new")
    assert (path.read_text(), other.read_text()) == ("new", "old")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.getxattr(path, "user.note") == b"mine"


def test_owner_and_group_are_kept_where_we_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o664)
    asked = []
    monkeypatch.setattr(os, "fchown", lambda _, user, group: asked.append((user, group)))
    write_atomically(path, "new")
    assert asked == [(-1, path.stat().st_gid), (path.stat().st_uid, -1)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o664

    def refuse(*_: int) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(os, "fchown", refuse)
    path.chmod(0o640)
    write_atomically(path, "newer")
    assert path.read_text() == "newer"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600  # the group is another one, and gets what others got


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    os_open = os.open

    def guarded(name: str, flags: int, mode: int = 0o777) -> int:
        if name == str(path) and flags & os.O_WRONLY:
            raise PermissionError(errno.EACCES, "Permission denied")
        return os_open(name, flags, mode)

    monkeypatch.setattr(os, "open", guarded)
    for attempt in (lambda: write_atomically(path, "new"), lambda: check_output(path)):
        with pytest.raises(InputError, match="cannot be written: Permission denied"):
            attempt()
    assert path.read_text() == "old"


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def half(path: Path) -> None:
        with open_output(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half(tmp_path / "new")
    assert names(tmp_path) == []


def test_the_longest_name_that_there_is_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 127)
    write_atomically(path, "x")
    assert names(tmp_path) == [path.name]


def test_outputs_are_looked_at_without_being_touched(tmp_path: Path) -> None:
    pipe, file, new = tmp_path / "pipe", tmp_path / "file", tmp_path / "new"
    os.mkfifo(pipe)
    file.write_text("old")
    for path in (pipe, file, new, "/dev/stdout"):
        check_output(path)
    assert file.read_text() == "old"
    assert names(tmp_path) == ["file", "pipe"]
    for path in (tmp_path, tmp_path / "no" / "x", file / "x", "/proc/x"):
        with pytest.raises(InputError, match="cannot be written"):
            check_output(path)


def test_a_folder_is_made_or_refused_in_one_line(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no folder"):
        make_folder(tmp_path / "file")
    with pytest.raises(InputError, match="cannot be made a folder: Not a directory"):
        make_folder(tmp_path / "file" / "x")
