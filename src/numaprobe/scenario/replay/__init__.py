"""A recorded trace as a scenario: what happened once, to happen again under other policies."""

from numaprobe.scenario.replay.build import replay_scenario

__all__ = ["replay_scenario"]
