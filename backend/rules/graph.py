"""Dependencies as a graph without circles: an edge leads from a task to what it depends on."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

MOST_DOUBTFUL: Final = 500
"""Edges that are looked at one by one: each may take as long as all that lies on circles."""


class Edge(NamedTuple):
    task: UUID
    depends_on: UUID


class Transfer(NamedTuple):
    """What becomes of the edges, by their places among those that were given."""

    moved: list[int]
    dropped: list[int]  # they would be there twice, or lead from a task to itself
    after: set[Edge]


def circle(edges: Iterable[Edge], task: UUID) -> list[UUID] | None:
    """The shortest way from a task back to itself, which is its first and its last; None where there is none.

    Takes time in proportion to the edges.
    """
    return _way_back(_onward(edges), task)


def transfer(edges: Sequence[Edge], source: UUID, target: UUID) -> Transfer:
    """`edges` are all those of both tasks; those of the source become the target's."""
    there = {edge for edge in edges if source not in edge}
    moved, dropped = [], []
    for place, edge in enumerate(edges):
        if source not in edge:
            continue
        new = _redirected(edge, source, target)
        if new in there or new.task == new.depends_on:
            dropped.append(place)
        else:
            there.add(new)
            moved.append(place)
    return Transfer(moved, dropped, there)


def merged(edges: Iterable[Edge], source: UUID, target: UUID) -> Iterator[Edge]:
    """As they are when those of the source have become the target's."""
    for edge in edges:
        new = _redirected(edge, source, target)
        if new.task != new.depends_on:
            yield new


def restorable(living: Iterable[Edge], wanted: Iterable[Edge]) -> list[Edge]:
    """Those of `wanted` that close no circle with the living ones and with those kept before, in their order.

    `living` are at least those that can be reached from the tasks of `wanted`. What is living already is left out.
    Takes time in proportion to the edges, and to `MOST_DOUBTFUL` times those that lie on circles; of more than so
    many that might close one, the others are left out.
    """
    there = set(living)
    new = [edge for edge in dict.fromkeys(wanted) if edge not in there]
    round_about = _on_circles({*there, *new})
    doubtful = [edge for edge in new if edge in round_about]
    onward = _onward(edge for edge in there if edge in round_about)
    left = set(doubtful[MOST_DOUBTFUL:])
    for edge in doubtful[:MOST_DOUBTFUL]:
        onward[edge.task].append(edge.depends_on)
        if _way_back(onward, edge.task):
            onward[edge.task].pop()
            left.add(edge)
    return [edge for edge in new if edge not in left]


def _on_circles(edges: Iterable[Edge]) -> set[Edge]:
    """What is left when tasks without an edge on one of their sides were taken away, again and again."""
    left = set(edges)
    for here, there in ((0, 1), (1, 0)):
        count, beyond = Counter(edge[here] for edge in left), defaultdict(list)
        for edge in left:
            beyond[edge[there]].append(edge)
        free = [task for task in beyond if not count[task]]
        while free:
            for edge in beyond.pop(free.pop(), ()):
                left.discard(edge)
                count[edge[here]] -= 1
                if not count[edge[here]]:
                    free.append(edge[here])
    return left


def _redirected(edge: Edge, source: UUID, target: UUID) -> Edge:
    return Edge(*(target if task == source else task for task in edge))


def _onward(edges: Iterable[Edge]) -> dict[UUID, list[UUID]]:
    onward: dict[UUID, list[UUID]] = defaultdict(list)
    for task, depends_on in edges:
        onward[task].append(depends_on)
    return onward


def _way_back(onward: Mapping[UUID, Sequence[UUID]], start: UUID) -> list[UUID] | None:
    """Breadth first: the first way that is found is a shortest one."""
    before: dict[UUID, UUID] = {}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        for there in onward.get(here, ()):
            if there == start:
                return _back_along(before, here, start)
            if there not in before:
                before[there] = here
                waiting.append(there)
    return None


def _back_along(before: Mapping[UUID, UUID], last: UUID, start: UUID) -> list[UUID]:
    way = [start, last]
    while way[-1] != start:
        way.append(before[way[-1]])
    return way[::-1]
