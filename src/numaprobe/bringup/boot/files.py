"""The files that bring devices up at boot: what each is for, and in which order the boot takes them.

::

    numaprobe-hold.service      before udev loads drivers: the devices are held
    40-numaprobe.rules          devices that come while we hold are held, too
    numaprobe-bringup.service   binds them node-locally; whatever becomes of it, ``release`` comes last (ExecStopPost)
    numaprobe-release.timer     after the limit ``release`` comes in any case, by itself

Each ``release`` is a shell script that needs nothing of ours: a deleted Python, a broken plan or a driver that hangs
end in a machine that boots as without us, at the latest when the limit is over. ``numaprobe=off`` on the kernel's
command line does the same from the beginning.

In an initramfs there is no Python: there the same script binds, from the CPUs of the list.

Sources: systemd.unit(5), systemd.service(5), bootup(7), udev(7), dracut.modules(7), initramfs-tools(7).
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final, Literal

from numaprobe.bringup.boot.plan import LATER, device_list, module_list
from numaprobe.bringup.plan import dump_plan

if TYPE_CHECKING:
    from numaprobe.bringup.plan import Plan

Where = Literal["system", "dracut", "initramfs-tools"]

HOME: Final = "etc/numaprobe"
_UNITS: Final = "etc/systemd/system"
_RULES: Final = "etc/udev/rules.d/40-numaprobe.rules"
_SCRIPT: Final = f"/{HOME}/boot.sh"
#: a unit that must be there before most others, and must not stop a shutdown
_EARLY: Final = f"""\
DefaultDependencies=no
Conflicts=shutdown.target
ConditionPathExists={_SCRIPT}
ConditionKernelCommandLine=!numaprobe=off
"""
#: seconds that holding and stopping may take at least: a few writes that do not probe
_SHORT: Final = 10


def boot_files(plan: Plan, where: Where, *, python: str, limit_s: int) -> dict[str, str]:
    """Return the files to install: name below the root, content. Those that begin with ``#!`` are programs.

    Args:
        plan: for the boot (``boot_plan``).
        where: the system's own units; or an initramfs.
        python: what runs numaprobe.
        limit_s: seconds after which everything is as without us.

    """
    common = {
        f"{HOME}/plan.json": dump_plan(plan),
        f"{HOME}/devices": device_list(plan),
        f"{HOME}/modules": module_list(plan),
        f"{HOME}/boot.sh": files("numaprobe.bringup.boot").joinpath("boot.sh").read_text(encoding="utf-8"),
        f"{_UNITS}/numaprobe-release.service": _release_service(limit_s),
        f"{_UNITS}/numaprobe-release.timer": _release_timer(limit_s),
        _RULES: _rules(plan),
    }
    if where == "dracut":
        return common | _dracut(limit_s)
    if where == "initramfs-tools":
        return common | _initramfs_tools(limit_s)
    return common | {
        f"{_UNITS}/numaprobe-hold.service": _hold_service(limit_s),
        f"{_UNITS}/numaprobe-bringup.service": _bringup_service(python, limit_s),
    }


def boot_links(where: Where) -> dict[str, str]:
    """Return the links that have systemd start the units: name below the root, target."""
    units = ["numaprobe-release.timer"]
    if where == "system":
        units += ["numaprobe-hold.service", "numaprobe-bringup.service"]
    return {f"{_UNITS}/sysinit.target.wants/{unit}": f"../{unit}" for unit in units}


# ---- systemd ---------------------------------------------------------------------------------------------------------
def _hold_service(limit_s: int) -> str:
    return f"""\
[Unit]
Description=Hold devices back until numaprobe brings them up
{_EARLY}Before=systemd-modules-load.service systemd-udev-trigger.service shutdown.target

