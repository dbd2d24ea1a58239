import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_samples import TRACE

from numaprobe.errors import InputError
from numaprobe.records import dump_trace, printk_lines, read_records, write_atomically, write_parquet
from numaprobe.records.errnos import errno_name


def test_a_file_is_written_whole_with_ordinary_permissions(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_atomically(path, "grüße")
    assert path.read_bytes() == "grüße".encode()
    (tmp_path / "plain").write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    path.chmod(0o600)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device"), RuntimeError])
def test_a_failure_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException] | BaseException
) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")

    def fail(_: int) -> None:
        raise failure

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((KeyboardInterrupt, InputError, RuntimeError)):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    link.symlink_to(real)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        write_atomically(tmp_path / "no" / "x", "y")
    with pytest.raises(InputError, match="cannot be written"):
        write_atomically(tmp_path, "y")


def test_forms_are_told_by_content_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "anything.txt"
    path.write_text("\n " + dump_trace(TRACE))
    assert read_records(path) == TRACE
    write_parquet(TRACE, path)
    assert read_records(path) == TRACE
    path.write_text(printk_lines(TRACE))
    assert [probe.device for probe in read_records(path).probes] == ["0000:81:00.0", "virtio0"]


def test_what_holds_nothing_of_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("hello")
    with pytest.raises(InputError, match="holds no trace"):
        read_records(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_records(tmp_path / "missing")
    with pytest.raises(InputError, match="cannot be read"):
        read_records(tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=100), st.sampled_from([b"", b"{", b"PAR1", b"\xef\xbb\xbf{"]))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, junk: bytes, head: bytes) -> None:
    path = tmp_path_factory.mktemp("j") / "f"
    path.write_bytes(head + junk)
    with pytest.raises(InputError):
        read_records(path)


def test_errno_names_are_the_kernels() -> None:
    assert [errno_name(n) for n in (0, -19, 19, -517, 517, -524, -95, -35, -11, 4000)] == [
        "0", "ENODEV", "ENODEV", "EPROBE_DEFER", "EPROBE_DEFER", "ENOTSUPP", "EOPNOTSUPP", "EDEADLK", "EAGAIN", "E4000",
    ]  # fmt: skip
