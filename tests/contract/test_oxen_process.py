from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from syncd.testing import oxen_process
from syncd.testing.oxen_process import OxenServerError, oxen_server

REPO = {"namespace": "team", "name": "data"}


@pytest.mark.usefixtures("oxen_binary")
def test_a_server_runs_within_the_block_and_keeps_its_data(tmp_path: Path) -> None:
    """It answers once it is handed out, keeps what it got when killed, and does not stay."""
    with oxen_server(tmp_path) as server:
        version = httpx.get(server.url + oxen_process.VERSION_PATH)
        made = httpx.post(f"{server.url}/api/repos", json=REPO)
        server.kill9()
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url)
        server.start_again()
        kept = httpx.get(f"{server.url}/api/repos/team/data")
        server.stop()
        server.start_again()

    assert version.json()["oxen_version"] == "0.65.2"
    assert (made.status_code, kept.status_code) == (200, 200)
    assert server.sync_dir.is_dir()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


@pytest.mark.usefixtures("oxen_binary")
def test_the_gate_lets_nobody_pass_without_the_token(tmp_path: Path) -> None:
    """Each request is asked, whatever the connection brought before; bodies pass as they are."""
    content = bytes(range(256)) * 3000

    with oxen_server(tmp_path, authenticated=True) as server, httpx.Client() as http:
        http.base_url = httpx.URL(f"{server.url}/api")
        token = {"Authorization": f"Bearer {server.token}"}
        codes = [
            http.post("/repos", json=REPO, headers=token).status_code,
            http.get("/repos/team/data", headers=token).status_code,
            http.get("/repos/team/data").status_code,
            http.post("/repos", json=REPO).status_code,
            http.get("/repos/team/data", headers={"Authorization": "Bearer wrong"}).status_code,
        ]
        workspace = {"branch_name": "main", "workspace_id": "w", "name": "w"}
        http.put("/repos/team/data/workspaces", json=workspace, headers=token).raise_for_status()
        files = {"file[]": ("a.bin", content)}
        http.post(
            "/repos/team/data/workspaces/w/files/d", files=files, headers=token
        ).raise_for_status()
        who = {"author": "a", "email": "a@b.c", "message": "m"}
        done = http.post("/repos/team/data/workspaces/w/merge/main", json=who, headers=token)
        read = http.get("/repos/team/data/file/main/d/a.bin", headers=token)

    assert codes == [200, 200, 401, 401, 401]
    assert (done.status_code, read.content == content) == (200, True)


@pytest.mark.usefixtures("oxen_binary")
def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    """Its last words are in the error, and nothing of it stays."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(OxenServerError, match="Address already in use"),
            oxen_server(tmp_path, port=taken.getsockname()[1]),
        ):
            pass


def test_the_server_is_looked_for_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The variable comes first, then the path; what cannot be run is not there."""
    program = tmp_path / "oxen-server"
    program.touch(mode=0o755)
    find = oxen_process.find_server.__wrapped__

    monkeypatch.setenv("PATH", str(tmp_path))
    on_path = find()
    monkeypatch.setenv(oxen_process.VARIABLE, str(tmp_path / "nothing"))
    wrong = find()
    monkeypatch.setenv(oxen_process.VARIABLE, str(program))
    monkeypatch.setenv("PATH", "")
    named = find()

    assert (on_path, wrong, named) == (program, None, program)
