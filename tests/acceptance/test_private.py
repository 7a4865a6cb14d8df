"""A gateway with tokens lets in who has one, with nothing changed but a line in ~/.netrc."""

from __future__ import annotations

from pathlib import Path

import httpx
from acceptance_project import tree
from acceptance_world import World

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
    assert httpx.get(file, auth=("anyone", TOKEN)).status_code == 404  # nothing is moved yet
    assert httpx.get(f"{url}/healthz").status_code == 200


def _line(token: str) -> str:
    return f"machine 127.0.0.1 login anyone password {token}\n"
