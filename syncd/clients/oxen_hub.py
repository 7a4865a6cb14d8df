"""The hub's calls for fine-tuning and deployment, as docs.oxen.ai describes them.

Not tried against the hub: what is written down is used and nothing else, and tests run against a
stand-in of the same calls (`testing.hub`). Answers of which the documentation names no keys are given
back as they are. What may cost money is never repeated by itself: of a lost answer nobody knows
whether the call had its effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from syncd import log, retry
from syncd.clients.http import check_status, check_url, session, translated
from syncd.errors import PermanentError
from syncd.refs import RepoRef

Json = dict[str, Any]
SAID = 300  # characters of what the hub says about a failure


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTune:
    """A fine-tune of the hub's.

    Args:
        id: names it.
        status: created, tokenizing, enqueued, running, completed, stopped, errored or deployed.
    """

    id: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A checkpoint that the hub serves.

    Args:
        id: names it.
        model: what it is called in `/api/ai` calls.
    """

    id: str
    model: str


class OxenHub:
    """The hub.

    Args:
        url: where it is, without `/api`.
        token: the bearer token; sent to that URL and to no other.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = check_url(url.rstrip("/"))
        log.redact(token)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = session()
        self._http.follow_redirects = False  # a token must not follow one elsewhere

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    # --- fine-tunes

    def create(
        self,
        repo: RepoRef,
        *,
        resource: str,
        base_model: str,
        script_type: str,
        training_params: Mapping[str, Any],
    ) -> FineTune:
        """Make a fine-tune; `start` runs it.

        Args:
            repo: whose data it learns from.
            resource: a file of it, `branch/path`, e.g. `main/train.parquet`.
            base_model: what it begins with.
            script_type: as the hub names them.
            training_params: as the script takes them.
        """
        body = {
            "resource": resource,
            "base_model": base_model,
            "script_type": script_type,
            "training_params": dict(training_params),
        }
        what = f"create a fine-tune in {repo}"
        return _fine_tune(self._send("POST", f"{_fine_tunes(repo)}", what, body), what)

    def start(self, repo: RepoRef, fine_tune: str) -> None:
        """Run a fine-tune."""
        path = f"{_fine_tunes(repo, fine_tune)}/actions/run"
        self._send("POST", path, f"start fine-tune {fine_tune}")

    def stop(self, repo: RepoRef, fine_tune: str) -> None:
        """Stop a fine-tune."""
        path = f"{_fine_tunes(repo, fine_tune)}/actions/stop"
        self._send("POST", path, f"stop fine-tune {fine_tune}")

    def fine_tune(self, repo: RepoRef, fine_tune: str) -> FineTune:
        """A fine-tune as it stands."""
        what = f"look at fine-tune {fine_tune}"
        return _fine_tune(self._read(_fine_tunes(repo, fine_tune), what), what)

    def train_status(self, repo: RepoRef, fine_tune: str) -> Json:
        """How far it has come, as the hub tells it."""
        path = f"{_fine_tunes(repo, fine_tune)}/train_status"
        return self._read(path, f"look at fine-tune {fine_tune}")

    def logs(self, repo: RepoRef, fine_tune: str) -> Json:
        """What it printed, as the hub tells it."""
        path = f"{_fine_tunes(repo, fine_tune)}/logs"
        return self._read(path, f"read the logs of fine-tune {fine_tune}")

    def checkpoints(self, repo: RepoRef, fine_tune: str) -> Json:
        """Its checkpoints, as the hub tells them."""
        path = f"{_fine_tunes(repo, fine_tune)}/checkpoints"
        return self._read(path, f"list the checkpoints of fine-tune {fine_tune}")

    # --- serving

    def deploy(self, repo: RepoRef, fine_tune: str, step: str, deployment_type: str) -> Deployment:
        """Serve a checkpoint.

        Args:
            repo: the fine-tune's.
            fine_tune: its id.
            step: the checkpoint's.
            deployment_type: `normal` or `fast`.
        """
        path = f"{_fine_tunes(repo, fine_tune)}/checkpoints/{quote(step, safe='')}/deploy"
        what = f"deploy checkpoint {step} of fine-tune {fine_tune}"
        made = self._send("POST", path, what, {"deployment_type": deployment_type})
        try:
            return Deployment(id=str(made["deployment_id"]), model=str(made["model"]))
        except KeyError as error:
            raise _otherwise(what, error) from error

    def models(self) -> Json:
        """The models that are served, as the hub tells them."""
        return self._read("/api/ai/models", "list the hub's models")

    def activate(self, model: str) -> None:
        """Serve a model that was deployed before; nothing happens when it is served."""
        self._repeated(model, "activate")

    def deactivate(self, model: str) -> None:
        """Serve a model no more; nothing happens when it is not served."""
        self._repeated(model, "deactivate")

    def _repeated(self, model: str, action: str) -> None:
        what, path = f"{action} {model}", f"/api/ai/models/{quote(model, safe='')}/{action}"
        retry.call(lambda: self._send("POST", path, what), what=what)

    # --- the wire

    def _read(self, path: str, what: str) -> Json:
        return retry.call(lambda: self._send("GET", path, what), what=what)

    def _send(self, method: str, path: str, what: str, body: Json | None = None) -> Json:
        url = f"{self._url}{path}"
        with translated(what, url):
            answer = self._http.request(method, url, json=body, headers=self._headers)
        check_status(what, answer, detail=log.clean(answer.text)[:SAID])
        return _object(answer, what)


def _object(answer: httpx.Response, what: str) -> Json:
    if not answer.content.strip():
        return {}
    try:
        found = answer.json()
    except ValueError as error:
        raise _otherwise(what, error) from error
    return found if isinstance(found, dict) else {"answer": found}


def _fine_tune(answer: Json, what: str) -> FineTune:
    try:
        found = answer["fine_tune"]
        return FineTune(id=str(found["id"]), status=str(found["status"]))
    except (KeyError, TypeError) as error:
        raise _otherwise(what, error) from error


def _otherwise(what: str, error: Exception) -> PermanentError:
    return PermanentError(
        f"{what}: the hub answered otherwise than its documentation says ({error!r})",
        hint="Is oxen.url the hub? Its interface may have changed.",
    )


def _fine_tunes(repo: RepoRef, fine_tune: str = "") -> str:
    path = f"/api/repos/{quote(repo.namespace, safe='')}/{quote(repo.repo, safe='')}/fine_tunes"
    return f"{path}/{quote(fine_tune, safe='')}" if fine_tune else path
