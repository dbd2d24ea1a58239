"""What a small installation leaves out: each extra, what it brings, and one line for who needs it and lacks it.

The core install predicts, records, compares and binds. What weighs more than all of that together is an extra of the
package: a PNG needs a renderer of 90 MB, Parquet a database of 65 MB. Who asks for such a thing calls ``need`` first,
so that a missing package is one line that says what to install, and never a traceback.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from numaprobe.errors import MissingInterfaceError

#: extra -> the modules that it brings and that we import; pyproject.toml says which packages have them
EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "pictures": ("altair", "vl_convert"),
    "data": ("duckdb",),
    "perfetto": ("perfetto",),
    "udev": ("pyudev",),
    "sampling": ("scipy",),
    "speed": ("numpy",),
    "cluster": ("distributed",),
}


def need(extra: str, what: str, *modules: str) -> None:
    """Return if an extra is installed.

    Args:
        extra: its name, one of ``EXTRAS``.
        what: what needs it, as the subject of a sentence: ``"a PNG picture"``.
        modules: which of its modules are needed; none named: all of them.

    Raises:
        MissingInterfaceError: it is not; the line says how to install it.

    """
    for module in modules or EXTRAS[extra]:
        try:
            import_module(module)
        except ImportError as error:
            text = f"{what} needs {module}, which is not here ({error}); pip install 'numaprobe[{extra}]'"
            raise MissingInterfaceError(text) from None
