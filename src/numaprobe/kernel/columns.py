r"""Many lines of trace-cmd's text at once, as columns: which of them matter, and what the plain ones say.

Nearly all lines of a trace are switches and wake-ups of tasks that probe nothing. To cut each line into objects only to
find that out costs more than all else; here a block of lines is searched as one array of bytes. Any eight bytes are
one 64-bit word, so that "is it a switch" and "is it of task 4711" are a comparison each, over all lines. Where to look
is told by *anchors*: of a line its newline and each ``[``. A switch has three brackets, a wake-up two::

    insmod-445   [003]    43.228310: sched_switch:         taskset:445 [120] R ==> migration/3:36 [120]
                 ^ head              ^ event                     pid ^                    pid ^

A line is *plain* if all of this is so to the byte. A plain line about tasks that are not watched is dropped; those
about a watched task are its *changes* of state, in a list of their own. Every other line is given whole and in its
place: what a line can say is told by ``ftrace_line.py`` alone, and here only faster.

Of the works of a worker that is not watched only what it is at in the end counts: the last that it began, and what
follows. Who began what is looked back at (``roads.py``), so the beginnings are given as they are.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from numaprobe.records import RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from numpy.typing import NDArray

    from numaprobe.kernel.probes import SeenEvents

    Numbers = NDArray[np.int64]
    Words = NDArray[np.uint64]
    Flags = NDArray[np.bool_]
    #: a line to be read: its number, its kind, where it begins and ends in the block, where its first bracket is; of an
    #: EVENT also its task, CPU and time in ns
    Row = tuple[int, int, int, int, int, bytes, int, int]


@dataclass(slots=True)
class Changes:
    """What plain lines tell of one watched task."""

    #: number of each line; what it tells, where None is a wake-up: runnable if it slept
    lines: list[int]
    told: list[tuple[int, RunState | None, int]]
    line: Callable[[int], bytes]
    #: so many were taken
    taken: int = 0

    def until(self, line: int) -> list[tuple[int, RunState | None, int]]:
        """Take those of lines before ``line``."""
        begin, self.taken = self.taken, bisect_left(self.lines, line, self.taken)
        return self.told[begin : self.taken]

    def comes(self, count: int) -> bytes | None:
        """Return the task's name by the first of the last ``count`` that were taken with which it comes."""
        for place in range(self.taken - count, self.taken):
            if self.told[place][1] is RunState.RUNNING:
                coming = self.line(self.lines[place]).rpartition(b"] ")[2].partition(b" ==> ")[2]
                return coming.rpartition(b" [")[0].rpartition(b":")[0]
        return None


@dataclass(slots=True)
class Sifted:
    """What matters of a block."""

    #: the lines that are to be read, in their order
    rows: Iterator[Row]
    #: by pid, what plain lines tell of watched tasks
    changes: dict[bytes, Changes]
    #: of all these together, EVENTs and changes, line and time
    _lines: Numbers
    _times: Numbers

    def in_order(self, now: int) -> bool:
        """Tell whether no time is earlier than ``now``, or than one before it."""
        return self.goes_on(-1, now) and bool((self._times[1:] >= self._times[:-1]).all())

    def goes_on(self, line: int, now: int) -> bool:
        """Tell whether the first time behind a line is not earlier than ``now``."""
        place = int(np.searchsorted(self._lines, line, side="right"))
        return place == len(self._lines) or bool(self._times[place] >= now)


#: What a line is: of no concern; to be read by the slow road; the same, but its task, CPU and time are known; the begin
#: of a work that concerns nobody now.
DROPPED, LINE, EVENT, BEGINNING = range(4)

_WORD: Final = 8
#: A pid of more digits does not fit into a word with the sign before it; the kernel's have at most seven.
_MAX_DIGITS: Final = 7
#: Decimals; there may be three more.
_MICROSECONDS: Final = 6
#: Bytes from head to dot that are looked at: the bracket and the CPU, then a word.
_MAX_DOT: Final = 5 + _WORD
#: In so many bytes of a block there is a plain line, or it is in another layout.
_LOOK_AT: Final = 1 << 12
#: and a block is longer than any word of its first line is behind its head.
_LEAST: Final = 128
_NEWLINE, _BRACKET, _CLOSE, _BLANK, _DOT, _RUNNABLE = b"\n[] .R"

#: a head without flags, up to its event
_HEAD: Final = re.compile(rb"\[\d{3}\]( +\d{1,7})\.(\d{6}(?:\d{3})?): (?=[a-z])")
_SECONDS: Final = re.compile(rb"(?:[\d\[]{0,3}\])? +(\d{1,7})")
_PID: Final = re.compile(rb".*-(\d{1,7}) *", re.DOTALL)


def _text(word: np.uint64) -> bytes:
    return int(word).to_bytes(_WORD, "little")