[Service]
Type=oneshot
ExecStart=/bin/sh {_SCRIPT} hold
TimeoutStartSec={max(_SHORT, limit_s // 2)}

[Install]
WantedBy=sysinit.target
"""


def _bringup_service(python: str, limit_s: int) -> str:
    # KillMode: a task that a driver keeps in the kernel cannot be killed, and nobody shall wait for it
    return f"""\
[Unit]
Description=Bring devices up on their NUMA node (numaprobe)
{_EARLY}After=numaprobe-hold.service systemd-udev-trigger.service
Wants=local-fs-pre.target
Before=local-fs-pre.target shutdown.target

[Service]
Type=oneshot
ExecStartPre=-/bin/sh {_SCRIPT} load
ExecStart={_quoted(python)} -m numaprobe.bringup.boot.bring /{HOME}/plan.json /run/numaprobe/journal
ExecStopPost=/bin/sh {_SCRIPT} release
TimeoutStartSec={limit_s}
TimeoutStopSec={_SHORT}
KillMode=process

[Install]
WantedBy=sysinit.target
"""


def _release_service(limit_s: int) -> str:
    return f"""\
[Unit]
Description=Give devices that numaprobe held back to the kernel
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
ConditionPathExists={_SCRIPT}

[Service]
Type=oneshot
ExecStart=/bin/sh {_SCRIPT} release
TimeoutStartSec={limit_s}
"""


def _release_timer(limit_s: int) -> str:
    return f"""\
[Unit]
Description=Whatever became of numaprobe, its devices are the kernel's after {limit_s} s
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
ConditionPathExists={_SCRIPT}

[Timer]
OnActiveSec={limit_s}
AccuracySec=1

[Install]
WantedBy=sysinit.target
"""


def _quoted(path: str) -> str:
    """Return a path as systemd.service(5) wants a word of a command line."""
    plain = path.replace("%", "%%").replace("$", "$$")
    return plain if plain.isprintable() and not set(plain) & set(" \"'\\;") else '"' + _escaped(plain) + '"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


# ---- udev ------------------------------------------------------------------------------------------------------------
def _rules(plan: Plan) -> str:
    """Return the rules that hold a device which is found while we hold; before the rules that load drivers."""
    lines = [
        "# Devices that numaprobe brings up: held while it holds (/run/numaprobe/holding), left alone afterwards.",
        'ACTION!="add", GOTO="numaprobe_end"',
        'TEST!="/run/numaprobe/holding", GOTO="numaprobe_end"',
    ]
    lines += [
        f'SUBSYSTEM=="{change.bus}", KERNEL=="{_matched(change.name)}", DRIVER=="", '
        f'ATTR{{driver_override}}=="(null)", ATTR{{driver_override}}="{LATER}"'
        for change in plan.changes
    ]
    return "\n".join([*lines, 'LABEL="numaprobe_end"']) + "\n"


def _matched(name: str) -> str:
    """Return a name that udev takes literally: its patterns have ``*``, ``?``, ``[`` and ``|``."""
    return "".join(char if char.isalnum() or char in ":._-" else "?" for char in name)


# ---- an initramfs ----------------------------------------------------------------------------------------------------
def _dracut(limit_s: int) -> dict[str, str]:
    folder = "usr/lib/dracut/modules.d/90numaprobe"
    hooks = {"hold": ("pre-udev", "00"), "bring": ("pre-mount", "05"), "release": ("cleanup", "05")}
    installs = "\n".join(
        f'    inst_hook {hook} {order} "$moddir/numaprobe-{verb}.sh"' for verb, (hook, order) in hooks.items()
    )
    return {
        f"{folder}/module-setup.sh": f"""\
#!/bin/bash
# Brings devices up on their NUMA node before the root file system is mounted (numaprobe).
check() {{
    [ -e "${{dracutsysrootdir-}}{_SCRIPT}" ] && return 0
    return 1
}}

depends() {{
    return 0
}}

installkernel() {{
    hostonly='' instmods $(cat /{HOME}/modules)
}}

install() {{
    inst_simple {_SCRIPT}
    inst_simple /{HOME}/devices
    inst_simple /{HOME}/modules
    inst_multiple -o taskset modprobe
    inst_multiple mkdir mv cat sleep
{installs}
}}
""",
        **{
            f"{folder}/numaprobe-{verb}.sh": f"#!/bin/sh\ngetarg numaprobe=off >/dev/null || {_script(verb, limit_s)}\n"
            for verb in hooks
        },
    }


def _initramfs_tools(limit_s: int) -> dict[str, str]:
    base = "etc/initramfs-tools"
    places = {"hold": "init-top", "bring": "local-top", "release": "local-bottom"}
    return {
        f"{base}/hooks/numaprobe": f"""\
#!/bin/sh
# Brings devices up on their NUMA node before the root file system is mounted (numaprobe).
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
mkdir -p "$DESTDIR/{HOME}"
cp -p {_SCRIPT} /{HOME}/devices /{HOME}/modules "$DESTDIR/{HOME}/"
if command -v taskset >/dev/null; then copy_exec "$(command -v taskset)" /bin; fi
while read -r module; do manual_add_modules "$module"; done </{HOME}/modules
""",
        **{
            f"{base}/scripts/{place}/numaprobe": f"""\
#!/bin/sh
[ "$1" = prereqs ] && exit 0
case " $(cat /proc/cmdline) " in *" numaprobe=off "*) exit 0 ;; esac
{_script(verb, limit_s)}
"""
            for verb, place in places.items()
        },
    }


def _script(verb: str, limit_s: int) -> str:
    return f"NUMAPROBE_LIMIT={limit_s} /bin/sh {_SCRIPT} {verb}"
