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

from numaprobe.kernel.calls import StateLog
from numaprobe.records import RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from numpy.typing import NDArray

    from numaprobe.kernel.probes import SeenEvents

    Numbers = NDArray[np.int64]
    Words = NDArray[np.uint64]
    Flags = NDArray[np.bool_]
    #: a line to be read: its number, its kind, where it begins and ends in the block, where its first bracket is; of
    #: all but a LINE also its task, CPU and time in ns
    Row = tuple[int, int, int, int, int, bytes, int, int]


@dataclass(slots=True)
class Changes:
    """What plain lines tell of one watched task."""

    #: number of each line, and what it tells
    lines: list[int]
    told: StateLog
    #: places of those that are wake-ups: runnable if it slept
    wakes: list[int]
    line: Callable[[int], bytes]
    #: so many were taken
    taken: int = 0

    def until(self, line: int) -> tuple[StateLog, list[int]]:
        """Take those of lines before ``line``, and which of them are wake-ups."""
        begin = self.taken
        self.taken = end = bisect_left(self.lines, line, begin)
        wakes = self.wakes[bisect_left(self.wakes, begin) : bisect_left(self.wakes, end)]
        return self.told.part(begin, end), [place - begin for place in wakes]

    def skip(self, line: int) -> None:
        """Leave out those of lines before ``line``."""
        self.taken = bisect_left(self.lines, line, self.taken)

    def comes(self, count: int) -> bytes | None:
        """Return the task's name by the first of the last ``count`` that were taken with which it comes."""
        for place in range(self.taken - count, self.taken):
            if self.told.states[place] is RunState.RUNNING:
                coming = self.line(self.lines[place]).rpartition(b"] ")[2].partition(b" ==> ")[2]
                return coming.rpartition(b" [")[0].rpartition(b":")[0]
        return None


@dataclass(slots=True)
class Begun:
    """The works that were begun, with the lines that tell it."""

    text: bytes
    #: number of each line, where it begins and ends
    lines: list[int]
    begins: list[int]
    ends: list[int]
    #: so many were taken
    taken: int = 0

    def before(self, line: int) -> list[bytes]:
        """Take those of lines before ``line``; one in ``line`` itself is passed over."""
        begin, end = self.taken, bisect_left(self.lines, line, self.taken)
        self.taken = end + (end < len(self.lines) and self.lines[end] == line)
        text = self.text
        return [text[start:stop] for start, stop in zip(self.begins[begin:end], self.ends[begin:end], strict=True)]


@dataclass(slots=True)
class Sifted:
    """What matters of a block."""

    #: the lines that are to be read, in their order
    rows: Iterator[Row]
    #: by pid, what plain lines tell of watched tasks
    changes: dict[bytes, Changes]
    begun: Begun
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


#: What a line is: of no concern; to be read by the slow road; an event, of which task, CPU and time are known; the
#: same, and a work begins, or ends; the begin of a work that concerns nobody now.
DROPPED, LINE, EVENT, BEGINS, ENDS, BEGINNING = range(6)

_WORD: Final = 8
#: A pid of more digits does not fit into a word with the sign before it and the blank behind; the kernel's have seven
#: at most.
_MAX_DIGITS: Final = 6
#: Decimals; there may be three more.
_MICROSECONDS: Final = 6
#: Bytes from head to the seconds, which are right-justified: the bracket and the CPU.
_SECONDS_AT: Final = 5
#: Bytes from head to dot that are looked at.
_MAX_DOT: Final = _SECONDS_AT + _WORD
#: Bytes that are compared at once.
_PIECE: Final = 1 << 16
#: Bytes of a plain line before its head: a task's name has 15, right-justified.
_MAX_HEAD: Final = 64
#: In so many bytes of a block there is a plain line, or it is in another layout.
_LOOK_AT: Final = 1 << 12
#: and a block is longer than any word of its first line is behind its head.
_LEAST: Final = 128
_NEWLINE, _BRACKET, _CLOSE, _BLANK, _DOT, _RUNNABLE = b"\n[] .R"
_CLOSED: Final = _CLOSE | _BLANK << 8
_COLON: Final = ord(":") | _BLANK << 8

#: a head without flags, up to its event
_HEAD: Final = re.compile(rb"\[\d{3}\]( +\d{1,7})\.(\d{6}(?:\d{3})?): (?=[a-z])")
#: what is before a bracket
_PID: Final = re.compile(rb".*-(\d{1,6}) +", re.DOTALL)


def _text(word: np.uint64) -> bytes:
    return int(word).to_bytes(_WORD, "little")


#: what a line can tell of a task
_STATES: Final = np.array((RunState.SLEEPING, RunState.RUNNABLE, RunState.RUNNING, RunState.RUNNABLE), object)
_SLEEPS, _STAYS, _COMES, _WOKEN, _UNTOLD = range(5)


