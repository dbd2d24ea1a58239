"""``numaprobe history``: what was done to devices, and when."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from numaprobe.cli import options
from numaprobe.cli.output import Shape, choose_format, text_shape, to_json, write

if TYPE_CHECKING:
    from typing import TextIO

    from numaprobe.bringup.history import History


def history(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="The changes of this one.")] = None,
    state: options.State = None,
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """List what bind, unbind, rebind and the boot did to devices, and when; or the changes of one run.

    numaprobe history | numaprobe history 5f0c2a91 --json
    """
    from numaprobe.bringup.clock import system_clock
    from numaprobe.bringup.history import History, read_history
    from numaprobe.bringup.state import STATE
    from numaprobe.bringup.told import history_to_dict
    from numaprobe.errors import UnknownNameError

    boot = system_clock().boot
    found = read_history(Path(state or STATE))
    if run is not None:
        chosen = tuple(one for one in found.runs if one.id == run)
        if not chosen:
            raise UnknownNameError("run", run[:40], [one.id for one in found.runs] or ["none yet"])
        found = History(chosen, found.damaged)

    def table(history: "History", stream: "TextIO") -> None:
        from numaprobe.report.history import print_history, print_run

        if run is None:
            print_history(history, boot, stream)
        else:
            print_run(history.runs[0], boot, stream)

    shapes = {"json": text_shape(lambda history: to_json(history_to_dict(history, boot))), "table": Shape(stream=table)}
    chosen_format = choose_format(None, as_json, output, shapes)
    write(found, shapes[chosen_format], chosen_format, output)
    return 0
