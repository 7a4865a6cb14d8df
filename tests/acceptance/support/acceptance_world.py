"""A W&B server, Oxen repositories and a configured syncd, all of one test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
from acceptance_process import IMPATIENT, SYNCD, Done, Process, environment, started

Once = Callable[[str, Callable[[Path], Any]], Path]
PROJECT = "p"
NO_GATEWAY = "http://gateway.invalid"  # where a test fetches no reference
_EACH = """
import json, sys
from syncd.cli.main import main
for words in json.loads(sys.argv[1]):
    if code := main([*words, "--json"]):
        sys.exit(code)
"""
_PRELUDE = """
import json, os, sys
import wandb
def emit(values):
    sys.__stdout__.write("\\n=RESULT=" + json.dumps(values) + "\\n")
"""


class World:
    """One server with one project, and the folder in which syncd works on it.

    Args:
        folder: everything of this world lies here.
        server: what the sandbox said when it was ready.
    """

    def __init__(self, folder: Path, server: Mapping[str, str]) -> None:
        self.folder = folder
        self.base_url = server["base_url"]
        self.api_key = server["api_key"]
        self.entity = server["entity"]
        self.target = f"{self.entity}/{PROJECT}"
        self.store = folder / "oxen"
        self.state = folder / "state"
        self.config = folder / "config.toml"
        self.http = httpx.Client(base_url=self.base_url, auth=("api", self.api_key), timeout=30)
        self.said: list[str] = []  # all that syncd wrote, for the search for secrets
        self._stack = ExitStack()
        self._stack.callback(self.http.close)
        self.configure()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # --- syncd

    def configure(
        self,
        *,
        references: str = NO_GATEWAY,
        base_url: str = "",
        state: Path | None = None,
        store: Path | None = None,
        oxen: str = "",
        database: str = "",
    ) -> None:
        """Write the configuration file; `oxen` and `database` name servers in the place of files."""
        self.state, self.store = state or self.state, store or self.store
        sections: dict[str, dict[str, Any]] = {
            "wandb": {"base_url": base_url or self.base_url, "projects": [self.target]},
            "oxen": {"url": oxen or self.store.as_uri()},
            "select": {"min_file_size": "64B"},
            "references": {"base_url": references},
            "engine": {
                "state_dir": str(self.state),
                **({"database": database} if database else {}),
            },
            "web": {"bind": "127.0.0.1:0"},
            "log": {"format": "json"},
        }
        lines = [
            f"{key} = {json.dumps(value)}" if key else f"[{name}]"
            for name, keys in sections.items()
            for key, value in [("", None), *keys.items()]
        ]
        self.config.write_text("\n".join(lines), encoding="utf-8")

    def environ(self, **more: str) -> dict[str, str]:
        """The variables syncd runs with."""
        variables = {"WANDB_API_KEY": self.api_key, "SYNCD_CONFIG": str(self.config), **more}
        return environment(self.folder / "home", **variables)

    @contextmanager
    def running(self, *words: str, command: Sequence[str] = SYNCD, **env: str) -> Iterator[Process]:
        """Syncd while it runs."""
        with started([*command, *words], self.folder, self.environ(**env)) as process:
            yield process
        self.said += [process.out, process.err]

    def syncd(
        self,
        *words: str,
        code: int = 0,
        impatient: bool = False,
        env: Mapping[str, str] | None = None,
        **more: str,
    ) -> Done:
        """Run syncd to its end, which has to be this exit code."""
        command = IMPATIENT if impatient else SYNCD
        with self.running(*words, command=command, **(env or {}), **more) as process:
            done = process.wait()
        assert done.code == code, f"syncd {words} ended with {done.code}:\n{done.out}{done.err}"
        return done

    def each(self, *commands: Sequence[str], **env: str) -> list[dict[str, Any]]:
        """Run commands with `--json` in one process, which takes less than one for each.

        All have to succeed; their documents.
        """
        command = [SYNCD[0], "-c", _EACH, json.dumps(commands)]
        with self.running(command=command, **env) as process:
            done = process.wait()
        assert done.code == 0, f"of {commands} one ended with {done.code}:\n{done.out}{done.err}"
        return [json.loads(line) for line in done.out.splitlines()]

    def backfill(self, *words: str, code: int = 0, impatient: bool = False) -> dict[str, Any]:
        """Run `syncd backfill --json`; its document."""
        return self.syncd("backfill", "--json", *words, code=code, impatient=impatient).document

    def gateway(self, **env: str) -> str:
        """Start a gateway that lives as long as this world; its URL."""
        return str(self._stack.enter_context(self.running("gateway", **env)).first_line()["url"])

    def pins(self, versions: Mapping[str, str]) -> dict[str, str]:
        """Move the project; the variables of a script that is pinned to versions of it.

        Args:
            versions: by `DATASET` or `MODEL`, `collection:alias` each.
        """
        self.configure(references=self.gateway())
        self.backfill()
        variables = {"SYNCD_CONFIG": str(self.config)}
        for name, version in versions.items():
            found = self.syncd("resolve", "--json", f"{self.target}/{version}").document["oxen"]
            variables[f"OXEN_{name}_REPO"] = found["repo"]
            variables[f"OXEN_{name}_COMMIT"] = found["commit"].partition("@")[2]
        return variables

    # --- W&B

    def sdk(self, script: str, *words: str, netrc: str = "", fails: bool = False) -> Any:
        """Run a script with the unmodified SDK in a fresh process, home and cache.

        Args:
            script: its source; it may call `emit` with a JSON value, which is returned.
            words: its `sys.argv[1:]`.
            netrc: the content of ~/.netrc.
            fails: whether it has to fail; then what it said is returned.
        """
        home = self.folder / f"sdk-{len(list(self.folder.glob('sdk-*')))}"
        home.mkdir()
        if netrc:
            (home / ".netrc").write_text(netrc, encoding="utf-8")
            (home / ".netrc").chmod(0o600)
        variables = {"WANDB_BASE_URL": self.base_url, "WANDB_API_KEY": self.api_key}
        for name in ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR"):
            variables[f"WANDB_{name}"] = str(home / name.lower())
        (home / "dir").mkdir()
        command = [SYNCD[0], "-c", _PRELUDE + script, *words]
        with started(command, home, environment(home, **variables)) as process:
            done = process.wait()
        assert (done.code != 0) == fails, done.out + done.err
        if fails:
            return done.out + done.err
        results = [line for line in done.out.splitlines() if line.startswith("=RESULT=")]
        return json.loads(results[-1].removeprefix("=RESULT=")) if results else None

    def gql(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a GraphQL request that has to succeed."""
        answer = self.http.post("/graphql", json={"query": query, "variables": variables}).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def stats(self) -> dict[str, Any]:
        """What clients asked the server for since the last reset."""
        counters: dict[str, Any] = self.http.get("/sandbox/stats").json()
        return counters

    def asked(self, operation: str) -> int:
        """How often a GraphQL operation has arrived."""
        return int(self.stats()["graphql"].get(operation, 0))

    def reset_stats(self) -> None:
        """Count from nothing again."""
        self.http.post("/sandbox/stats/reset").raise_for_status()

    def fault(self, match: str, action: str, times: int | None = None) -> None:
        """Make the server misbehave; for ever when no number of times is given."""
        fault = {"match": match, "action": action, "times": times}
        self.http.post("/sandbox/faults", json=[fault]).raise_for_status()

    def heal(self) -> None:
        """End all faults."""
        self.http.delete("/sandbox/faults").raise_for_status()


@contextmanager
def world(folder: Path, data: Path) -> Iterator[World]:
    """A world on a sandbox with this data directory."""
    home = environment(folder / "home")
    words = ["sandbox", "serve", "--port", "0", "--data", str(data)]
    with (
        started([*SYNCD, *words], folder, home) as server,
        World(folder, server.first_line()) as made,
    ):
        yield made
