"""``numaprobe bind``: devices to their drivers, each from a thread on its node."""

from __future__ import annotations

from numaprobe.cli import act, bringup, options


def bind(
    devices: act.Devices = None,
    *,
    driver: act.Driver = None,
    jobs: act.Jobs = None,
    deadline: act.Deadline = None,
    policy: act.Policy = "migrate-caller",
    allow: act.Allow = None,
    dry_run: act.DryRun = False,
    save_plan: act.SavePlan = None,
    plan: act.FromPlan = None,
    try_for: act.Try = None,
    record: act.Record = False,
    memory: act.Memory = False,
    root: bringup.Root = None,
    state: options.State = None,
    format: options.Format = None,  # noqa: A002  the option's name
    as_json: options.Json = False,
    output: options.Output = None,
) -> int:
    """Bind devices that have no driver, in parallel where that is known to be safe, each write from the device's node.

    DEVICE is a name (0000:81:00.0, 81:00.0, virtio3), a pattern ('0000:8?:*'), or driver=NAME, class=KIND,
    id=VENDOR:DEVICE, node=N, group=N, bus=NAME. Everything is journalled before it is done: numaprobe history.

    Examples: numaprobe bind class=nvme --dry-run | numaprobe bind 0000:81:00.0 --driver vfio-pci --try 120s

    Exit code 1: a device is refused, or is not as asked.
    """
    asked = act.Asked(
        action="bind",
        devices=devices or (),
        driver=driver,
        jobs=jobs,
        deadline=deadline,
        policy=policy,
        allow=allow or (),
        dry_run=dry_run,
        save_plan=save_plan,
        plan=plan,
        try_for=try_for,
        record=record,
        memory=memory,
        root=root,
        state=state,
    )
    return act.act(asked, name=format, as_json=as_json, output=output)
