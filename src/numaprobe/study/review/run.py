"""Building both kernels and booting every cell: the part of a review that takes the time.

Each boot has a folder, ``cells/CELL/SIDE.N``, with what the guest left and ``result.json`` when it is over; a review
that is interrupted goes on with the boots whose file is not there, or is of another build. Sides are *base*, *patch*
and, in the first place of each scenario, *control*: base once more.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from numaprobe.analysis import summarize
from numaprobe.errors import InputError, RefusedError
from numaprobe.study.deviation import deviation_lines, deviations
from numaprobe.study.guests import GuestOptions
from numaprobe.study.lab import check_guest, explain_guest, guest_setting, record_in_guest
from numaprobe.study.review.side import SideResult, load_side, outcomes, save_side, troubles
from numaprobe.study.settings import scenario_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numaprobe.kernel.lab.splats import Splat
    from numaprobe.kernel.lab.tools import KernelImage, Tools
    from numaprobe.study.review.matrix import Matrix, MatrixCell

BASE, PATCH, CONTROL = "base", "patch", "control"
RESULT: Final = "result.json"
_NUMBER: Final = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewBoot:
    """One guest that a review needs."""

    cell: MatrixCell
    side: str
    number: int

    @property
    def folder(self) -> str:
        """Where it is kept, below the review's folder."""
        return f"cells/{self.cell.slug}/{self.side}.{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootedReview:
    """What was booted, and what came of it."""

    matrix: Matrix
    results: Mapping[ReviewBoot, SideResult]

    def of(self, cell: MatrixCell, side: str) -> list[SideResult]:
        """Return the results of a side of a cell, in their order."""
        return [result for boot, result in self.results.items() if boot.cell == cell and boot.side == side]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewOptions:
    """How a review boots."""

    folder: Path
    tools: Tools
    #: kernels by side and lockdep
    kernels: Mapping[tuple[str, bool], KernelImage]
    #: spec of the policy that the patch should follow
    policy: str | None = None
    timeout: float = 300.0
    kvm: bool = False
    #: guests at a time
    jobs: int = 1


def boots(matrix: Matrix) -> Iterator[ReviewBoot]:
    """Yield every boot of a matrix; both sides of a cell one after the other."""
    controlled: set[tuple[str, bool]] = set()
    for cell in matrix.cells():
        first = (cell.scenario, cell.lockdep) not in controlled
        controlled.add((cell.scenario, cell.lockdep))
        for number in range(matrix.repeats):
            for side in (BASE, PATCH, *((CONTROL,) if first else ())):
                yield ReviewBoot(cell=cell, side=side, number=number)


def boot_all(
    matrix: Matrix, options: ReviewOptions, told: Callable[[ReviewBoot, SideResult, int, int], object] = lambda *_: None
) -> BootedReview:
    """ReviewBoot what was not booted yet, and return everything.

    Args:
        matrix: what.
        options: how.
        told: gets each boot that is over, its result, how many are over, and of how many.

    Raises:
        InputError: a scenario or machine that no guest can have; nothing is booted then.

    """
    wanted = list(boots(matrix))
    _check(matrix, options)
    results: dict[ReviewBoot, SideResult] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(_boot, boot, options): boot for boot in wanted}
        try:
            for done, future in enumerate(as_completed(running), 1):
                results[running[future]] = future.result()
                told(running[future], future.result(), done, len(wanted))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return BootedReview(matrix=matrix, results={boot: results[boot] for boot in wanted})


def _check(matrix: Matrix, options: ReviewOptions) -> None:
    """Make every cell's guest as far as that goes without booting: what cannot be is refused before the first boot."""
    for cell in matrix.cells():
        scenario = scenario_of(cell.scenario, None, machine=cell.machine)
        guest = GuestOptions(
            image=_image(options, BASE, lockdep=cell.lockdep), tools=options.tools, timeout=options.timeout
        )
        guest_setting(scenario.model_copy(update={"cmdline": cell.cmdline}), guest, machine=cell.machine)


def _image(options: ReviewOptions, side: str, *, lockdep: bool) -> KernelImage:
    return options.kernels[BASE if side == CONTROL else side, lockdep]


def _boot(boot: ReviewBoot, options: ReviewOptions) -> SideResult:
    image = _image(options, boot.side, lockdep=boot.cell.lockdep)
    build_id = image.build_id or image.release
    folder = options.folder / boot.folder
    known = load_side(folder / RESULT, build_id)
    if known is not None:
        return known
    guest = GuestOptions(image=image, tools=options.tools, timeout=options.timeout, keep=folder, kvm=options.kvm)
    policy = options.policy if boot.side == PATCH else None
    side = _booted(boot.cell, guest, build_id, policy)
    save_side(side, folder / RESULT)
    return side


def _booted(cell: MatrixCell, guest: GuestOptions, build_id: str, policy: str | None) -> SideResult:
    scenario = scenario_of(cell.scenario, None, machine=cell.machine).model_copy(update={"cmdline": cell.cmdline})
    setting = guest_setting(scenario, guest, machine=cell.machine)
    try:
        result = record_in_guest(setting)
    except (RefusedError, InputError) as error:
        return SideResult(build_id=build_id, failure=str(error))
    free = check_guest(setting, result.trace)
    checked = check_guest(setting, result.trace, policy) if policy else free
    return SideResult(
        build_id=build_id,
        troubles=troubles(result),
        splats=tuple((_masked(splat), splat.lines) for splat in result.splats),
        probes=outcomes(result.trace),
        makespan_ns=summarize(result.trace).makespan_ns,
        follows=tuple(one.policy for one in free.follows if one.explains),
        predicted=checked.policy,
        as_predicted=sum(row.agrees for row in checked.report.rows),
        judged=len(checked.report.rows) + len(checked.report.unexpected),
        differs=tuple(deviation_lines(deviations(checked.report))),
        explained="" if checked.report.passed else explain_guest(setting, result.trace, checked).line(),
    )


def _masked(splat: Splat) -> str:
    """Return what a complaint is about, without what differs from boot to boot: numbers and addresses."""
    return _NUMBER.sub("#", splat.head)
