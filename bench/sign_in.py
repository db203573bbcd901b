"""Sign-ins a second by e-mail and password, and what the sessions of the same node notice of them.

    python -m bench.sign_in                               the default argon2id, in one thread
    python -m bench.sign_in --set passwords.threads=2     and so on

A server is started, an account is made with a code that comes by mail, and connections sign in as
fast as they are answered. The server has two cores, or as many as there are: one for its loop and
one for the thread that hashes. Beside it, sessions ask for echoes at a fixed rate, once without the
sign-ins and once with them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import machine
from bench.child import ROOT, ChildServer
from bench.folder import temporary_data
from bench.http import OpCalls, free_port

EMAIL, SECRET = "bench@example.com", "plum-kettle-orbit-77"


class SignInReport(msgspec.Struct, frozen=True):
    """The figures. `cpu_ms`: of the server, for one sign-in beyond what the echoes take."""

    about: dict[str, str]
    settings: list[str]
    connections: int
    echoes_per_s: float
    sign_ins_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    failed: int
    echo_p50_ms: tuple[float, float]
    echo_p99_ms: tuple[float, float]

    def lines(self) -> list[str]:
        """Return the report for people."""
        alone, beside = zip(self.echo_p50_ms, self.echo_p99_ms, strict=True)
        return [
            f"{self.connections} connections sign in: {self.sign_ins_per_s:.1f}/s,"
            f" p50 {self.p50_ms:.0f} ms, p99 {self.p99_ms:.0f} ms,"
            f" {self.cpu_ms:.1f} ms of CPU each, {self.failed} failed",
            f"{self.echoes_per_s:g} echoes/s: p50 {alone[0]:.2f} ms, p99 {alone[1]:.2f} ms alone;"
            f" p50 {beside[0]:.2f} ms, p99 {beside[1]:.2f} ms beside the sign-ins",
        ]


class SignInCalls(OpCalls):
    """Sign-ins to one account."""

    def __init__(self, port: int) -> None:
        super().__init__(port, "", "ping", rate=0.0)
        self.request = request_of(
            "/v1/sign-in/password", {"email": EMAIL, "password": SECRET, "label": "bench"}
        )


def request_of(path: str, body: Any) -> bytes:
    """Return a request as it goes over the socket."""
    data = json.dumps(body).encode()
    return (
        b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%s" % (path.encode(), len(data), data)
    )


class MailCatcher:
    """Takes letters by SMTP, as far as the server speaks it, and finds the code in them."""

    def __init__(self) -> None:
        self.port = free_port()
        self.code = ""
        self._there = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()

    def wait(self) -> str:
        """Return the code, once it has come."""
        if not self._there.wait(30.0):
            raise TimeoutError("no letter came")
        return self.code

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._session, "127.0.0.1", self.port)
        await server.serve_forever()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 bench\r\n")
        while line := await reader.readline():
            word = line[:4].upper()
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                letter = (await reader.readuntil(b"\r\n.\r\n")).decode()
                found = re.search(r"[0-9A-Z]{4}(-[0-9A-Z]{4}){2}", letter)
                if found is not None:
                    self.code = found[0]
                    self._there.set()
            writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")


async def asked(port: int, path: str, body: Any) -> Any:
    """Send a request until the server is ready for it, and return the body of the answer."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_of(path, body))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        answer = json.loads(await reader.readexactly(length))
        writer.close()
        if head.startswith(b"HTTP/1.1 200"):
            return answer
        if not answer["retry"]:
            raise RuntimeError(answer["message"])
        await asyncio.sleep(0.2)


def sign_up(port: int, mailbox: MailCatcher) -> None:
    """Make the account."""
    body = {"email": EMAIL, "password": SECRET, "name": "Bench"}
    ticket = asyncio.run(asked(port, "/v1/sign-up/password", body))["ticket"]
    shown = {"ticket": ticket, "code": mailbox.wait()}
    asyncio.run(asked(port, "/v1/sign-up/confirm", shown))


def echo(url: str, options: argparse.Namespace, folder: Path) -> subprocess.Popen[bytes]:
    """Begin to ask for echoes, for as long as the measurement takes."""
    command = [
        sys.executable, "-m", "bench.echo", "--url", url, "--rate", f"{options.echoes:g}",
        "--connections", "20", "--seconds", f"{options.seconds:g}", "--warmup", "2",
        "--out", str(folder), "--save", "echo",
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


def latencies(done: subprocess.Popen[bytes], folder: Path) -> tuple[float, float]:
    """Return the p50 and the p99 of echoes, in milliseconds, once they are done."""
    if done.wait(timeout=120):
        raise RuntimeError("the echoes failed")
    outcome = json.loads((folder / "echo.json").read_bytes())["outcomes"][0]
    found = outcome["measures"]["replies"]["latency_ms"]
    return float(found["p50"]), float(found["p99"])


def report(options: argparse.Namespace) -> SignInReport:
    """Start a server, measure, and return the report."""
    mailbox = MailCatcher()
    with temporary_data() as folder:
        port = free_port()
        own = (
            f"server.data_dir={folder}", "listen.port=0", "http.port=0", f"api.port={port}",
            f"mail.url=smtp://127.0.0.1:{mailbox.port}", *limits_off(), *options.set,
        )  # fmt: skip
        settings = [part for one in own for part in ("--set", one)]
        with ChildServer(["server.py", "serve", *settings]) as server:
            sign_up(port, mailbox)
            out = Path(folder)
            began = server.usage().cpu_s
            alone = latencies(echo(server.url, options, out), out)
            echo_cpu_s = server.usage().cpu_s - began
            load = SignInCalls(port)
            began = server.usage().cpu_s
            echoes = echo(server.url, options, out)
            start = time.monotonic() + 2.0
            asyncio.run(load.run(options.connections, start, start + options.seconds))
            cpu_s = server.usage().cpu_s - began
            beside = latencies(echoes, out)
    whole = load.done * (options.seconds + 2.0) / options.seconds  # the warm-up signs in as well
    return SignInReport(
        about=machine.about(),
        settings=options.set,
        connections=options.connections,
        echoes_per_s=options.echoes,
        sign_ins_per_s=load.done / options.seconds,
        p50_ms=load.latencies.percentile(50) / 1e3,
        p99_ms=load.latencies.percentile(99) / 1e3,
        cpu_ms=(cpu_s - echo_cpu_s) * 1e3 / max(1.0, whole),
        failed=load.failed,
        echo_p50_ms=(alone[0], beside[0]),
        echo_p99_ms=(alone[1], beside[1]),
    )


def limits_off() -> Sequence[str]:
    """Return the settings without which all sign-ins of one account would soon be refused."""
    return [f"sign_in_limits.{one}=0" for one in ("address", "account", "device", "server")]


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.sign_in",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="measured seconds (10)")
    parser.add_argument("--connections", type=int, default=8, help="that sign in (8)")
    parser.add_argument("--echoes", type=float, default=500.0, help="echoes a second beside (500)")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as JSON")
    options = parser.parse_args()
    if min(options.seconds, options.connections, options.echoes) <= 0:
        parser.error("seconds, connections and echoes are above 0")
    found = report(options)
    print("\n".join(found.lines()))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
