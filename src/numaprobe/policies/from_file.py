"""A policy from a file: ``./mine.py:MyPolicy``. A reviewer has ten lines, not a package.

The file is run as a module of its own, once for each content that it has had: it may be edited between two runs in
one notebook. A policy from a file survives pickling wherever the file is: it is made again from the file.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numaprobe.errors import InputError, UnknownNameError
from numaprobe.policies.base import Policy

if TYPE_CHECKING:
    from types import ModuleType


def load_policy(spec: str) -> type[Policy]:
    """Return the class that ``FILE.py:CLASS`` names.

    Raises:
        InputError: the file cannot be read or does not run, or the class is no policy; with the file's line.
        UnknownNameError: the file has no such class; the nearest policy in it is named.

    """
    file, _, name = spec.rpartition(":")
    path = Path(file)
    module = module_of(path)
    own = {policy.__name__: policy for policy in _policies_in(module)}
    if name not in own:
        if hasattr(module, name):
            raise InputError(f"{name} is no subclass of numaprobe's Policy that is defined here", file)
        raise UnknownNameError(f"policy class in {file}", name, own or ("none: no class here is a Policy",))
    return own[name]


def _policies_in(module: ModuleType) -> list[type[Policy]]:
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Policy)]
    return [policy for policy in found if policy.__module__ == module.__name__]


def module_of(path: Path) -> ModuleType:
    """Return a file as a module: run once for each content that it has had.

    Raises:
        InputError: it cannot be read, or does not run; with its line.

    """
    try:
        stat = path.stat()
        key = f"_numaprobe_policy_{abs(hash((str(path.resolve()), stat.st_mtime_ns, stat.st_size))):x}"
        if key in sys.modules:
            return sys.modules[key]
        path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}", str(path)) from None
    found = importlib.util.spec_from_file_location(key, path)
    if found is None or found.loader is None:
        raise InputError("is no Python file", str(path))
    module = importlib.util.module_from_spec(found)
    sys.modules[key] = module  # dataclasses look their module up there
    try:
        found.loader.exec_module(module)
    except Exception as error:
        del sys.modules[key]
        raise InputError(_reason(error, path), str(path)) from error
    for policy in _policies_in(module):
        policy.source = f"{path.resolve()}:{policy.__name__}"
        setattr(policy, "__reduce__", _reduce)  # noqa: B010  for the classes of this file alone
    return module


def _reason(error: Exception, path: Path) -> str:
    """Return what went wrong, with the line of the file."""
    frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = getattr(error, "lineno", None) or (frames[-1] if frames else None)
    text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return f"does not run: {text}" + (f" (line {line})" if line else "")


def _reduce(policy: Policy) -> tuple[Any, ...]:
    return _again, (policy.source, {field.name: getattr(policy, field.name) for field in fields(policy)})


def _again(spec: str, values: dict[str, Any]) -> Policy:
    return load_policy(spec)(**values)
