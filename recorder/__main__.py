"""The recorder's beginning: the commands that need nothing but Python, and how they are shown without tables."""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036  whoever copied it may have an older one
    sys.exit("numaprobe-record needs Python 3.11 or newer; docs/recording.md says what stops older ones")

from numaprobe.cli.registry import COMMANDS

#: the commands that are in this file; those that show tables by default write JSON here
KEPT = ("record", "status", "bind", "unbind", "rebind", "recover", "confirm", "history")
TABLES = frozenset(KEPT) - {"record", "confirm"}
CHOOSE = {"--json", "--format", "-f", "--output", "-o", "--save-plan", "--help", "-h"}

for name in set(COMMANDS) - set(KEPT):
    del COMMANDS[name]
words = [word.split("=")[0] for word in sys.argv]
if len(words) > 1 and words[1] in TABLES and not CHOOSE.intersection(words):
    sys.argv.insert(2, "--json")

from numaprobe.cli.main import main  # noqa: E402  the list of commands comes first

main()
