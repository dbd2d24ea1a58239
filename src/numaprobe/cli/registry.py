"""The list of commands. A new command is one line here and one file beside this one.

A command's file is imported when that command is run, not before: `numaprobe --help` must answer at once. The file
has a function named like the module (``unbind`` -> ``cli/unbind.py: unbind``), typed for typer; its docstring is the
command's help.
"""

from __future__ import annotations

from typing import Final

#: name -> what it does, one line, as in ``numaprobe --help``
COMMANDS: Final[dict[str, str]] = {
    "compare": "every policy side by side, or recorded traces",
    "advise": "which settings of a stock kernel would help",
    "sweep": "thousands of settings, run by many processes or machines",
    "query": "SQL and prepared questions over many runs",
    "run": "one scenario under one policy",
    "explore": "one scenario under one policy in every order: what hangs, what comes out differently",
    "report": "what a recorded trace says",
    "verify": "a prediction, or before, against what was measured",
    "collect": "the traces of many hosts into one dataset",
    "fleet": "what the traces of many hosts say together",
    "record": "watch the running kernel probe devices",
    "bind": "devices to their drivers, each from its node, under guard and journal",
    "unbind": "devices from their drivers",
    "rebind": "devices from their drivers and back, or to another",
    "recover": "finish or undo what a run left open",
    "confirm": "keep what a try did to devices",
    "install": "carry a plan out at every boot",
    "uninstall": "take away what install put there",
    "history": "what was done to devices, and when",
    "lab": "boot a kernel in QEMU and record a scenario there",
    "review": "a patch, built and booted beside its base",
    "placement": "every policy on real CPUs, beside the prediction",
    "status": "devices, what uses them, and whether they may be touched",
    "topology": "a machine's nodes, caches and CPUs, and its isolation",
    "policies": "where a probe may run, and whose idea that was",
    "scenarios": "the built-in scenarios",
}