#: what a line can tell of a task
_STATES: Final = (RunState.SLEEPING, RunState.RUNNABLE, RunState.RUNNING, None)
_SLEEPS, _STAYS, _COMES, _WOKEN = range(4)


def _word(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(text, "little"))


_SCHED, _SWITCHES, _WAKES = _word(b": sched_"), _word(b"switch: "), _word(b"wakeup: ")
_WORKQUEUE, _QUEUES, _EXECUTE = _word(b": workqu"), _word(b"eue_queu"), _word(b"eue_exec")
_BEGINS, _ENDS = _word(b"e_start:"), _word(b"ute_end:")
_TARGET: Final = _word(b" CPU:")


class Columns:
    """A block of whole lines.

    Args:
        block: the lines, without the newline of the last.

    Attributes:
        text: the block.
        count: lines.
        plain: the block is in a layout that is known here.
        event: how far behind its first bracket a plain line's event begins.

    """

    def __init__(self, block: bytes) -> None:
        self.text = block
        self._bytes = np.frombuffer(block, np.uint8)
        anchors = np.flatnonzero((self._bytes == _NEWLINE) | (self._bytes == _BRACKET))
        newlines = np.flatnonzero(self._bytes[anchors] == _NEWLINE)
        self.count = len(newlines) + 1
        self._anchors = np.append(anchors, len(block))
        #: of each line, its first anchor and its newline
        self._last = np.append(newlines, len(anchors))
        self._first = np.append(-1, newlines) + 1
        match = _HEAD.search(block, 0, _LOOK_AT)
        short = len(block) < _LEAST or self.count * _WORD > len(block)
        self.plain = match is not None and match.end(1) - match.start() <= _MAX_DOT and not short
        if match is not None and self.plain:
            self._words: Words = np.ndarray((len(block) - _WORD + 1,), "<u8", block, strides=(1,))
            self._dot, self._decimals = match.end(1) - match.start(), len(match[2])
            self.event = match.end() - match.start()
            self._classify()

    def begin(self, line: int) -> int:
        """Return where a line begins."""
        return int(self._anchors[self._last[line - 1]]) + 1 if line else 0

    def line(self, number: int) -> bytes:
        """Return a line, without its newline."""
        return self.text[self.begin(number) : self._anchors[self._last[number]]]

    # ---- what each line is -------------------------------------------------------------------------------------------
    def _classify(self) -> None:
        """Find the plain lines."""
        words = self._words
        brackets = self._last - self._first
        self._head = self._anchors[self._first]  # of a line without a bracket: its end
        event = np.minimum(self._head + self.event, len(words) - 3 * _WORD)
        kind = words[event - 2]
        sched = np.flatnonzero(kind == _SCHED)
        rest = words[event[sched] + 6]
        self._switches = self._with_pids(sched[rest == _SWITCHES], 2, brackets)
        self._wakes = self._with_pids(sched[rest == _WAKES], 1, brackets)
        self._kinds = np.full(self.count, LINE, np.int8)
        self._kinds[self._switches[0]] = self._kinds[self._wakes[0]] = DROPPED
        self._name_others(brackets)
        works = np.flatnonzero((kind == _WORKQUEUE) & (self._kinds == EVENT))
        rest = words[event[works] + 6]
        self.queues = bool((rest == _QUEUES).any())
        works = works[rest == _EXECUTE]
        begins = words[event[works] + 16] == _BEGINS
        plain = begins | (words[event[works] + 14] == _ENDS)
        self._works, self._begins = works[plain], begins[plain]
        #: each mention of a task in a plain line: the line, the place of the bracket behind it, and what is told
        (switches, first, second), (wakes, woken) = self._switches, self._wakes
        self._mentions = np.concatenate((switches, switches, wakes))
        self._brackets = np.concatenate((first, second, woken))
        self._roles = np.repeat((_SLEEPS, _COMES, _WOKEN), (len(switches), len(switches), len(wakes)))

    def _with_pids(self, lines: Numbers, pids: int, brackets: Numbers) -> tuple[Numbers, ...]:
        """Return those of ``lines`` that have so many pids behind their event, and where each pid's `` [`` is."""
        lines = lines[brackets[lines] == 1 + pids]
        first = self._first[lines]
        found = [self._anchors[first + number] for number in range(1, pids + 1)]
        plain = found[0] > self._head[lines] + self.event
        for bracket in found:
            plain &= self._bytes[bracket - 1] == _BLANK
        return tuple(column[plain] for column in (lines, *found))

    def _name_others(self, brackets: Numbers) -> None:
        """Tell the tasks of the lines that are not plain, as far as they are told where they are in plain lines."""
        lines = np.flatnonzero((self._kinds == LINE) & (brackets > 0))
        lines = lines[self._head[lines] > _WORD]
        words, task = np.unique(self._words[self._head[lines] - 1 - _WORD], return_inverse=True)
        matches = (_PID.fullmatch(_text(word)) for word in words)
        self._tasks = [*(match[1] if match else b"" for match in matches), b""]
        known = np.array([pid != b"" for pid in self._tasks], np.bool_)[task]
        self._task = np.full(self.count, -1)
        self._task[lines] = task
        self._kinds[lines[known]] = EVENT

    def pids(self) -> set[bytes]:
        """Return the tasks of all lines that are neither plain nor of works, as far as they can be told."""
        lines = np.flatnonzero(self._kinds == EVENT)
        tasks = np.unique(self._task[np.setdiff1d(lines, self._works, assume_unique=True)])
        return {self._tasks[task] for task in tasks.tolist()}

    # ---- what of it matters ------------------------------------------------------------------------------------------
    def sift(self, watched: Collection[bytes], start: int, seen: SeenEvents, *, works: bool) -> Sifted:
        """Divide what matters of a block.

        Args:
            watched: the tasks that matter, by pid.
            start: the first line.
            seen: of which kinds no line need be given any more only because it is one.
            works: all works matter.

        """
        kinds = self._kinds.copy()
        for was_seen, (lines, *_) in ((seen.switch, self._switches), (seen.wakeup, self._wakes)):
            if not was_seen:
                kinds[lines[np.searchsorted(lines, start) :][:1]] = LINE
        if not (works or self.queues):
            self._drop_works(kinds, watched)
        kinds[:start] = DROPPED
        pids = _Pids(watched)
        hits, task = pids.among(self._words[self._brackets - 1 - _WORD])
        told = self._mentions[hits]
        wanted = np.flatnonzero((kinds[told] == DROPPED) & (told >= start))
        hits, task, told = hits[wanted], task[wanted], told[wanted]
        lines = np.append(told, np.flatnonzero(kinds == EVENT))
        cpu, now, plain = self._heads(lines)
        states = self._states(told, self._roles[hits], cpu, plain)
        kinds[lines[~plain]] = LINE
        good, events = np.flatnonzero(plain[: len(told)]), np.flatnonzero(plain[len(told) :]) + len(told)
        places = np.full(self.count, -1)
        places[lines[events]] = events
        changes = _changes([column[good] for column in (told, task, states, cpu, now)], pids.names, self.line)
        timed = np.append(good, events)
        timed = timed[np.argsort(lines[timed], kind="stable")]
        rows = self._rows(kinds, np.append(cpu, 0)[places], np.append(now, 0)[places])
        return Sifted(rows, changes, lines[timed], now[timed])

    def _drop_works(self, kinds: NDArray[np.int8], watched: Collection[bytes]) -> None:
        """Drop of each task that is not watched what comes before the last work that it begins."""
        lines, begins, task = self._works, self._begins, self._task[self._works]
        last = np.full(len(self._tasks), -1)
        np.maximum.at(last, task[begins], lines[begins])
        watch = np.array([pid in watched for pid in self._tasks], np.bool_)
        dropped = (lines < last[task]) & ~watch[task]
        kinds[lines[dropped]] = np.where(begins[dropped], BEGINNING, DROPPED)

    def _rows(self, kinds: NDArray[np.int8], cpu: Numbers, now: Numbers) -> Iterator[Row]:
        """Return the lines that are to be read; CPU and time are given for each line."""
        lines = np.flatnonzero(kinds)
        start = self._anchors[self._first[lines] - 1] + 1
        start[lines == 0] = 0
        task = map(self._tasks.__getitem__, self._task[lines].tolist())
        before = (lines, kinds[lines], start, self._anchors[self._last[lines]], self._head[lines])
        return zip(*(column.tolist() for column in before), task, cpu[lines].tolist(), now[lines].tolist(), strict=True)

    def _heads(self, lines: Numbers) -> tuple[Numbers, Numbers, Flags]:
        """Return CPU and time of lines, and whether they are plain up to their event."""
        head = np.minimum(self._head[lines], len(self._words) - 3 * _WORD - self.event)
        dot = head + self._dot
        cpu, fine = _digits(self._words[head + 4 - _WORD], 3)
        fine &= (self._bytes[head + 4] == _CLOSE) & (self._bytes[dot] == _DOT)
        seconds = _seconds(self._words[dot - _WORD])
        now, told = _digits(self._words[dot + 1 + _MICROSECONDS - _WORD], _MICROSECONDS)
        now *= 1000
        if self._decimals > _MICROSECONDS:
            rest, told_too = _digits(self._words[dot + 4 + _MICROSECONDS - _WORD], 3)
            now += rest
            told &= told_too
        words, task = np.unique(self._words[head - 1 - _WORD], return_inverse=True)
        named = np.array([_PID.fullmatch(_text(word)) is not None for word in words], np.bool_)
        return cpu, seconds * 10**9 + now, fine & told & (seconds >= 0) & named[task]

    def _states(self, lines: Numbers, roles: Numbers, cpu: Numbers, plain: Flags) -> Numbers:
        """Return what lines tell of the tasks that they mention; correct their CPUs, and whether they are plain."""
        state = np.zeros(len(lines), np.int64)
        bracket = self._anchors[self._first[lines] + 1]
        for digits in (3, 2, 1):
            close = np.minimum(bracket + digits + 1, len(self._bytes) - 3)
            here = (self._bytes[close] == _CLOSE) & (self._bytes[close + 1] == _BLANK)
            state = np.where(here, self._bytes[close + 2], state)
        woken = np.flatnonzero(roles == _WOKEN)
        words = self._words[self._anchors[self._last[lines[woken]]] - _WORD]
        cpu[woken], told = _digits(words, 3)
        plain[: len(lines)] &= state != 0
        plain[woken] &= told & ((words & np.uint64(2**40 - 1)) == _TARGET)
        return np.where((roles == _SLEEPS) & (state == _RUNNABLE), _STAYS, roles)


