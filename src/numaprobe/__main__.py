"""``python -m numaprobe`` is the command."""

from numaprobe.cli.main import main

main()
