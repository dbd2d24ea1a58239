"""Points that cover a space evenly, from SciPy (extra ``sampling``)."""

from __future__ import annotations

from typing import Any

from numaprobe.extras import need


def latin_hypercube(axes: int, points: int, seed: int) -> Any:  # noqa: ANN401  an array of numpy's
    """Return points of the unit cube, one row each: of any axis every one of ``points`` equal parts holds one.

    Source: McKay, Beckman, Conover 1979; ``scipy.stats.qmc.LatinHypercube``.

    Raises:
        MissingInterfaceError: SciPy is not installed.

    """
    need("sampling", "--random")
    from scipy.stats import qmc

    return qmc.LatinHypercube(d=axes, rng=seed).random(points)