def _changes(told: list[Numbers], names: list[bytes], line: Callable[[int], bytes]) -> dict[bytes, Changes]:
    """Return by task what lines told of it, in the order of the lines."""
    lines, task, state, cpu, now = told
    order = np.lexsort((lines, task))
    ends = np.searchsorted(task[order], np.arange(len(names) + 1), side="right").tolist()
    numbers = lines[order].tolist()
    states = map(_STATES.__getitem__, state[order].tolist())
    changes = list(zip(now[order].tolist(), states, cpu[order].tolist(), strict=True))
    return {
        name: Changes(numbers[begin:end], changes[begin:end], line)
        for name, begin, end in zip(names, ends, ends[1:], strict=False)
        if begin < end
    }


class _Pids:
    """Finds some pids among many words; numbers them from 1."""

    def __init__(self, pids: Collection[bytes]) -> None:
        self.names = sorted(pid for pid in pids if len(pid) <= _MAX_DIGITS)
        #: the last two characters of a pid, or the colon before its only one: is there any?
        self._likely = np.zeros(1 << 16, np.bool_)
        groups: dict[int, list[tuple[int, int]]] = {}
        for number, pid in enumerate(self.names, 1):
            word = int.from_bytes(b":" + pid, "little")
            self._likely[word >> 8 * (len(pid) - 1)] = True
            groups.setdefault(len(pid), []).append((word, number))
        self._groups = [(8 * (_MAX_DIGITS - size), *np.array(sorted(group)).T) for size, group in groups.items()]

    def among(self, words: Words) -> tuple[Numbers, Numbers]:
        """Return which words end with a colon and one of the pids, and the number of that pid."""
        likely = np.flatnonzero(self._likely[words >> np.uint64(48)])
        words = words[likely]
        numbers = np.zeros(len(words), np.int64)
        for shift, known, number in self._groups:
            ends = (words >> np.uint64(shift)).astype(np.int64)
            place = np.minimum(np.searchsorted(known, ends), len(known) - 1)
            numbers += np.where(known[place] == ends, number[place], 0)
        hits = np.flatnonzero(numbers)
        return likely[hits], numbers[hits]


