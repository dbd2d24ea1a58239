"""Adapters to the real kernel: sysfs, tracefs, logs, the lab."""
