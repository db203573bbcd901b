"""The example of a provider: tickets of Steam, against a Steam that is played here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.accounts.outgoing import Outgoing
from actors.accounts.providers import Proof, ProviderSettings, load_providers
from protocol.errors import RequestError
from tests.actors.accounts.issuer import answered, open_issuer

OK = {"result": "OK", "steamid": "76561197960287930", "vacbanned": False, "publisherbanned": False}


@pytest.mark.parametrize(
    ("ticket", "status", "params", "text"),
    [
        ("14000000ab", 200, OK, ""),
        ("14000000ab", 200, OK | {"vacbanned": True}, "bad_proof: Steam has banned"),
        ("14000000ab", 200, None, "bad_proof: Steam does not know"),
        ("14000000ab", 403, OK, "provider_failed: Steam has answered 403"),
        ("14000000ab", 500, OK, "provider_away"),
        ("no ticket", 200, OK, "bad_proof: a ticket is in hexadecimal digits"),
    ],
)
async def test_steam_says_whose_a_ticket_is(
    tmp_path: Path, ticket: str, status: int, params: Any, text: str
) -> None:
    asked: list[str] = []

    async def steam(stream: trio.SocketStream, path: str) -> bool:
        asked.append(path)
        body = {"response": {"params": params} if params else {"error": {"errorcode": 101}}}
        await answered(stream, status, json.dumps(body).encode())
        return True

    (tmp_path / "key").write_text("s3cret\n", "utf-8")
    async with open_issuer() as played:
        played.answer = steam
        options = {"app_id": 480, "key_file": str(tmp_path / "key"), "url": played.url}
        settings = ProviderSettings(path="examples.steam:SteamTickets", options=options)
        outgoing = Outgoing(timeout_s=30.0, answer_bytes=65_536, at_once=1)
        provider = load_providers({"steam": settings}, tmp_path, outgoing)["steam"]
        if text:
            with pytest.raises(RequestError, match=text) as refused:
                await provider.shown(Proof(text=ticket))
            assert "s3cret" not in str(refused.value)
        else:
            shown = await provider.shown(Proof(text=ticket))
            assert (shown.issuer, shown.subject) == ("steam", OK["steamid"])
            (path,) = asked
            assert path.endswith("?key=s3cret&appid=480&ticket=14000000ab&identity=greenroom")
