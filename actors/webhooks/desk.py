"""`WebhookDesk`: makes, lists and deletes webhooks, for staff over HTTP."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from actors.edge.api.api_route import ApiCall, ApiRoute
from actors.edge.failures import Refused
from actors.facts import Facts
from actors.webhooks.rows import (
    DeliveryRow,
    DropWebhook,
    ListDeliveries,
    ListWebhooks,
    MakeWebhook,
    ResumeWebhook,
    WebhookRow,
)
from actors.webhooks.settings import WebhookSettings
from protocol.errors import BAD_MESSAGE, NOT_FOUND, QUOTA_EXCEEDED
from protocol.http.destinations import BadDestination, check_address, parsed_networks, parsed_url
from protocol.http.signature import secret_text
from protocol.roles import OPERATOR

SECRET_BYTES = 32
_EventType = Annotated[str, Meta(min_length=1, max_length=64)]


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """The webhook that is asked for. `events`: types of events, or "*" for all."""

    url: Annotated[str, Meta(min_length=1, max_length=2048)]
    events: Annotated[list[_EventType], Meta(min_length=1, max_length=64)]


class WebhookMade(msgspec.Struct, frozen=True):
    """A new webhook. The secret, by which it checks signatures, is shown here and never again."""

    id: str
    secret: str


class WebhookList(msgspec.Struct, frozen=True):
    """All webhooks, the oldest first."""

    webhooks: list[WebhookRow]


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events of a webhook are listed: the dead ones, or those that wait."""

    dead: bool = True


class DeliveryList(msgspec.Struct, frozen=True):
    """Events of a webhook, the oldest first, 100 at most."""

    events: list[DeliveryRow]


class WebhookDesk:
    """Answers the routes of webhooks.

    Arguments:
        facts: keeps them.
        settings: the section of webhooks.
        events: the types of events that this server tells of.
    """

    def __init__(self, facts: Facts, settings: WebhookSettings, events: frozenset[str]) -> None:
        self._facts = facts
        self._settings = settings
        self._networks = parsed_networks(settings.networks)
        self._events = events

    def routes(self) -> Sequence[ApiRoute]:
        """Return its routes of the HTTP API."""
        return (
            ApiRoute(
                method="GET", path="/v1/webhooks", role=OPERATOR, scope="webhooks.list",
                summary="List all webhooks, with how many events wait and are dead.",
                handle=self._list, answer=WebhookList,
            ),
            ApiRoute(
                method="POST", path="/v1/webhooks", role=OPERATOR, scope="webhooks.create",
                summary="Make a webhook. Its secret is in the answer, and never shown again.",
                handle=self._make, body=NewWebhook, answer=WebhookMade, errors=(QUOTA_EXCEEDED,),
            ),
            ApiRoute(
                method="DELETE", path="/v1/webhooks/{id}", role=OPERATOR, scope="webhooks.delete",
                summary="Delete a webhook, and what waits for it.",
                handle=self._drop, errors=(NOT_FOUND,),
            ),
            ApiRoute(
                method="GET", path="/v1/webhooks/{id}/events", role=OPERATOR,
                scope="webhooks.list", summary="List a webhook's events that are dead or wait.",
                handle=self._deliveries, query=DeliveryFilter, answer=DeliveryList,
            ),
            ApiRoute(
                method="POST", path="/v1/webhooks/{id}/resume", role=OPERATOR,
                scope="webhooks.resume", handle=self._resume, errors=(NOT_FOUND,),
                summary="Send to a webhook again that was stopped, its dead events too.",
            ),
        )  # fmt: skip

    async def _list(self, _: ApiCall) -> WebhookList:
        return WebhookList(await self._facts.ask(ListWebhooks()))

    async def _make(self, call: ApiCall) -> WebhookMade:
        assert call.who is not None
        self._check(call.body)
        id_, secret = f"wh_{secrets.token_hex(8)}", secrets.token_bytes(SECRET_BYTES)
        command = MakeWebhook(
            id_, call.body.url, call.body.events, secret, call.who.user, call.peer,
            self._settings.most,
        )  # fmt: skip
        await self._facts.execute(command, user=call.who.user)
        return WebhookMade(id_, secret_text(secret))

    def _check(self, new: NewWebhook) -> None:
        """Check what can be known now. What the host's name leads to is checked at each try."""
        for one in new.events:
            if one not in self._events and one != "*":
                there_are = ", ".join(sorted(self._events))
                raise Refused(BAD_MESSAGE, f"no event is called {one!r}: {there_are}")
        try:
            to = parsed_url(new.url)
            try:
                check_address(to.host, secure=to.secure, allowed=self._networks)
            except BadDestination:
                raise
            except ValueError:  # a name
                if not to.secure and not self._networks:
                    raise BadDestination("a URL of a webhook begins with https://") from None
        except BadDestination as error:
            raise Refused(BAD_MESSAGE, str(error)) from None

    async def _drop(self, call: ApiCall) -> None:
        assert call.who is not None
        user = call.who.user
        await self._facts.execute(DropWebhook(call.path["id"], user, call.peer), user=user)

    async def _resume(self, call: ApiCall) -> None:
        assert call.who is not None
        user = call.who.user
        await self._facts.execute(ResumeWebhook(call.path["id"], user, call.peer), user=user)

    async def _deliveries(self, call: ApiCall) -> DeliveryList:
        query = ListDeliveries(call.path["id"], call.query.dead)
        return DeliveryList(await self._facts.ask(query))
