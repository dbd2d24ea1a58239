"""Every order of a small scenario, policy or test: deadlocks, stalls, races of outcome, each with its schedule.

The choice itself is the machine's (``numaprobe.runtime.choice``). Here: who chooses (``bounded``, ``reduced``,
``chance``), what is run (``scenarios``, ``tests``), what counts as wrong (``waits``, ``model``), and the search that
joins them (``search``), shortens what it finds (``shorten``) and writes it as a text that repeats it (``replay``).
"""

from numaprobe.schedules.attempt import Subject
from numaprobe.schedules.bounded import STATE_BYTES
from numaprobe.schedules.classes import ClassCycle, TakenClass
from numaprobe.schedules.limits import STRATEGIES, Limits
from numaprobe.schedules.model import ChosenRun, ChosenStep, Ending, Party, Verdict
from numaprobe.schedules.once import explored_once
from numaprobe.schedules.programs import OrderError, Program, explore, load_program
from numaprobe.schedules.replay import faults_of, patience_of
from numaprobe.schedules.rest import Rest, read_rest, write_rest
from numaprobe.schedules.scenarios import FAULTS, ScenarioSubject, repeat
from numaprobe.schedules.search import ClaimedCycle, Explored, Found, Search
from numaprobe.schedules.things import Drain, Lifetime, SharedCell, acquire_interruptible, signalled

__all__ = [
    "FAULTS",
    "STATE_BYTES",
    "STRATEGIES",
    "ChosenRun",
    "ChosenStep",
    "ClaimedCycle",
    "ClassCycle",
    "Drain",
    "Ending",
    "Explored",
    "Found",
    "Lifetime",
    "Limits",
    "OrderError",
    "Party",
    "Program",
    "Rest",
    "ScenarioSubject",
    "Search",
    "SharedCell",
    "Subject",
    "TakenClass",
    "Verdict",
    "acquire_interruptible",
    "explore",
    "explored_once",
    "faults_of",
    "load_program",
    "patience_of",
    "read_rest",
    "repeat",
    "signalled",
    "write_rest",
]
