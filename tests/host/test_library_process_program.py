"""A program that no other process can load: the probe fails with one line, and nothing is printed."""

import subprocess
import sys

PROGRAM = """
import numaprobe

@numaprobe.driver("p", process=True)
def p(dev):
    return None

if __name__ == "__main__":
    with numaprobe.host("inline") as core:
        core.register(p)
        core.add("d", compatible="p")
        core.add("e", compatible="p")
        core.wait()
        print([record.result for record in core.records])
        print(core.warnings[0].message)
"""


def test_a_program_from_standard_input_cannot_be_loaded_again_and_that_is_said_in_a_line() -> None:
    done = subprocess.run(
        [sys.executable, "-"], input=PROGRAM, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    results, warning, *more = done.stdout.splitlines()
    assert results == "['EIO', 'EIO']"
    assert "d: probe of p raised BodyError: a process cannot load this program (FileNotFoundError" in warning
    assert warning.endswith("run it from a file")
    assert not more
