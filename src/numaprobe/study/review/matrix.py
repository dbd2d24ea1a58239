"""What a review boots: machines, command lines and scenarios, each with base and patch.

A *cell* is one scenario on one machine with one command line. The small matrix, for a laptop and half an hour, has the
situations in which the threads' proposals differed: a synchronous and an asynchronous driver, a bind through sysfs, a
bus without node code, and the first CPUs of the devices' node isolated. A file (TOML) says any other::

    scenarios = ["lab-nvme", "lab-virtio", "./mine.toml"]
    repeats = 5
    lockdep = true

    [[machines]]
    machine = "2 nodes x 2 cores"
    cmdlines = ["", "isolcpus=2"]
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from numaprobe.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: boots of one matrix: more is no review any more
MAX_BOOTS: Final = 2000
_LARGEST: Final = 100_000
_ODD: Final = re.compile(r"[^A-Za-z0-9.]+")


class BootedMachine(BaseModel):
    """A machine and the command lines with which it is booted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    machine: Annotated[str, Field(max_length=500)]
    cmdlines: Annotated[tuple[str, ...], Field(min_length=1, max_length=50)] = ("",)


class Matrix(BaseModel):
    """Everything that is booted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenarios: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)]
    machines: Annotated[tuple[BootedMachine, ...], Field(min_length=1, max_length=20)]
    #: boots of each cell and side
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    #: boot kernels with lockdep, too
    lockdep: bool = False

    def cells(self) -> Iterator[MatrixCell]:
        """Yield the cells: with lockdep last, so that the first answers come early."""
        for lockdep in (False, True) if self.lockdep else (False,):
            for place in self.machines:
                for cmdline in place.cmdlines:
                    for scenario in self.scenarios:
                        yield MatrixCell(scenario=scenario, machine=place.machine, cmdline=cmdline, lockdep=lockdep)


class MatrixCell(BaseModel):
    """One scenario on one machine with one command line."""

    model_config = ConfigDict(frozen=True)

    scenario: str
    machine: str
    cmdline: str = ""
    lockdep: bool = False

    def __str__(self) -> str:
        """Return the cell as it is named in a report."""
        words = [self.scenario, f"on {self.machine}", *([self.cmdline] if self.cmdline else [])]
        return ", ".join([*words, *(["lockdep"] if self.lockdep else [])])

    @property
    def slug(self) -> str:
        """A name for its folder: letters, digits, dots and dashes."""
        words = (self.scenario, self.machine, self.cmdline, "lockdep" if self.lockdep else "")
        return "_".join(_ODD.sub("-", word).strip("-.")[:60] for word in words if word) or "cell"


SMALL: Final = Matrix(
    scenarios=("lab-nvme", "lab-nvme-async", "lab-bind", "lab-virtio"),
    machines=(
        BootedMachine(machine="2 nodes x 2 cores", cmdlines=("", "isolcpus=2")),
        BootedMachine(machine="4 nodes x 1 core"),
    ),
)


def read_matrix(path: Path) -> Matrix:
    """Return the matrix of a file.

    Raises:
        InputError: it is none, or says more boots than anybody waits for.

    """
    try:
        text = path.read_bytes()[:_LARGEST].decode()
        matrix = Matrix.model_validate(tomllib.loads(text))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(str(getattr(error, "strerror", None) or error), str(path)) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where or 'the file'}: {first['msg']}", str(path)) from None
    cells = list(matrix.cells())
    if len({cell.slug for cell in cells}) < len(cells):
        raise InputError("two of its cells are the same", str(path))
    if 2 * len(cells) * matrix.repeats > MAX_BOOTS:
        raise InputError(f"{2 * len(cells) * matrix.repeats} boots; at most {MAX_BOOTS}", str(path))
    return matrix
