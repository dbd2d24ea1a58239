"""Thousands of what-ifs: a space of settings, run by many processes or machines, and kept as a dataset.

``space`` says what varies, ``question`` where that is written, ``batch`` what a worker does with some of it, ``crew``
and ``cluster`` who the workers are, ``kept`` what is on disk before it is a dataset, ``driver`` who does what and when.

**What the result depends on** is the space alone: a run's number is its place there, a worker gives the rows of the
runs it was given, and the dataset is made of all of them in the order of the numbers. How many workers there were, who
was how fast, who died and was replaced, whether it was stopped and went on the next day: nothing of it changes a byte.

**What is never lost**: a batch is on disk, synced, before it is counted as done. What crashes, wherever, costs the
batches that were on their way. **What never happens twice**: a range of runs is given out once; it is given out again
only if its worker is known to have died.

**Who dies of what.** A worker that dies may have been killed by somebody, or by what it ran. Its batch is tried once
more as it is; then with care: run by children of the worker, halved until the run that kills them is alone. A run that
kills three children on its own is a row that says so.
"""
