"""An ssh server on loopback with keys of its own, and a home folder whose configuration names it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import asyncssh

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


async def _copy(pipe: Any, sink: Any) -> None:
    """Write what comes out of a pipe of a child, until nobody holds its other end."""
    source = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(source)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    with contextlib.closing(transport):
        while text := await source.read(65536):
            sink.write(text)


async def _run(process: Any) -> None:
    """Do what was asked for, as a shell would; whoever hangs up ends it, and all that it started.

    All that it says is written before its exit is told: a channel that is closed takes no more, and a write to it
    would end the whole connection. asyncio's own children are waited for until their pipes are closed, which a
    grandchild may hold open: hence a plain one, of a session of its own.
    """
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    child = subprocess.Popen(  # noqa: ASYNC220
        ["sh", "-c", process.command], stdin=nothing, stdout=pipe, stderr=pipe, start_new_session=True
    )
    said = asyncio.gather(_copy(child.stdout, process.stdout), _copy(child.stderr, process.stderr))
    gone = asyncio.ensure_future(process.wait_closed())
    try:
        await asyncio.wait((said, gone), return_when=asyncio.FIRST_COMPLETED)
        if not gone.done():
            process.exit(child.wait())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        await asyncio.gather(said, gone, return_exceptions=True)  # each ends now: the pipes have


@contextlib.contextmanager
def ssh_home(folder: Path, *hosts: str) -> Iterator[Path]:
    """Yield a home folder where these names are the server of this process."""
    mine, theirs = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    (folder / ".ssh").mkdir(mode=0o700)
    mine.write_private_key(folder / ".ssh/id_ed25519")
    mine.write_public_key(folder / ".ssh/allowed")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def listen() -> Any:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[theirs],
            authorized_client_keys=str(folder / ".ssh/allowed"),
            process_factory=_run,
            encoding=None,
        )

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(60)
    public = theirs.export_public_key().decode().strip()
    (folder / ".ssh/known_hosts").write_text("".join(f"{host} {public}\n" for host in hosts))
    settings = f"HostName 127.0.0.1\nHostKeyAlias {hosts[0]}\nPort {server.get_port()}\n"
    settings += f"IdentityFile {folder}/.ssh/id_ed25519\nUserKnownHostsFile {folder}/.ssh/known_hosts\n"
    (folder / ".ssh/config").write_text(f"Host {' '.join(hosts)}\n{settings}")

    async def end() -> None:
        server.close()
        await server.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    try:
        yield folder
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