def _word(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(text, "little"))


_SCHED, _SWITCHES, _WAKES = _word(b": sched_"), _word(b"switch: "), _word(b"wakeup: ")
_WORKQUEUE, _QUEUES, _EXECUTE = _word(b": workqu"), _word(b"eue_queu"), _word(b"eue_exec")
_UTE_STAR, _E_START, _UTE_END = _word(b"ute_star"), _word(b"e_start:"), _word(b"ute_end:")
_TARGET: Final = _word(b" CPU:")
#: in each byte of a word: a blank; one; what makes a carry of more than nine; the upper half
_BLANKS, _ONES = np.uint64(0x2020202020202020), np.uint64(0x0101010101010101)
_SIXES, _UPPER = np.uint64(0x0606060606060606), np.uint64(0xF0F0F0F0F0F0F0F0)
_ONE, _LAST = np.uint64(1), np.uint64(56)
#: A word times this has its bits spread over the upper ones, which are a slot.
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
_SLOTS: Final = 1 << 14
_TO_SLOT: Final = np.uint64(64 - 14)


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
        anchors = _anchors(self._bytes)
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
        rest = words[event[works] + 14]
        begins, ends = (rest == _UTE_STAR) & (words[event[works] + 16] == _E_START), rest == _UTE_END
        self._kinds[works[begins]], self._kinds[works[ends]] = BEGINS, ENDS
        self._works, self._begins = works[begins | ends], begins[begins | ends]
        #: each mention of a task in a plain line: the line, the word with the pid, and what is told
        (switches, (first, second)), (wakes, (woken,)) = self._switches, self._wakes
        self._mentions = np.concatenate((switches, switches, wakes))
        self._named = np.concatenate((first, second, woken))
        self._roles = np.repeat((_SLEEPS, _COMES, _WOKEN), (len(switches), len(switches), len(wakes)))

    def _with_pids(self, lines: Numbers, pids: int, brackets: Numbers) -> tuple[Numbers, list[Words]]:
        """Return those of ``lines`` that have so many pids behind their event, and for each pid the word to its blank.

        A pid has a blank and a bracket behind it.
        """
        lines = lines[brackets[lines] == 1 + pids]
        first = self._first[lines]
        found = [self._anchors[first + number] for number in range(1, pids + 1)]
        words = [self._words[bracket - _WORD] for bracket in found]
        plain = found[0] > self._head[lines] + self.event
        for word in words:
            plain &= (word >> _LAST) == _BLANK
        return lines[plain], [word[plain] for word in words]

    def _name_others(self, brackets: Numbers) -> None:
        """Tell the tasks of the lines that are not plain, as far as they are told where they are in plain lines."""
        lines = np.flatnonzero((self._kinds == LINE) & (brackets > 0))
        lines = lines[self._head[lines] > _WORD]
        words, task = _distinct(self._words[self._head[lines] - _WORD])
        matches = (_PID.fullmatch(_text(word)) for word in words)
        self._tasks = [*(match[1] if match else b"" for match in matches), b""]
        known = np.array([pid != b"" for pid in self._tasks], np.bool_)[task]
        self._task = np.full(self.count, -1)
        self._task[lines] = task
        self._kinds[lines[known]] = EVENT

    def pids(self) -> set[bytes]:
        """Return the tasks of all lines that are neither plain nor of works, as far as they can be told."""
        return {self._tasks[task] for task in set(self._task[self._kinds == EVENT].tolist())}

    @staticmethod
    def finds(pids: Iterable[bytes]) -> bool:
        """Tell whether all of these can be found."""
        return all(len(pid) <= _MAX_DIGITS for pid in pids)

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
        for was_seen, (lines, _) in ((seen.switch, self._switches), (seen.wakeup, self._wakes)):
            if not was_seen:
                kinds[lines[np.searchsorted(lines, start) :][:1]] = LINE
        if not works:
            self._drop_works(kinds, watched)
        kinds[:start] = DROPPED
        pids = _Pids(watched)
        hits, task = pids.among(self._named)
        told = self._mentions[hits]
        wanted = np.flatnonzero((kinds[told] == DROPPED) & (told >= start))
        wanted = wanted[np.lexsort((told[wanted], task[wanted]))]
        hits, task, told = hits[wanted], task[wanted], told[wanted]
        timed = (kinds >= EVENT) & (kinds <= ENDS)
        timed[told] = True
        lines = np.flatnonzero(timed)
        cpu, now, plain = self._heads(lines)
        place = np.full(self.count, len(lines))
        place[lines] = np.arange(len(lines))
        at = place[told]
        told_cpu, states = cpu[at], self._states(told, self._roles[hits])
        woken = np.flatnonzero(states == _WOKEN)
        told_cpu[woken], fine = self._targets(told[woken])
        states[woken[~fine]] = _UNTOLD
        plain[at[states == _UNTOLD]] = False
        kinds[lines[~plain]] = LINE
        good = np.flatnonzero(plain[at])
        changes = self._changes([column[good] for column in (told, task, states, told_cpu, now[at])], pids.names)
        rows = self._rows(kinds, place, np.append(cpu, 0), np.append(now, 0))
        return Sifted(rows, changes, self._begun(kinds), lines[plain], now[plain])

    def _drop_works(self, kinds: NDArray[np.int8], watched: Collection[bytes]) -> None:
        """Drop of each task that is not watched what comes before the last work that it begins."""
        lines, begins, task = self._works, self._begins, self._task[self._works]
        last = np.full(len(self._tasks), -1)
        np.maximum.at(last, task[begins], lines[begins])
        watch = np.array([pid in watched for pid in self._tasks], np.bool_)
        dropped = (lines < last[task]) & ~watch[task]
        kinds[lines[dropped]] = np.where(begins[dropped], BEGINNING, DROPPED)

    def _begun(self, kinds: NDArray[np.int8]) -> Begun:
        lines = np.flatnonzero((kinds == BEGINS) | (kinds == BEGINNING))
        return Begun(self.text, *(column.tolist() for column in (lines, *self._limits(lines))))

    def _limits(self, lines: Numbers) -> tuple[Numbers, Numbers]:
        """Return where lines begin and end."""
        start = self._anchors[self._first[lines] - 1] + 1
        start[lines == 0] = 0
        return start, self._anchors[self._last[lines]]

    def _rows(self, kinds: NDArray[np.int8], place: Numbers, cpu: Numbers, now: Numbers) -> Iterator[Row]:
        """Return the lines that are to be read; of each line it is given at which place its CPU and time are."""
        lines = np.flatnonzero((kinds != DROPPED) & (kinds != BEGINNING))
        task = map(self._tasks.__getitem__, self._task[lines].tolist())
        before = [column.tolist() for column in (lines, kinds[lines], *self._limits(lines), self._head[lines])]
        at = place[lines]
        return zip(*before, task, cpu[at].tolist(), now[at].tolist(), strict=True)

    def _heads(self, lines: Numbers) -> tuple[Numbers, Numbers, Flags]:
        """Return CPU and time of lines, and whether they are plain up to their event."""
        head = np.minimum(self._head[lines], len(self._words) - 3 * _WORD - self.event)
        dot = head + self._dot
        cpu, fine = _digits(self._words[head + 4 - _WORD], 3)
        fine &= (self._bytes[head + 4] == _CLOSE) & (self._bytes[dot] == _DOT)
        seconds, written = _seconds(self._words[dot - _WORD], self._dot - _SECONDS_AT)
        now, told = _digits(self._words[dot + 1 + _MICROSECONDS - _WORD], _MICROSECONDS)
        now *= 1000
        if self._decimals > _MICROSECONDS:
            rest, told_too = _digits(self._words[dot + 4 + _MICROSECONDS - _WORD], 3)
            now += rest
            told &= told_too
        words, task = _distinct(self._words[np.maximum(head - _WORD, 0)])
        named = np.array([_PID.fullmatch(_text(word)) is not None for word in words], np.bool_)
        told &= (self._words[head + self.event - 2] & np.uint64(0xFFFF)) == _COLON
        told &= head - self._limits(lines)[0] <= _MAX_HEAD
        return cpu, seconds * 10**9 + now, fine & told & written & named[task]

    def _states(self, lines: Numbers, roles: Numbers) -> Numbers:
        """Return what lines tell of a task that they mention; it is told between its priority and the next blank."""
        bracket = self._anchors[self._first[lines] + 1]
        words = self._words[np.minimum(bracket, len(self._words) - 1)]
        state = np.zeros(len(lines), np.uint64)
        for digits in (3, 2, 1):
            behind = words >> np.uint64(8 * (1 + digits))
            state = np.where((behind & np.uint64(0xFFFF)) == _CLOSED, behind >> np.uint64(16), state)
        state &= np.uint64(0xFF)
        told = np.where((roles == _SLEEPS) & (state == _RUNNABLE), _STAYS, roles)
        return np.where((state != 0) & (bracket < len(self._words)), told, _UNTOLD)

    def _targets(self, lines: Numbers) -> tuple[Numbers, Flags]:
        """Return the CPUs with which wake-ups end, and whether they do."""
        words = self._words[self._anchors[self._last[lines]] - _WORD]
        cpu, told = _digits(words, 3)
        return cpu, told & ((words & np.uint64(2**40 - 1)) == _TARGET)

    def _changes(self, told: list[Numbers], names: list[bytes]) -> dict[bytes, Changes]:
        """Return by task what lines told of it; they are in the order of tasks, and of lines."""
        lines, task, state, cpu, now = told
        ends = np.searchsorted(task, np.arange(len(names) + 1), side="right").tolist()
        columns = [column.tolist() for column in (lines, now, _STATES[state], cpu)]
        wakes = state == _WOKEN
        found = {}
        for name, begin, end in zip(names, ends, ends[1:], strict=False):
            if begin < end:
                numbers, *changes = (column[begin:end] for column in columns)
                places = np.flatnonzero(wakes[begin:end]).tolist()
                found[name] = Changes(numbers, StateLog(*changes), places, self.line)
        return found


