"""What several tests of commands share."""

from __future__ import annotations

from typing import Any

import pytest

from numaprobe.cli.main import run_command


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command line in this process and returns its output; nothing else may be said."""

    def call(*arguments: object, code: int = 0) -> str:
        assert run_command([str(one) for one in arguments]) == code
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return call
