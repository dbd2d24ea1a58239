"""``numaprobe confirm``: keep what a try did."""

import typer

from numaprobe.cli import options


def confirm(state: options.State = None) -> int:
    """Keep what bind, unbind or rebind --try did; without this word it is undone when its time is up."""
    from numaprobe.bringup.session import tools_for
    from numaprobe.bringup.told import counts_of
    from numaprobe.bringup.trying import confirm as confirm_run

    run = confirm_run(tools_for(state=state))
    typer.echo(f"run {run.id} stays: {counts_of(run)}")
    return 0
