"""Plugging devices into a running guest, and pulling them: QEMU's monitor, asked by the guest's own steps.

A step of the guest writes what it wants to a file of the shared folder (``plug 2``, ``pull 2``) and waits for the
answer beside it. Whoever watches the guest looks for that file, tells QEMU through its machine protocol (QMP: a line of
JSON each way, over a socket in the same folder) and writes what came of it. A device that is plugged appears behind its
own root port, as a drive pushed into its slot does: the port interrupts, and pciehp's thread adds what it finds. To
pull one presses the slot's button; pciehp waits five seconds for a second press before it lets the device go.
Source: QEMU, docs/interop/qmp-spec.rst, docs/pcie.txt.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
from typing import TYPE_CHECKING, Any, Final

from numaprobe.kernel.lab.qemu import device_properties

if TYPE_CHECKING:
    from pathlib import Path

    from numaprobe.kernel.lab.plan import GuestPlan

SOCKET: Final = "qmp"
REQUEST: Final = "qmp.request"
ANSWER: Final = "qmp.answer"
_SECONDS: Final = 20.0
#: The longest line of QEMU's that is read.
_LINE: Final = 1 << 20

#: ``plug INDEX ADDRESS``, ``pull INDEX ADDRESS``: ask, wait for the answer, then for the device to be there, or gone
_FUNCTIONS: Final = """ask_monitor() {{
    echo "$1 $2" >{request}.part && mv {request}.part {request}
    tries=0
    while [ ! -e {answer} ]; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || {{ echo "QEMU's monitor did not answer" >&2; return 1; }}
        sleep 0.1
    done
    words=$(cat {answer})
    rm -f {answer}
    [ "$words" = ok ] || {{ echo "$words" >&2; return 1; }}
}}
plug() {{
    ask_monitor plug "$1" || return 1
    tries=0
    while [ ! -e /sys/bus/pci/devices/"$2" ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || {{ echo "$2 did not appear in 30 s" >&2; return 1; }}
        sleep 0.1
    done
    sleep 2
}}
pull() {{
    ask_monitor pull "$1" || return 1
    tries=0
    while [ -e /sys/bus/pci/devices/"$2" ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || {{ echo "$2 was not let go in 30 s" >&2; return 1; }}
        sleep 0.1
    done
}}"""


def monitor_functions(folder: Path) -> str:
    """Return the shell functions with which a guest's steps plug and pull devices; folder: shared with the host."""
    request, answer = shlex.quote(str(folder / REQUEST)), shlex.quote(str(folder / ANSWER))
    return _FUNCTIONS.format(request=request, answer=answer)


def monitor_options(folder: Path) -> tuple[str, ...]:
    """Return QEMU's options for a monitor in a folder; PCI Express ports plug by themselves, not by way of ACPI."""
    return (
        *("-qmp", f"unix:{folder / SOCKET},server=on,wait=off"),
        *("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"),
    )


class Monitor:
    """Answers a guest's requests; ``serve`` is called again and again while the guest runs."""

    def __init__(self, plan: GuestPlan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        for name in (SOCKET, REQUEST, ANSWER):
            (folder / name).unlink(missing_ok=True)

    def serve(self) -> None:
        """Do what the guest asks for, if it asks, and tell it what came of it."""
        request = self._folder / REQUEST
        try:
            words = request.read_text(encoding="ascii", errors="replace")[:100].split()
        except OSError:
            return
        with contextlib.suppress(OSError):
            request.unlink()
        try:
            said = self._done(words)
        except (OSError, ValueError) as error:
            said = f"QEMU's monitor: {error}"
        part = self._folder / f"{ANSWER}.part"
        part.write_text(f"{said}\n", encoding="utf-8")
        part.rename(self._folder / ANSWER)

    def _done(self, words: list[str]) -> str:
        """Do it and return ``ok``, or QEMU's words."""
        match words:
            case ["plug", index] if index.isdigit() and int(index) < len(self._plan.devices):
                properties = device_properties(self._plan.devices[int(index)], int(index))
                return self._asked("device_add", properties)
            case ["pull", index] if index.isdigit() and int(index) < len(self._plan.devices):
                return self._asked("device_del", {"id": f"dev{index}"})
        return f"the guest asked for what nobody knows: {' '.join(words)!r}"

    def _asked(self, command: str, arguments: dict[str, str]) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(_SECONDS)
            link.connect(str(self._folder / SOCKET))
            with link.makefile("rwb") as lines:
                _reply(lines)  # the greeting
                for name, given in (("qmp_capabilities", {}), (command, arguments)):
                    lines.write(json.dumps({"execute": name, "arguments": given}).encode() + b"\n")
                    lines.flush()
                    answer = _reply(lines)
                    if "error" in answer:
                        return f"QEMU refuses: {answer['error'].get('desc', 'it does not say why')}"
        return "ok"


def _reply(lines: Any) -> dict[str, Any]:  # noqa: ANN401  a socket's file, which has no type that reads and writes
    """Return QEMU's next line that is no event.

    Raises:
        ValueError: it is no JSON object, or QEMU hung up.

    """
    while True:
        line = lines.readline(_LINE)
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError(f"{line[:80]!r} is no answer")  # noqa: TRY004  what QEMU says is a value
        if "event" not in answer:
            return answer
