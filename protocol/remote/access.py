"""The access token of a session: where a new one comes from, and when it is time for one."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Final

import trio

from protocol.remote.errors import CannotConnect, ClientError

AccessToken = str | Callable[[], str | Awaitable[str]]
"""An access token of the server's accounts, or what brings a new one, asynchronous or not."""

RENEWED_AFTER: Final = 0.8
"""A token is renewed when this part of its time is over."""
AT_LEAST_S: Final = 10.0
"""At the soonest, and after a renewal that failed: this machine's clock may be wrong, and then the
server says when it is time."""


class AccessSource:
    """Brings the access tokens of one session.

    Arguments:
        token: the token, or what brings a new one.
        url: the address of the server, for errors.
        timeout_s: how long it may take to bring one, in seconds.
        clock: seconds since 1970, UTC.
    """

    def __init__(
        self,
        token: AccessToken,
        url: str,
        timeout_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._token = token
        self._url = url
        self._timeout_s = timeout_s
        self._clock = clock

    @property
    def renewable(self) -> bool:
        """Whether there is a way to get a new token."""
        return not isinstance(self._token, str)

    async def token(self) -> str:
        """Return a token for now.

        Raises:
            CannotConnect: there is none, and another attempt may bring one.
            ClientError: what brings tokens has raised it, such as `Disconnected`: there will be
                none.
        """
        if isinstance(self._token, str):
            return self._token
        try:
            with trio.move_on_after(self._timeout_s):
                brought = self._token()
                return await brought if isawaitable(brought) else brought
        except ClientError:
            raise
        except Exception as error:
            raise CannotConnect(self._url, f"there is no access token: {error!r}") from error
        raise CannotConnect(self._url, f"no access token within {self._timeout_s:g} s")

    def renew_in_s(self, expires_ms: int) -> float:
        """Return in how many seconds a token that expires then (since 1970, UTC) is renewed."""
        return max((expires_ms / 1000 - self._clock()) * RENEWED_AFTER, AT_LEAST_S)
