"""Where a probe runs and which task waits for it: one small class per file; the folder is the catalogue.

A policy is a frozen value; ``policy.place(core)`` gives the placement that one run asks. To write one: subclass
``Policy`` (or ``NodeWork``), override one method, name it ``./mine.py:MyPolicy``; see ``docs/policies.md``.
"""

from numaprobe.policies.base import NodeWork, OwnQueue, Policy, PolicyPlacement
from numaprobe.policies.catalogue import POLICIES, all_policies, broken_policies, make_policy, policy_options

__all__ = [
    "POLICIES",
    "NodeWork",
    "OwnQueue",
    "Policy",
    "PolicyPlacement",
    "all_policies",
    "broken_policies",
    "make_policy",
    "policy_options",
]
