"""What references point at: whether the wandb client would find the file's ETag there."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

import pytest

from syncd.clients.payload import Payload
from syncd.clients.references import CompressedError, References
from syncd.testing.served import served

Answer = tuple[int, str, str]  # status, ETag, encoding


def asked(plain: Answer, compressed: Answer) -> bool:
    """What is found at a place that answers so, without and with compression allowed."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            status, tag, encoding = (
                compressed if "gzip" in self.headers["accept-encoding"] else plain
            )
            self.send_response(status)
            for name, value in (("ETag", tag), ("Content-Encoding", encoding)):
                if value:
                    self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    with served(Handler) as url:
        return References(Payload(), url, "").etagged(f"{url}/api/repos/n/r/file/c/a")


FILE = (200, '"abc"', "")


@pytest.mark.parametrize(
    ("plain", "compressed", "expected"),
    [
        (FILE, FILE, True),
        (FILE, (200, '"abc"', "gzip"), True),  # its tag is still the file's
        ((200, "", ""), (200, "", ""), False),
        ((200, "", ""), (200, "", "gzip"), False),
        ((401, "", ""), (401, "", ""), True),  # nobody is let in: what the configuration says
    ],
)
def test_a_tag_is_what_the_wandb_client_would_be_sent(
    plain: Answer, compressed: Answer, expected: object
) -> None:
    """Which lets itself be answered in short form."""
    assert asked(plain, compressed) is expected


@pytest.mark.parametrize(
    "compressed", [(200, 'W/"abc"', "gzip"), (200, '"abc-gzip"', "gzip"), (200, 'W/"abc"', "")]
)
def test_a_proxy_that_changes_tags_is_found_before_a_reference_is_made(compressed: Answer) -> None:
    """Every download by a plain client would end in a mismatch."""
    with pytest.raises(CompressedError, match="proxy"):
        asked(FILE, compressed)
