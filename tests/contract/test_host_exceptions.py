"""The list of what the host machine cannot carry is itself checked: no name of a test that is gone, a reason each."""

from __future__ import annotations

import ast
from pathlib import Path

from host_exceptions import HOST_EXCEPTIONS, HOST_FOLDERS

TESTS = Path(__file__).parent.parent


def test_exceptions_are_tests_and_have_reasons() -> None:
    names = {
        node.name
        for folder in HOST_FOLDERS
        for path in (TESTS / folder).glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert set(HOST_EXCEPTIONS) <= names
    assert all(len(reason) > 20 for reason in HOST_EXCEPTIONS.values())
