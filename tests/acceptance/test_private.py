"""A gateway with tokens lets in who has one, with nothing changed but a line in ~/.netrc.

Before a folder, and before a server that is private itself.
"""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from acceptance_project import HOSTILE, LOG_FOLDERS, content, sums, tree, write
from acceptance_state import manifest, raw
from acceptance_world import World

from syncd.testing.oxen_process import MISSING, find_server, oxen_server

TOKEN = "a-token-for-readers"
DOWNLOAD = """
wandb.Api().artifact("p/ds:latest").download(root=sys.argv[1])
"""


def test_download_from_a_private_gateway_needs_one_line_of_netrc(
    small: World, tmp_path: Path
) -> None:
    """With the token the same bytes, without it 401 and none."""
    url = small.gateway(SYNCD_READ_TOKENS=TOKEN)
    small.configure(references=url)
    small.backfill()
    said = small.sdk(DOWNLOAD, str(tmp_path / "refused"), fails=True)
    small.sdk(DOWNLOAD, str(tmp_path / "new"), netrc=_line(TOKEN))
    small.sdk(DOWNLOAD.replace("latest", "v1"), str(tmp_path / "old"))

    assert "401" in said
    assert tree(tmp_path / "new") == tree(tmp_path / "old")
    assert len(tree(tmp_path / "new")) == 2
    assert not (tmp_path / "refused" / "train.bin").exists()


def test_gateway_answers_nobody_without_a_token(small: World) -> None:
    """Nor somebody with a wrong one; its health is no secret."""
    url = small.gateway(SYNCD_READ_TOKENS=TOKEN)
    file = f"{url}/api/repos/sandbox/p-ds/file/main/train.bin"

    assert httpx.get(file).status_code == 401
    assert httpx.get(file, auth=("anyone", "a-wrong-token")).status_code == 401
    assert httpx.get(file, auth=("anyone", TOKEN)).status_code == 503  # nothing is moved yet
    assert httpx.get(f"{url}/healthz").status_code == 200


@pytest.mark.skipif(find_server() is None, reason=MISSING)
def test_files_of_a_private_server_need_no_more_than_that(empty: World, tmp_path: Path) -> None:
    """The same bytes under whatever names; the server's own token is shown to nobody."""
    files = {**{name: content(name) for name in HOSTILE}, "empty.bin": b"", "note": b"small"}
    files["large.bin"] = content("large", 11_000_000)
    write(tmp_path / "old", files)
    empty.sdk(LOG_FOLDERS, str(tmp_path / "old"))
    with oxen_server(tmp_path / "server", authenticated=True) as server:
        assert server.token is not None
        empty.configure(oxen=server.url)
        url = empty.gateway(SYNCD_READ_TOKENS=TOKEN, OXEN_TOKEN=server.token)
        empty.configure(oxen=server.url, references=url)

        report = empty.syncd("backfill", "--json", OXEN_TOKEN=server.token).document

        assert report["versions"]["replaced"] == 1, report
        said = empty.sdk(DOWNLOAD, str(tmp_path / "refused"), fails=True)
        empty.sdk(DOWNLOAD, str(tmp_path / "new"), netrc=_line(TOKEN))
        direct = httpx.get(f"{server.url}/api/repos/sandbox/p-ds")
    references = [entry for entry in manifest(raw(empty)[0]["ds"][1]).values() if "ref" in entry]
    assert direct.status_code == 401
    assert "401" in said
    assert tree(tmp_path / "new") == sums(files)
    assert len(references) == len(HOSTILE) + 1
    assert all(entry["ref"].startswith(f"{url}/api/repos/") for entry in references)
    assert not [entry for entry in references if len(entry["digest"]) > 32]
    for told in (said, str(raw(empty)), *empty.said):
        assert server.token not in told


def _line(token: str) -> str:
    return f"machine 127.0.0.1 login anyone password {token}\n"
