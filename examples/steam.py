"""A provider of identities of one's own: players sign in with a ticket of Steam.

    [providers.steam]
    path = "examples.steam:SteamTickets"
    options = { app_id = 480, key_file = "steam.key" }

The game asks Steam for a ticket (`GetAuthTicketForWebApi` with the identity "greenroom") and sends
it, in hexadecimal digits, to `POST /v1/sign-in/with/steam` or with `account.link`. Steam says whose
it is: https://partner.steamgames.com/doc/webapi/ISteamUserAuth#AuthenticateUserTicket
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from actors.accounts.outgoing import Outgoing
from actors.accounts.providers import BadProof, ProviderFailed

STEAM = "https://partner.steam-api.com"
TICKET = re.compile(r"[0-9a-fA-F]{2,5120}")


class SteamTickets:
    """Knows players by tickets of Steam.

    Arguments:
        outgoing: asks over HTTP, within the limits of [accounts].
        app_id: the game's id at Steam.
        key_file: a file with the publisher's key for Steam's web API, which must stay secret.
        url: where Steam is; a test has its own.
    """

    def __init__(self, outgoing: Outgoing, *, app_id: int, key_file: str, url: str = STEAM) -> None:
        self._outgoing = outgoing
        self._app_id = app_id
        self._key = Path(key_file).read_text("utf-8").strip()
        self._url = url

    async def subject(self, proof: str) -> str:
        """Return the SteamID of who has this ticket."""
        if not TICKET.fullmatch(proof):
            raise BadProof("a ticket is in hexadecimal digits")
        asked = {
            "key": self._key, "appid": self._app_id, "ticket": proof, "identity": "greenroom"
        }  # fmt: skip
        path = "/ISteamUserAuth/AuthenticateUserTicket/v1/"
        answer = await self._outgoing.get(f"{self._url}{path}?{urlencode(asked)}")
        params: Any = ((answer.body or {}).get("response") or {}).get("params")
        if answer.status != 200:
            raise ProviderFailed(f"Steam has answered {answer.status}")
        if not isinstance(params, dict) or params.get("result") != "OK":
            raise BadProof("Steam does not know this ticket")
        if params.get("vacbanned") or params.get("publisherbanned"):
            raise BadProof("Steam has banned this player")
        return str(params["steamid"])
