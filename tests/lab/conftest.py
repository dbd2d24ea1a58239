"""What a real guest needs; where it is missing, its tests are left out, loudly."""

from __future__ import annotations

import pytest

from numaprobe.errors import KernelInterfaceError
from numaprobe.kernel.lab.fetch import fetch_kernel
from numaprobe.kernel.lab.tools import KernelImage, Tools, find_kernel, find_tools


@pytest.fixture(scope="session")
def tools() -> Tools:
    try:
        return find_tools()
    except KernelInterfaceError as error:
        pytest.skip(f"NO GUEST WAS BOOTED, nothing was tested on a kernel: {error}")


@pytest.fixture(scope="session")
def kernel(tools: Tools) -> KernelImage:
    try:
        return find_kernel()
    except KernelInterfaceError:
        try:
            return fetch_kernel("6.1")
        except KernelInterfaceError as error:
            pytest.skip(f"NO GUEST WAS BOOTED, nothing was tested on a kernel: {error}")
