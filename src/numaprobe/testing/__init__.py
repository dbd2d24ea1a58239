"""For authors of machines, and of what stands on them: the smallest honest machine, and the machine protocol as checks.

``FakeMachine`` is a machine for tests and to read first. ``check_machine`` holds a machine against every promise of
``numaprobe.runtime.protocol``, each on a machine of its own; ``CHECKS`` has them one by one, for a test suite.
"""

from numaprobe.testing.contract import CHECKS, check_machine
from numaprobe.testing.fake import FakeMachine

__all__ = ["CHECKS", "FakeMachine", "check_machine"]
