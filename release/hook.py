"""The build's hook: the folder ``share`` goes into the sdist, and from there below the prefix of an installation.

``make dist`` writes the folder; a build without it gives a wheel without manual pages and completions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShareHook(BuildHookInterface[Any]):
    """Adds ``share`` where there is one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folder to what is built; an editable installation is left as it is."""
        share = Path(self.root) / "share"
        if version != "editable" and share.is_dir():
            key = "shared_data" if self.target_name == "wheel" else "force_include"
            build_data.setdefault(key, {})[str(share)] = "share"
