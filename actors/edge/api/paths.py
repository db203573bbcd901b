"""Finds the route of a method and a path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, unquote

from actors.edge.api.api_route import ApiRoute

_MOST_PARAMETERS: Final = 64


class Paths:
    """The routes of the HTTP API, by their segments.

    A segment `{name}` takes any text but an empty one. If two routes fit a path, the one that has
    its very text wins over the one with a parameter.

    Raises ValueError: two routes have the same address.
    """

    def __init__(self, routes: Sequence[ApiRoute]) -> None:
        self._routes: dict[tuple[str, ...], dict[str, ApiRoute]] = {}
        for route in routes:
            shape = tuple("{}" if part.startswith("{") else part for part in route.path.split("/"))
            there = self._routes.setdefault(shape, {})
            if route.method in there:
                raise ValueError(f"{route.method} {route.path} is there twice")
            there[route.method] = route

    def find(self, method: str, path: str) -> tuple[ApiRoute, dict[str, str]] | None:
        """Return the route and the parameters of its path; None: there is none.

        HEAD is answered as GET is, without the body.
        """
        parts = _parts(path)
        methods = self._methods(parts)
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None or parts is None:
            return None
        named = zip(route.path.split("/"), parts, strict=True)
        return route, {name[1:-1]: part for name, part in named if name.startswith("{")}

    def methods(self, path: str) -> list[str]:
        """Return the methods that a path takes; none: there is no route at that path."""
        found = sorted(self._methods(_parts(path)))
        return [*found, "HEAD"] if "GET" in found else found

    def _methods(self, parts: Sequence[str] | None) -> dict[str, ApiRoute]:
        if parts is None:
            return {}
        exact = self._routes.get(tuple(parts))
        if exact is not None:
            return exact
        for shape, routes in self._routes.items():
            if len(shape) == len(parts) and all(
                part == text or (text == "{}" and part)
                for text, part in zip(shape, parts, strict=True)
            ):
                return routes
        return {}


def _parts(path: str) -> list[str] | None:
    """Return the decoded segments of a path; None: one of them is no UTF-8."""
    try:
        return [unquote(part, errors="strict") for part in path.split("/")]
    except UnicodeDecodeError:
        return None


def parsed_query(query: str, known: Sequence[str]) -> dict[str, str]:
    """Return the known parameters behind the "?". Of one that comes twice, the last counts.

    Raises ValueError if there are too many, or if one is no UTF-8.
    """
    pairs = parse_qsl(
        query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
    )
    return {name: value for name, value in pairs if name in known}