class _Pids:
    """Finds some pids among many words; numbers them from 1."""

    def __init__(self, pids: Collection[bytes]) -> None:
        self.names = sorted(pids)
        #: the last two characters of a pid, or the colon before its only one: is there any?
        self._likely = np.zeros(1 << 16, np.bool_)
        groups: dict[int, list[tuple[int, int]]] = {}
        for number, pid in enumerate(self.names, 1):
            word = int.from_bytes(b":" + pid, "little")
            self._likely[word >> 8 * (len(pid) - 1)] = True
            groups.setdefault(len(pid), []).append((word, number))
        self._groups = [(8 * (_WORD - 1 - size), *np.array(sorted(group)).T) for size, group in groups.items()]

    def among(self, words: Words) -> tuple[Numbers, Numbers]:
        """Return which words end with a colon, one of the pids and a blank, and the number of that pid."""
        likely = np.flatnonzero(self._likely[(words >> np.uint64(40)) & np.uint64(0xFFFF)])
        words = words[likely] << np.uint64(8)
        numbers = np.zeros(len(words), np.int64)
        for shift, known, number in self._groups:
            ends = (words >> np.uint64(shift)).astype(np.int64)
            place = np.minimum(np.searchsorted(known, ends), len(known) - 1)
            numbers += np.where(known[place] == ends, number[place], 0)
        hits = np.flatnonzero(numbers)
        return likely[hits], numbers[hits]


