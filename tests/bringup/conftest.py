"""What the tests of this folder share."""

from pathlib import Path

import pytest
from bringup_world import BringupWorld


@pytest.fixture
def world(tmp_path: Path) -> BringupWorld:
    return BringupWorld(tmp_path)
