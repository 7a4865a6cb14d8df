"""How quickly webhooks are answered while they pour in.

    python -m benchmarks.webhooks [--rate 200] [--seconds 20]

A process of its own serves the face on a catalog of 10,000 versions; requests leave at their time
whether or not the earlier ones were answered, so a slow answer delays nobody's clock. A tenth is
doubled, a tenth wrongly signed. Prints one JSON object; `p99_ms` of the accepted ones has to stay
below 50.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from syncd.catalog.catalog import Catalog, State
from syncd.operations.webhooks import PATH, SIGNATURE, signed
from syncd.testing import MemoryArtifactSource

SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 of this benchmark alone
VERSIONS = 10_000
COLLECTIONS = 50


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=200, help="requests a second")
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(measure(Path(name), options.rate, options.seconds)))  # noqa: T201


def measure(folder: Path, rate: int, seconds: int) -> dict[str, Any]:
    """Serve, send, and look how long the answers took.

    Args:
        folder: an empty one.
        rate: requests a second.
        seconds: for how long.
    """
    (folder / "secret").write_text(SECRET, encoding="utf-8")
    (folder / "config.toml").write_text(
        f'[wandb]\nprojects = ["team/proj"]\n[oxen]\nurl = "{(folder / "oxen").as_uri()}"\n'
        f'[engine]\nstate_dir = "{folder / "state"}"\n'
        f'[web]\nbind = "127.0.0.1:0"\nwebhook_secret_file = "{folder / "secret"}"\n',
        encoding="utf-8",
    )
    (folder / "state").mkdir()
    catalog = Catalog(f"sqlite:///{folder / 'state' / 'syncd.db'}")
    source = MemoryArtifactSource()
    for number in range(VERSIONS // 100):  # of a hundred versions each: one row is enough to look
        version = source.log(f"collection-{number}", {"a": str(number).encode()})
        catalog.note(version, State.REPLACED, replacement_id=f"replacement {number}")
    command = [sys.executable, "-m", "syncd", "face", "--config", str(folder / "config.toml")]
    command += ["--log-level", "warning"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 our own words
        try:
            assert process.stdout is not None
            url = str(json.loads(process.stdout.readline())["url"])
            times, statuses = asyncio.run(_pour(url, rate, seconds))
            time.sleep(1.0)
            hints = len(catalog.pulse.hints())
            memory = _peak(process.pid)
        finally:
            process.terminate()
    catalog.close()
    times.sort()

    def quantile(share: float) -> float:
        return round(1000 * times[min(len(times) - 1, int(share * len(times)))], 1)

    return {
        "rate": rate,
        "seconds": seconds,
        "answers": dict(statuses),
        "hints": hints,
        "p50_ms": quantile(0.5),
        "p99_ms": quantile(0.99),
        "max_ms": quantile(1.0),
        "peak_mib": memory,
    }


async def _pour(url: str, rate: int, seconds: int) -> tuple[list[float], Counter[str]]:
    times: list[float] = []
    statuses: Counter[str] = Counter()
    began = asyncio.get_running_loop().time()

    async def one(number: int) -> None:
        event = number - 1 if number % 10 == 0 else number  # a tenth comes twice
        body = json.dumps(
            {
                "event": "ADD_ARTIFACT_ALIAS",
                "entity": "team",
                "project": "proj",
                "collection": f"collection-{event % COLLECTIONS}",
                "artifact": f"wandb-artifact://_id/version-{event}",
            }
        ).encode()
        good = number % 10 != 5  # noqa: PLR2004 a tenth is wrong
        proof = signed(SECRET.encode(), body) if good else "0" * 64
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        status = await _post(url, body, proof)
        statuses[status] += 1
        if status == "202":
            times.append(asyncio.get_running_loop().time() - due)

    await asyncio.gather(*(one(number) for number in range(rate * seconds)))
    return times, statuses


async def _post(url: str, body: bytes, proof: str) -> str:
    """Send on a connection of its own, as W&B's deliveries come; the status."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: {parts.netloc}\r\n{SIGNATURE}: {proof}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    line = await reader.readline()
    await reader.read()
    writer.close()
    return line.split()[1].decode()


def _peak(pid: int) -> int:
    """The most memory that a process had, MiB (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) >> 10
    return 0


if __name__ == "__main__":
    main()
