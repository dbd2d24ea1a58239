"""Where a probe runs and who waits for it: one small class per file; the folder is the catalogue."""

from numaprobe.policies.base import NodeWork, Policy
from numaprobe.policies.catalogue import POLICIES, all_policies, make_policy, policy_options

__all__ = ["POLICIES", "NodeWork", "Policy", "all_policies", "make_policy", "policy_options"]
