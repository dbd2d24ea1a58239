"""``numaprobe recover``: finish or undo what a run left behind."""

from typing import TYPE_CHECKING

from numaprobe.cli import options
from numaprobe.cli.output import Shape, choose_format, text_shape, to_json, write
from numaprobe.cli.say import exit_code, tell

if TYPE_CHECKING:
    from typing import TextIO

    from numaprobe.bringup.recover import Recovery


def recover(
    state: options.State = None,
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Finish or undo what a killed run left open, and undo a try that waits for confirm; say which of the two.

    A device that has the driver it was asked for keeps it; any other goes back to driver and override as before. Runs
    of an earlier boot are closed.

    Exit code 1: a device is neither as asked nor as before.
    """
    from numaprobe.bringup.recover import recover as recover_all
    from numaprobe.bringup.session import tools_for

    shapes = {"json": text_shape(_json), "table": Shape(stream=_table)}
    chosen = choose_format(None, as_json, output, shapes)
    found = recover_all(tools_for(state=state))
    for text in found.warnings:
        tell(text)
    write(found, shapes[chosen], chosen, output)
    failures = [] if found.is_whole else ["a device is neither as asked nor as before; its line says what there is"]
    return exit_code(failures, chosen, output)


def _json(found: "Recovery") -> str:
    from numaprobe.bringup.recover import recovery_to_dict

    return to_json(recovery_to_dict(found))


def _table(found: "Recovery", stream: "TextIO") -> None:
    from numaprobe.report.history import print_recovery

    print_recovery(found, stream)
