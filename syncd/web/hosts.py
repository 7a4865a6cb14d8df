"""Whether a page of somebody else's asks, through the browser of a person who may reach us.

Without tokens whoever reaches the gateway may read. A page elsewhere can let its own name lead to
the gateway (DNS rebinding): the browser of whoever looks at that page then takes our answers for
the page's own. Such a request says the page's name. Programs are not refused for a name: references
hold whatever name the gateway had when they were written, and have to lead to their files for ever.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

# What browsers send and no page can keep them from sending; the wandb client, curl and their like do not.
_OF_BROWSERS = ("accept-language", "origin", "referer", "sec-fetch-mode", "sec-fetch-site")


def is_foreign_page(headers: Mapping[str, str], names: Collection[str]) -> bool:
    """Whether a browser asks under a name that is not ours.

    Args:
        headers: of the request, names in lower case.
        names: ours, in lower case. Addresses, and names without a dot, nobody else can make lead here.
    """
    if not any(name in headers for name in _OF_BROWSERS):
        return False
    host = hostname(headers.get("host", "")).rstrip(".")
    own = host in names or "." not in host or host.endswith(".localhost")
    return not (host and own) and not _is_address(host)


def hostname(host: str) -> str:
    """The name in a Host header, in lower case and without the port; empty when it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
