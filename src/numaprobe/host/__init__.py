"""The host machine: real threads on real CPUs."""
