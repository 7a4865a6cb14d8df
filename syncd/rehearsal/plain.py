"""The plain SDK in processes of its own: what any training script would get."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncd import log
from syncd.errors import PermanentError

PATIENCE = 600  # seconds for a process
TOLD = 600  # characters of what it said
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainClient:
    """Processes with the plain SDK, each fresh, with an empty home and cache.

    Args:
        folder: an empty folder.
        base_url: the W&B server.
        api_key: its key.
        netrc: what ~/.netrc holds.
    """

    folder: Path
    base_url: str
    api_key: str
    netrc: str = ""

    def ask(self, word: str, request: Json) -> Json:
        """Have `syncd.rehearsal.client` do something; its answer.

        Raises:
            PermanentError: when it fails, with the end of what it said.
        """
        home = self.folder / f"client-{len(list(self.folder.glob('client-*')))}"
        home.mkdir(mode=0o700)
        if self.netrc:
            file = home / ".netrc"
            file.touch(mode=0o600)
            file.write_text(self.netrc, encoding="utf-8")
        try:
            done = subprocess.run(  # noqa: S603 our own module
                [sys.executable, "-m", "syncd.rehearsal.client", word],
                input=json.dumps(request),
                env=self._environ(home),
                cwd=home,
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired as error:
            raise PermanentError(f"the plain client did not {word} in {PATIENCE} s") from error
        if done.returncode:
            # The last line names the failure; what stands above is where in wandb it came from.
            lines = (done.stdout + done.stderr).strip().splitlines() or [""]
            said = lines[-1][-TOLD:]
            raise PermanentError(f"the plain client could not {word}: {log.clean(said)}")
        answer: Json = json.loads(done.stdout.splitlines()[-1])
        return answer

    def _environ(self, home: Path) -> dict[str, str]:
        # What a person has set for W&B must not reach these, nor be touched by them.
        foreign = ("WANDB_", "SYNCD_", "OXEN_", "NETRC", "HOME", "XDG_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        folders = {
            f"WANDB_{name}": str(home) for name in ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR")
        }
        return {
            **kept,
            **folders,
            "HOME": str(home),
            "WANDB_BASE_URL": self.base_url,
            "WANDB_API_KEY": self.api_key,
            "WANDB_SILENT": "true",
            "WANDB_CONSOLE": "off",
            "WANDB_DISABLE_GIT": "true",
            "WANDB_DISABLE_CODE": "true",
            "WANDB_DISABLE_JOB_CREATION": "true",
            "WANDB_ERROR_REPORTING": "false",
        }
