"""Who sees the pages and the figures: whoever shows a token, or sits at this machine.

A browser shows the token once; the cookie it gets holds a value derived from it, which opens the
pages and nothing else. Without any token configured, the pages are for this machine alone, and only
under its own name: another site cannot reach them through the browser of whoever sits here. What
changes something wants a second value that only our own pages hold, and comes from them alone; and an
operator's token, where there are such.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import cookie_parser

from syncd.errors import AuthenticationError
from syncd.web.answers import RefusedError
from syncd.web.hosts import hostname
from syncd.web.tokens import authorize

COOKIE = "syncd_session"
COOKIE_AGE = 30 * 86_400  # seconds
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host")
_LOCAL_NAMES = frozenset({"localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody who may look.

    Args:
        form_token: what a form of theirs has to hold.
        may_change: whether they may change something with it.
    """

    form_token: str
    may_change: bool = True


class Door:
    """Lets visitors in.

    Args:
        tokens: who may read; None when nobody is named.
        bind: the host that is listened at.
        public_url: where others reach us, None when it is not said.
        operators: those of the tokens that may change something; empty for all.
    """

    def __init__(
        self,
        tokens: frozenset[str] | None,
        bind: str,
        public_url: str | None,
        *,
        operators: frozenset[str] = frozenset(),
    ) -> None:
        self._tokens, self._operators = tokens, operators
        self._changing = {_derived(token, "session") for token in operators}
        self._sessions = [_derived(token, "session") for token in sorted(tokens or ())]
        self._key = secrets.token_bytes(32)
        public = urlsplit(public_url or "")
        self.is_secure = public.scheme == "https"
        self._open = not is_local(bind) or not is_local(public.hostname or bind)

    @property
    def asks(self) -> bool:
        """Whether visitors have to show a token."""
        return self._tokens is not None

    def enter(self, headers: Mapping[str, str]) -> Visitor:
        """Let the sender of a request with these headers look.

        Raises:
            RefusedError: 403 when nobody may, 401 when a token has to be shown.
        """
        if self._tokens is None:
            self._alone(headers)
            return Visitor(form_token=self._form_token("alone"))
        session = _cookie(headers.get("cookie", ""))
        # every one is compared in full, so the time tells nothing about which was near
        matches = [hmac.compare_digest(session.encode(), known) for known in self._sessions]
        if any(matches):
            may = not self._operators or session.encode() in self._changing
            return Visitor(form_token=self._form_token(session), may_change=may)
        try:
            authorize(headers.get("authorization", ""), self._tokens)
        except AuthenticationError as error:
            raise RefusedError(
                401, "these pages need a read token", "Enter one, or send it as Bearer token."
            ) from error
        may = not self._operators or _is_one(headers.get("authorization", ""), self._operators)
        return Visitor(form_token=self._form_token("bearer"), may_change=may)

    def session(self, token: str) -> str:
        """The cookie's value for a token.

        Raises:
            AuthenticationError: when it is none of ours.
        """
        authorize(f"Bearer {token.strip()}", self._tokens or frozenset())
        return _derived(token.strip(), "session").decode()

    def check_form(self, visitor: Visitor, headers: Mapping[str, str], given: str) -> None:
        """Make sure that a form which changes something is one of our own pages'.

        Raises:
            RefusedError: when it is not.
        """
        site = headers.get("sec-fetch-site", "same-origin")
        ours = hmac.compare_digest(given.encode(), visitor.form_token.encode())
        if not ours or site not in {"same-origin", "none"}:
            raise RefusedError(
                403, "the form is not of this page", "Load the page again and repeat what you did."
            )
        if not visitor.may_change:
            raise RefusedError(
                401, "this wants an operator's token", "Yours may look. Enter one that may more."
            )

    def _alone(self, headers: Mapping[str, str]) -> None:
        if self._open:
            raise RefusedError(
                403,
                "the pages are closed, because no read token is configured and others reach this "
                "address",
                "Set [web] read_token_file, or bind to 127.0.0.1 and leave public_url out.",
            )
        name = hostname(headers.get("host", ""))
        # A proxy on this machine may call us localhost, and let in whoever comes to it.
        if not is_local(name) or any(headers.get(key) for key in _FORWARDED):
            raise RefusedError(
                403,
                "without a read token the pages are for this machine alone",
                "Open them as http://localhost, or set [web] read_token_file.",
            )

    def _form_token(self, session: str) -> str:
        return hmac.digest(self._key, session.encode(), "sha256").hex()


def is_local(host: str) -> bool:
    """Whether a host is this machine, as it calls itself."""
    if host.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_one(header: str, tokens: frozenset[str]) -> bool:
    try:
        authorize(header, tokens)
    except AuthenticationError:
        return False
    return True


def _derived(token: str, purpose: str) -> bytes:
    return hmac.digest(token.encode(), f"syncd {purpose}".encode(), "sha256").hex().encode()


def _cookie(header: str) -> str:
    """Our cookie; what other programs of this host gave the browser may be of any form."""
    return cookie_parser(header).get(COOKIE, "")
