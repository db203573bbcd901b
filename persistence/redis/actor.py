"""`RedisActor`: what the threads with a connection to Redis or Valkey have in common."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from persistence.batching import BatchingActor
from persistence.errors import StoreUnavailable
from persistence.reconnect import Reconnect
from persistence.redis.connection import STORE, one_line
from persistence.redis.lines import open_line
from persistence.requests import StoreRequest
from persistence.settings import RedisSettings


class RedisActor(BatchingActor):
    """A thread with a connection of its own; to a Cluster, with one for each server.

    After an attempt has failed, the store is not asked for a while, and requests fail at once.
    """

    def __init__(self, settings: RedisSettings) -> None:
        super().__init__(capacity=settings.inbox_messages)
        self.batch_weight = settings.batch_commands
        self._prefix = settings.prefix
        self._line = open_line(settings)
        self._reconnect = Reconnect(settings.first_retry_s, settings.max_retry_s)

    def on_stop(self) -> None:
        self._line.close()

    def on_failure(self, *_: Any) -> None:
        self._line.close()

    def answer(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        """Return the store's answers, or `StoreUnavailable` for each request."""
        if self._reconnect.waiting:
            return [StoreUnavailable(STORE, self._reconnect.reason)] * len(requests)
        try:
            answers = self._converse(requests)
        except (RedisError, OSError) as error:
            reason = one_line(error)
            self._reconnect.failed(reason)
            return [StoreUnavailable(STORE, reason)] * len(requests)
        self._reconnect.succeeded()
        return answers

    @abc.abstractmethod
    def _converse(self, requests: Sequence[StoreRequest]) -> Sequence[Any]:
        """Return the answers to all requests, in order.

        Raises RedisError or OSError if the store does not answer.
        """