def _seconds(words: Words) -> Numbers:
    """Return the seconds that each word ends with, -1 where there are none; neighbours are mostly alike."""
    if not len(words):
        return np.zeros(0, np.int64)
    begins = np.append(0, np.flatnonzero(words[1:] != words[:-1]) + 1)
    found = (_SECONDS.fullmatch(_text(word)) for word in words[begins])
    numbers = np.array([int(match[1]) if match else -1 for match in found], np.int64)
    return np.repeat(numbers, np.diff(np.append(begins, len(words))))


def _digits(words: Words, count: int) -> tuple[Numbers, Flags]:
    """Return the numbers that the last ``count`` characters of each word write, and whether they are digits.

    Two digits are joined at a time, then four, then eight, all lanes of a word at once.
    """
    unused = np.uint64(8 * (_WORD - count))
    lanes = ((words >> unused) ^ np.uint64(0x3030303030303030 >> int(unused))) << unused
    fine = ((lanes | (lanes + np.uint64(0x0606060606060606))) & np.uint64(0xF0F0F0F0F0F0F0F0)) == 0
    lanes = (lanes * np.uint64(10) + (lanes >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    lanes = (lanes * np.uint64(100) + (lanes >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    lanes = (lanes * np.uint64(10000) + (lanes >> np.uint64(32))) & np.uint64(0x00000000FFFFFFFF)
    return lanes.astype(np.int64), fine
