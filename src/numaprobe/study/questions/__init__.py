"""What people ask of many runs: prepared questions, each a small table made by SQL over ``datasets.Views``.

* ``best``: which setting is the best, for each machine (or whatever else it is asked for).
* ``cost``: what a policy costs where, beside the best one at the same place.
* ``sensitivity``: which knob matters: main effects, and interactions of two.
* ``front``: which settings nobody beats in makespan and in share on node at once.
* ``heat``: one figure over two axes.

What varies is divided in two. *Conditions* are what one meets: the machine, how many devices there are, the seed,
anything that was sampled between two numbers. *Settings* are what one chooses: all else. A run that did not pass has no
figures here and is counted.
"""

from numaprobe.study.questions.frame import METRICS, AskedTable, RunsFrame, frame_of
from numaprobe.study.questions.prepared import QUESTIONS, ask

__all__ = ["METRICS", "QUESTIONS", "AskedTable", "RunsFrame", "ask", "frame_of"]
