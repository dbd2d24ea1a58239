from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from numaprobe.cli import progress as module
from numaprobe.cli.main import run_command
from numaprobe.cli.progress import ProgressLine

if TYPE_CHECKING:
    import pytest


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, patience: float) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(module, "PATIENCE_S", patience)
    with ProgressLine("policy") as progress:
        progress.show(1, 2, "inline")
        progress.show(2, 2, "spread")
    return stream.getvalue()


def test_long_work_is_told_on_a_terminal_and_wiped_away(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Terminal(), -1)
    assert text == "\r\x1b[Kpolicy 1/2: inline\r\x1b[Kpolicy 2/2: spread\r\x1b[K"


def test_short_work_and_pipes_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Terminal(), 60) == ""
    assert shown(monkeypatch, io.StringIO(), -1) == ""


def test_run_counts_its_probes_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(module, "PATIENCE_S", -1)
    assert run_command(["run", "nvme-epyc", "--devices", "200", "--top", "1"]) == 0
    assert "probe 64/200: work-on-cpu" in screen.getvalue()
    assert "probe 192/200: work-on-cpu" in screen.getvalue()
    assert screen.getvalue().endswith("\r\x1b[K")
    assert "probe 64/200" not in capsys.readouterr().out
