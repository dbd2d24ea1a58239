"""Before and after, or prediction and measurement: do they agree, and how sure is that?

``sides`` says what may be compared, ``figures`` pairs and tests, ``places`` counts where probes ran, ``verdict`` and
``prediction`` put it into one sentence. ``verify`` does it all.
"""

from __future__ import annotations

from numaprobe.analysis.verify.sides import VerifiedSide
from numaprobe.analysis.verify.verification import VERIFY_SCHEMA, Verification, verify

__all__ = ["VERIFY_SCHEMA", "Verification", "VerifiedSide", "verify"]
