"""Circles, transfers and what can be restored, against an oracle that tries every way."""

from itertools import combinations, pairwise, permutations
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from backend.rules import graph
from backend.rules.graph import Edge

TASKS = [UUID(int=n) for n in range(5)]
edges = st.sampled_from([Edge(one, other) for one in TASKS for other in TASKS if one != other])
graphs = st.lists(edges, unique=True, max_size=12)
falling = graphs.map(lambda some: [edge for edge in some if edge.task.int > edge.depends_on.int])
"""Without circles."""


def circles(some: list[Edge], task: UUID) -> list[list[UUID]]:
    """All ways from a task back to itself, by trying."""
    there = set(some)
    others = [other for other in TASKS if other != task]
    ways = [[task, *between, task] for size in range(len(TASKS)) for between in permutations(others, size)]
    return [way for way in ways if all(Edge(*step) in there for step in pairwise(way))]


def has_circle(some: list[Edge]) -> bool:
    return any(circles(some, task) for task in TASKS)


@given(graphs, st.sampled_from(TASKS))
def test_a_circle_is_found_where_there_is_one_and_there_is_none_shorter(some: list[Edge], task: UUID) -> None:
    found, there = graph.circle(some, task), circles(some, task)

    if found is None:
        assert there == []
    else:
        assert found in there
        assert len(found) == min(map(len, there))


def test_a_task_that_depends_on_itself_is_a_circle_of_one() -> None:
    assert graph.circle([Edge(TASKS[0], TASKS[0])], TASKS[0]) == [TASKS[0], TASKS[0]]


def test_ways_that_part_and_meet_again_and_again_are_gone_through_once() -> None:
    """Two hundred times two ways: 2 to the power of 200 from one end to the other."""
    steps = [UUID(int=n) for n in range(601)]
    some = [Edge(steps[n], steps[n + side]) for n in range(0, 600, 3) for side in (1, 2)]
    some += [Edge(steps[n + side], steps[n + 3]) for n in range(0, 600, 3) for side in (1, 2)]

    assert graph.circle(some, steps[0]) is None
    closed = graph.circle([*some, Edge(steps[600], steps[0])], steps[0])
    assert closed is not None
    assert len(closed) == 402


@given(falling, st.sampled_from(list(combinations(TASKS, 2))))
def test_a_transfer_leaves_every_edge_once_and_none_of_the_source(some: list[Edge], pair: tuple[UUID, UUID]) -> None:
    source, target = pair
    theirs = [edge for edge in some if source in edge or target in edge]
    renamed = {Edge(*(target if task == source else task for task in edge)) for edge in theirs}
    expected = {edge for edge in renamed if edge.task != edge.depends_on}

    done = graph.transfer(theirs, source, target)

    assert done.after == expected == set(graph.merged(theirs, source, target))
    assert sorted([*done.moved, *done.dropped]) == [n for n, edge in enumerate(theirs) if source in edge]
    assert len(theirs) - len(done.dropped) == len(expected)


@given(falling, graphs)
def test_what_is_restored_closes_no_circle_and_what_is_not_would_or_is_there(
    living: list[Edge], wanted: list[Edge]
) -> None:
    kept = graph.restorable(living, wanted)

    there = list(living)
    for edge in wanted:
        fits = edge not in there and not circles([*there, edge], edge.task)
        assert (edge in kept) == fits
        if fits:
            there.append(edge)
    assert kept == [edge for edge in wanted if edge in kept]
    assert not has_circle(there)


def test_what_is_wanted_twice_is_restored_once() -> None:
    edge = Edge(TASKS[0], TASKS[1])

    assert graph.restorable([], [edge, edge]) == [edge]


def test_of_very_many_that_close_circles_the_first_are_looked_at_and_the_rest_left_out() -> None:
    tasks = [UUID(int=n) for n in range(2_000)]
    ring = [Edge(tasks[n], tasks[(n + 1) % 2_000]) for n in range(2_000)]
    free = [Edge(UUID(int=5_000 + n), tasks[n]) for n in range(1_000)]

    kept = graph.restorable([], [*free, *ring])

    assert kept == [*free, *ring[: graph.MOST_DOUBTFUL]]


def test_very_many_that_close_none_all_come_back() -> None:
    tasks = [UUID(int=n) for n in range(3_000)]
    chain = [Edge(task, after) for task, after in pairwise(tasks)][::-1]

    assert graph.restorable(chain[:1_000], chain) == chain[1_000:]