def _anchors(text: NDArray[np.uint8]) -> Numbers:
    """Return where newlines and opening brackets are; piece by piece, so that what is compared stays in the cache."""
    found = []
    for begin in range(0, max(1, len(text)), _PIECE):
        piece = text[begin : begin + _PIECE]
        places = ((piece == _NEWLINE) | (piece == _BRACKET)).nonzero()[0]
        places += begin
        found.append(places)
    return np.concatenate(found)


def _distinct(words: Words) -> tuple[Words, Numbers]:
    """Return the different ones of many words that are mostly alike, and of each word which of these it is."""
    slots = (words * _SPREAD) >> _TO_SLOT
    table = np.empty(_SLOTS, np.uint64)
    table[slots] = words
    if np.count_nonzero(table[slots] != words):  # two in one slot
        return np.unique(words, return_inverse=True)
    used = np.zeros(_SLOTS, np.bool_)
    used[slots] = True
    found = np.flatnonzero(used)
    number = np.empty(_SLOTS, np.int64)
    number[found] = np.arange(len(found))
    return table[found], number[slots]


def _seconds(words: Words, width: int) -> tuple[Numbers, Flags]:
    """Return the numbers that the last ``width`` characters of each word write, and whether they are written so.

    That is, blanks and then digits, one of each at least; a digit has a bit in its byte that a blank has not.
    """
    before = np.uint64(8 * max(0, _WORD - width))
    lanes = (((words >> before) << before) | np.uint64((1 << int(before)) - 1) & _BLANKS) ^ _BLANKS
    digit = (lanes >> np.uint64(4)) & _ONES
    lanes ^= digit << np.uint64(4)
    filled = digit * np.uint64(255)
    odd = ((lanes | (lanes + _SIXES)) & _UPPER) | (lanes & ~filled) | ((filled >> before) & np.uint64(255))
    return _joined(lanes), (odd == 0) & (filled + (filled & (~filled + _ONE)) == 0) & (filled != 0)


def _digits(words: Words, count: int) -> tuple[Numbers, Flags]:
    """Return the numbers that the last ``count`` characters of each word write, and whether they are digits."""
    unused = np.uint64(8 * (_WORD - count))
    lanes = ((words >> unused) ^ np.uint64(0x3030303030303030 >> int(unused))) << unused
    return _joined(lanes), ((lanes | (lanes + _SIXES)) & _UPPER) == 0


def _joined(lanes: Words) -> Numbers:
    """Return the number that eight lanes of a digit each write: two are joined at a time, then four, then all."""
    lanes = (lanes * np.uint64(10) + (lanes >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    lanes = (lanes * np.uint64(100) + (lanes >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    lanes = (lanes * np.uint64(10000) + (lanes >> np.uint64(32))) & np.uint64(0x00000000FFFFFFFF)
    return lanes.astype(np.int64)
