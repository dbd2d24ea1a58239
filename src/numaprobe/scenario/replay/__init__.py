"""A recorded trace as a scenario: what happened once, to happen again under other policies."""

from numaprobe.scenario.replay.build import replay_scenario
from numaprobe.scenario.replay.learn import learn
from numaprobe.scenario.replay.lessons import Lesson

__all__ = ["Lesson", "learn", "replay_scenario"]
