"""Completion in bash, zsh and fish: the script for each shell, and the values of options that have names.

typer answers a shell's question by building the command line in this process, so what is offered is what the command
takes. The names of commands come from the registry, without importing one. Where nothing is offered, the shell offers
files.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import typer

from numaprobe.cli.registry import COMMANDS
from numaprobe.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: shell -> where its script is looked for, below the ``share`` of a prefix
SHELLS: Final = {
    "bash": "bash-completion/completions/numaprobe",
    "zsh": "zsh/site-functions/_numaprobe",
    "fish": "fish/vendor_completions.d/numaprobe.fish",
}


def completion_script(shell: str) -> str:
    """Return the script that a shell reads once, to ask us from then on.

    Raises:
        UnknownNameError: it is none of ``SHELLS``.

    """
    if shell not in SHELLS:
        raise UnknownNameError("shell", shell, SHELLS)
    script = str(
        _typers().get_completion_script(prog_name="numaprobe", complete_var="_NUMAPROBE_COMPLETE", shell=shell)
    )
    if shell == "zsh":
        # read from fpath the file is the function's body, which has to complete the first time, too
        script += '\n\nif [[ "${funcstack[1]}" == _numaprobe ]]; then _numaprobe_completion "$@"; fi'
    return f"{script}\n"


def prepare() -> None:
    """Tell click of the shells; needed before a shell's question is answered."""
    _typers().completion_init()


def _typers() -> Any:  # noqa: ANN401  typer's module, which declares no name of it as public
    return import_module("typer.completion")


def command_items(incomplete: str) -> list[Any]:
    """Return the commands that begin so, each with its line, as click's items."""
    error = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")
    item = import_module(error.__module__.rpartition(".")[0] + ".shell_completion").CompletionItem
    return [item(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]


def _of(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def policy_names(incomplete: str) -> list[str]:
    """Return the policies that begin so."""
    from numaprobe.policies import all_policies

    return _of(all_policies(), incomplete)


def scenario_names(incomplete: str) -> list[str]:
    """Return the built-in scenarios that begin so."""
    from numaprobe.scenario.catalogue import builtin_names

    return _of(builtin_names(), incomplete)


def machine_names(incomplete: str) -> list[str]:
    """Return the presets that begin so, and ``host``."""
    from numaprobe.topology import PRESETS

    return _of((*PRESETS, "host"), incomplete)


def kernel_releases(incomplete: str) -> list[str]:
    """Return the releases that begin so, of those that were seen row by row."""
    from numaprobe.runtime.profile import PROFILES

    return _of(PROFILES, incomplete)
