"""The template of a path, before anybody has routed it: the direct way never does, and an error may come first."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Mount, compile_path

UNKNOWN: Final = "unknown"
OTHER_METHOD: Final = "OTHER"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Templates:
    """One look in a table, or one match: 2 µs. Whatever is no route is `UNKNOWN`, so that there are only so many."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        shown = dict(_paths(routes))
        self.all = frozenset({*shown.values(), UNKNOWN})
        self._plain = frozenset(path for path in shown if "{" not in path)
        filled = {path: template for path, template in shown.items() if "{" in path}
        self._filled = [*filled.values()]
        patterns = (compile_path(path)[0].pattern.removeprefix("^").removesuffix("$") for path in filled)
        # A group for each template, and none within: the number of the one that matched is the template's.
        self._pattern = re.compile("|".join(f"({re.sub(r'[?]P<[^>]+>', '?:', pattern)})" for pattern in patterns))

    def of(self, path: str) -> str:
        if path in self._plain:
            return path
        found = self._pattern.fullmatch(path) if self._filled else None
        return self._filled[found.lastindex - 1] if found and found.lastindex else UNKNOWN


def _paths(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Each path as it is matched, and as it is shown: without the kinds of what it is filled with."""
    for route in iter_route_contexts([*routes]):
        if isinstance(route.original_route, Mount):
            yield f"{route.path}/{{path:path}}", f"{route.path}/{{path}}"
        elif route.path:
            yield route.path, route.path_format or route.path


def method_of(method: str) -> str:
    return method if method in _METHODS else OTHER_METHOD
