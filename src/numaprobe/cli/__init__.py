"""The command ``numaprobe``: one file per command."""
