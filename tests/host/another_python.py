"""Makes this Python's asyncio one with other private names, as another release may have them.

A pytest plugin (``-p another_python``) that reads ``PRIVATE_NAME``: the name is another one then in all of asyncio,
code included, so that asyncio itself works as before. To be loaded before numaprobe is.
"""

from __future__ import annotations

import os
import sys
from types import CodeType, FunctionType, ModuleType
from typing import Any


def rename(name: str) -> None:
    """Rename a private name throughout asyncio."""
    if name == "_asyncio_future_blocking":
        sys.modules["_asyncio"] = None  # type: ignore[assignment]  the C part has it built in: take the part in Python
    import asyncio

    other = f"{name}_of_another_python"
    modules = [module for key, module in sys.modules.items() if key.partition(".")[0] == asyncio.__name__]
    for module in modules:
        for thing in tuple(vars(module).values()):
            if isinstance(thing, type) and thing.__module__.partition(".")[0] == asyncio.__name__:
                _rename_in(thing, name, other)
        _rename_in(module, name, other)


def _rename_in(holder: type | ModuleType, name: str, other: str) -> None:
    for thing in tuple(vars(holder).values()):
        for function in _functions(thing):
            function.__code__ = _renamed(function.__code__, name, other)
    if name in vars(holder):
        setattr(holder, other, vars(holder)[name])
        delattr(holder, name)


def _functions(thing: Any) -> list[FunctionType]:
    parts = (thing.fget, thing.fset) if isinstance(thing, property) else (getattr(thing, "__func__", thing),)
    return [part for part in parts if isinstance(part, FunctionType) and part.__module__.startswith("asyncio")]


def _renamed(code: CodeType, name: str, other: str) -> CodeType:
    names = tuple(other if one == name else one for one in code.co_names)
    constants = tuple(
        _renamed(one, name, other) if isinstance(one, CodeType) else other if one == name else one
        for one in code.co_consts
    )
    return code.replace(co_names=names, co_consts=constants)


if "PRIVATE_NAME" in os.environ:
    rename(os.environ["PRIVATE_NAME"])
