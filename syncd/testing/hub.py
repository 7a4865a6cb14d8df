"""A stand-in for the hub's fine-tune and deploy calls, as docs.oxen.ai describes them.

It answers exactly the documented calls, and 404 to all others. It was never held against the hub: what
the documentation does not say (keys of most answers, errors) is as simple as it can be.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from syncd.testing.served import served

_REPO = r"/api/repos/([^/]+/[^/]+)/fine_tunes"
Answer = tuple[int, dict[str, Any]]


@dataclass(slots=True, kw_only=True)
class Hub:
    """What the stand-in holds.

    Args:
        token: the only one it lets in.
        url: where it listens.
        tunes: fine-tunes by id.
        active: by model, whether it is served.
        asked: method and path of each call, in order.
        refuse: status codes of the coming answers, in turn; the call has no effect then.
    """

    token: str
    url: str = ""
    tunes: dict[str, dict[str, Any]] = field(default_factory=dict)
    active: dict[str, bool] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refuse: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, bearer: str, body: dict[str, Any]) -> Answer:
        """Do what a call asks for."""
        with self._lock:
            self.asked.append(f"{method} {path}")
            if bearer != f"Bearer {self.token}":
                return 401, {"error": "unauthorized"}
            if self.refuse:
                return self.refuse.pop(0), {"error": "refused"}
            for pattern, verb, work in (
                (rf"{_REPO}", "POST", self._create),
                (rf"{_REPO}/([^/]+)/actions/(run|stop)", "POST", self._act),
                (rf"{_REPO}/([^/]+)", "GET", self._look),
                (rf"{_REPO}/([^/]+)/(train_status|logs|checkpoints)", "GET", self._tell),
                (rf"{_REPO}/([^/]+)/checkpoints/([^/]+)/deploy", "POST", self._deploy),
                (r"/api/ai/models", "GET", self._models),
                (r"/api/ai/models/([^/]+)/(activate|deactivate)", "POST", self._switch),
            ):
                if verb == method and (match := re.fullmatch(pattern, path)):
                    try:
                        return 200, work(body, *match.groups())
                    except KeyError:
                        break
            return 404, {"error": "not found"}

    def _create(self, body: dict[str, Any], repo: str) -> dict[str, Any]:
        wanted = {"resource", "base_model", "script_type", "training_params"}
        if not wanted <= body.keys():
            raise KeyError(repo)
        name = f"ft-{len(self.tunes) + 1}"
        self.tunes[name] = {"id": name, "status": "created", "repo": repo, **body}
        return {"fine_tune": {"id": name, "status": "created"}}

    def _act(self, _body: dict[str, Any], repo: str, name: str, action: str) -> dict[str, Any]:
        self._found(repo, name)["status"] = "running" if action == "run" else "stopped"
        return {}

    def _look(self, _body: dict[str, Any], repo: str, name: str) -> dict[str, Any]:
        return {"fine_tune": self._found(repo, name)}

    def _tell(self, _body: dict[str, Any], repo: str, name: str, what: str) -> dict[str, Any]:
        return {what: [], "status": self._found(repo, name)["status"]}

    def _deploy(self, body: dict[str, Any], repo: str, name: str, step: str) -> dict[str, Any]:
        if body.get("deployment_type") not in {"normal", "fast"}:
            raise KeyError(step)
        self._found(repo, name)["status"] = "deployed"
        model = f"{name}-{step}"
        self.active[model] = True
        return {"deployment_id": f"dep-{len(self.active)}", "model": model}

    def _models(self, _body: dict[str, Any]) -> dict[str, Any]:
        return {"models": [{"id": name, "active": on} for name, on in self.active.items()]}

    def _switch(self, _body: dict[str, Any], name: str, action: str) -> dict[str, Any]:
        _ = self.active[name]
        self.active[name] = action == "activate"
        return {}

    def _found(self, repo: str, name: str) -> dict[str, Any]:
        found = self.tunes[name]
        if found["repo"] != repo:
            raise KeyError(repo)
        return found


@contextmanager
def hub(token: str) -> Iterator[Hub]:
    """A stand-in on a free port of this machine, for the block."""
    held = Hub(token=token)

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, document = held.answer(
                self.command,
                self.path,
                self.headers.get("authorization", ""),
                json.loads(body or b"{}") or {},
            )
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _serve  # noqa: N815 the names http.server looks for

        def log_message(self, *_: object) -> None:
            """Nothing is told."""

    with served(Handler, wait=True) as held.url:
        yield held
