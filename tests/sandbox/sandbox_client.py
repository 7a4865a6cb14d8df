"""What a test does to a sandbox: drive the unmodified SDK in a process of its own, or ask the server directly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import httpx

_ROOT = Path(__file__).parents[2]
_PRELUDE = """
import json, os, sys
import wandb
def emit(**values):
    sys.__stdout__.write("\\n=RESULT=" + json.dumps(values) + "\\n")
def log(run, name, files, *, type="dataset", aliases=None, wait=True, **fields):
    artifact = wandb.Artifact(name, type, **fields)
    for path, content in files.items():
        with artifact.new_file(path, mode="wb") as file:
            file.write(content.encode())
    logged = run.log_artifact(artifact, aliases=aliases)
    return logged.wait() if wait else logged
"""


class Client:
    """What a test does to one server. `http` carries the default user's key."""

    def __init__(self, base_url: str, api_key: str, home: Path) -> None:
        self.base_url = base_url
        self.api_key = api_key
        self.home = home
        self.http = httpx.Client(base_url=base_url, auth=("api", api_key), timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def sdk(
        self, script: str, *, api_key: str | None = None, fails: bool = False
    ) -> dict[str, Any]:
        """Run a script with the SDK in a fresh process and an empty cache; what it emitted."""
        number = len(list(self.home.iterdir()))
        folder = self.home / f"home-{number}"
        folder.mkdir()
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environment = {
            **kept,
            "PYTHONPATH": str(_ROOT),
            "HOME": str(folder),
            "WANDB_BASE_URL": self.base_url,
            "WANDB_API_KEY": api_key or self.api_key,
            "WANDB_DIR": str(folder),
            "WANDB_CACHE_DIR": str(folder / "cache"),
            "WANDB_CONFIG_DIR": str(folder / "config"),
            "WANDB_DATA_DIR": str(folder / "data"),
            "WANDB_SILENT": "true",
            "WANDB_ERROR_REPORTING": "false",
        }
        done = subprocess.run(
            [sys.executable, "-c", _PRELUDE + script],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        values: dict[str, Any] = {"stderr": done.stderr}
        for line in done.stdout.splitlines():
            if line.startswith("=RESULT="):
                values |= json.loads(line.removeprefix("=RESULT="))
        return values

    def post(self, path: str, body: Any) -> httpx.Response:
        """Post JSON to the server."""
        return self.http.post(path, json=body)

    def admin(self, path: str, body: Any) -> None:
        """Make an administrative call that has to succeed."""
        response = self.post(f"/sandbox/{path}", body)
        assert response.is_success, response.text

    def gql(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a GraphQL request that has to succeed."""
        response = self.post("/graphql", {"query": query, "variables": variables})
        body = response.json()
        assert response.status_code == 200
        assert "errors" not in body, body
        data: dict[str, Any] = body["data"]
        return data

    def refused(self, query: str, **variables: Any) -> str:
        """The message of a GraphQL request that has to fail, as a logical error does."""
        response = self.post("/graphql", {"query": query, "variables": variables})
        assert response.status_code < 500
        message: str = response.json()["errors"][0]["message"]
        return message

    def stats(self) -> dict[str, Any]:
        """The server's counters."""
        counters: dict[str, Any] = self.http.get("/sandbox/stats").json()
        return counters
