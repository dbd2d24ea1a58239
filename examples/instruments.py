"""Instruments on sockets, of which one supplier comes late and defers the others.

Every instrument needs the reference clock. The clock is added last: until it is bound, the driver core defers the
instruments by itself (``suppliers``), and probes them again when it came. One instrument answers "busy" at first and
defers itself (``Defer``): it is tried again with the next device that is bound.

    python examples/instruments.py
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import numaprobe


class Lab:
    """Instruments that listen on a port each; stands for the hardware."""

    def __init__(self, names: list[str]) -> None:
        self._sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
        self.ports = {name: server.getsockname()[1] for name, server in self._sockets.items()}
        self._asked: dict[str, int] = {}
        self._threads = [threading.Thread(target=self._serve, args=(name,)) for name in names]
        for thread in self._threads:
            thread.start()

    def _serve(self, name: str) -> None:
        with self._sockets[name] as server, suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    question = connection.recv(100)
                    if question == b"END\n":
                        return
                    self._asked[name] = self._asked.get(name, 0) + 1
                    busy = name == "meter" and self._asked[name] == 1
                    connection.sendall(b"BUSY\n" if busy else f"{name.upper()} v1\n".encode())

    def close(self) -> None:
        """Switch all instruments off."""
        for port in self.ports.values():
            ask(port, b"END\n")
        for thread in self._threads:
            thread.join()


def ask(port: int, question: bytes = b"*IDN?\n") -> str:
    """Ask an instrument and return its answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(question)
        return connection.recv(100).decode().strip()


class Instrument(numaprobe.DeviceDriver):
    """Asks an instrument who it is."""

    name = "scpi"
    compatible = ("scpi",)
    deadline = "5s"

    def probe(self, dev: numaprobe.Device) -> None:
        """Connect and ask."""
        answer = ask(dev.platform_data)
        if answer == "BUSY":
            raise numaprobe.Defer("the instrument is still warming up")
        dev.drvdata = answer


def main() -> dict[str, tuple[str, int]]:
    """Bring up three instruments whose clock comes last; return each one's answer and how often it was tried."""
    lab = Lab(["scope", "meter", "clock", "printer"])
    try:
        with numaprobe.host() as core:
            core.register(Instrument())
            for name in ("scope", "meter"):
                core.add(name, compatible="scpi", node=0, suppliers=("clock",), data=lab.ports[name])
            print("before the clock:", [record.device for record in core.records] or "nothing probed")
            core.add("clock", compatible="scpi", node=0, data=lab.ports["clock"])
            core.wait()
            core.add("printer", compatible="scpi", node=0, data=lab.ports["printer"])
            core.wait()
            answers = {}
            for name in ("scope", "meter", "clock", "printer"):
                tries = [record.result for record in core.records if record.device == name]
                answers[name] = (core.device(name).drvdata, len(tries))
                print(f"{name}: {answers[name][0]} after {' '.join(str(result) for result in tries)}")
            return answers
    finally:
        lab.close()


if __name__ == "__main__":
    main()
