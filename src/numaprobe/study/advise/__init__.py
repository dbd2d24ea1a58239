"""Which settings of a stock kernel make probes faster, or more local: searched, each of them run.

Policies are for those who patch; settings are what everybody else has. ``advise`` finds what could be set on a machine
(``candidates``), keeps out what should stay as it is (``keptout``), runs selections of the rest (``search``,
``trials``), and says what to write (``lines``), beside what nothing can make faster (``bound``). See
``docs/advise.md``.
"""

from numaprobe.study.advise.advice import PATIENCE_S, advise
from numaprobe.study.advise.answer import Advice, Recommendation
from numaprobe.study.advise.as_json import advice_to_json
from numaprobe.study.advise.bound import Bound
from numaprobe.study.advise.choices import Choice, Kind, Selection, with_choices
from numaprobe.study.advise.goal import Goal, goal_of
from numaprobe.study.advise.keptout import Around, KeptOut, KeptOutReason
from numaprobe.study.advise.lines import Line
from numaprobe.study.advise.search import Searched, SearchProgress, pick
from numaprobe.study.advise.trials import Trial, Trials

__all__ = [
    "PATIENCE_S",
    "Advice",
    "Around",
    "Bound",
    "Choice",
    "Goal",
    "KeptOut",
    "KeptOutReason",
    "Kind",
    "Line",
    "Recommendation",
    "SearchProgress",
    "Searched",
    "Selection",
    "Trial",
    "Trials",
    "advice_to_json",
    "advise",
    "goal_of",
    "pick",
    "with_choices",
]
