"""The entry point: parse, run one command, and turn whatever happens into one line and an exit code.

========  ==============================================================================================
exit      meaning
========  ==============================================================================================
0         done
1         done, and a gate or a check failed
2         bad input or usage
3         not permitted, or not possible here
70        a bug in numaprobe (``EX_SOFTWARE``); ``NUMAPROBE_DEBUG=1`` shows the traceback
130       interrupted (Ctrl-C), 143 terminated
141       the reader of our output went away (``| head``): what a shell reports for SIGPIPE
========  ==============================================================================================

Errors are one line on standard error: ``numaprobe: what, where, what to do``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Annotated, Final, NoReturn

import typer

from numaprobe import __version__
from numaprobe.cli.group import LazyGroup, plain_app
from numaprobe.cli.say import complain
from numaprobe.errors import InternalError, KernelInterfaceError, NumaprobeError, TerminatedError

BUG: Final = 70
INTERRUPTED: Final = 130
TERMINATED: Final = 143
PIPE_CLOSED: Final = 141

#: set where a shell asks how a word could end
_COMPLETE: Final = "_NUMAPROBE_COMPLETE"

#: click's root of usage errors. typer brings its own copy of click since 0.2x, so it is found through typer's name.
_ClickError: Final = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")

app = plain_app(cls=LazyGroup, no_args_is_help=False, invoke_without_command=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"numaprobe {__version__}\n")
        raise typer.Exit


def _show_completion(shell: str | None) -> None:
    if shell is not None:
        from numaprobe.cli.completing import completion_script

        sys.stdout.write(completion_script(shell))
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  the callback acts on it
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    completion: Annotated[  # noqa: ARG001  the callback acts on it
        str | None,
        typer.Option(
            "--show-completion",
            metavar="SHELL",
            callback=_show_completion,
            is_eager=True,
            help="Print what completes commands in bash, zsh or fish, and exit.",
        ),
    ] = None,
) -> None:
    """Predict, record and compare where Linux probes devices on a NUMA machine.

    Start with: numaprobe compare nvme-epyc
    """
    if context.invoked_subcommand is None:
        sys.stdout.write(context.get_help() + "\n")


def main() -> NoReturn:
    """Run the command that the process was called with, and exit."""
    _set_up_process()
    code = run_command(sys.argv[1:])
    sys.exit(_flush(code))


def _set_up_process() -> None:
    """Let SIGTERM unwind (so that no temporary file stays), and let no character and no closed stream stop us."""
    signal.signal(signal.SIGTERM, _terminate)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115  stays open as the stream it stands for
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a replaced stream lacks it


def _terminate(*_: object) -> NoReturn:
    raise TerminatedError


def run_command(arguments: list[str]) -> int:
    """Run one command line; return its exit code."""
    if _COMPLETE in os.environ:
        from numaprobe.cli.completing import prepare

        prepare()
    try:
        result = app(arguments, prog_name="numaprobe", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except TerminatedError:
        return TERMINATED
    except SystemExit as leaving:
        # rich and click end the process themselves when the pipe is closed
        if not isinstance(leaving.__context__, OSError):
            raise
        return PIPE_CLOSED
    except BrokenPipeError:
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001  this is the last place where anything can be said
        return _explain(error)
    code = result if isinstance(result, int) else 0
    return _complain("interrupted", code) if code == INTERRUPTED else code


def _explain(error: Exception) -> int:
    if isinstance(error, typer.Exit):
        return int(error.exit_code)
    if os.environ.get("NUMAPROBE_DEBUG") and not isinstance(error, _ClickError):
        raise error
    return _complain(*_in_one_line(error))


def _in_one_line(error: Exception) -> tuple[str, int]:
    """Return what to say about an error, and the exit code."""
    if isinstance(error, _ClickError):
        text = getattr(error, "format_message", error.__str__)()
        return f"{text.rstrip('.')}{_usage_hint(error)}", NumaprobeError.exit_code
    if isinstance(error, NumaprobeError) and not isinstance(error, InternalError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError):
        return "out of memory; use fewer devices or a smaller machine", KernelInterfaceError.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", KernelInterfaceError.exit_code
    text = f"this is a bug in numaprobe, please report it: {type(error).__name__}: {error}"
    return f"{text} (NUMAPROBE_DEBUG=1 shows where)", BUG


def _usage_hint(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return f"; see '{context.command_path} --help'" if context is not None else ""


def _complain(text: str, code: int) -> int:
    complain(text)
    return code


def _flush(code: int) -> int:
    """Write what is still buffered; a reader that went away is no error of ours."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = PIPE_CLOSED
    except (OSError, ValueError) as error:
        code = code or _complain(f"standard output: {error}", KernelInterfaceError.exit_code)
    if code:
        # What could not be written must not be tried again, with a traceback, when the interpreter ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
