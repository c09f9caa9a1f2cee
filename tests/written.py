"""Filters made at random, each with what it means: a text and a predicate in plain Python."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from hypothesis import strategies as st

Thing = TypeVar("Thing")


class Written(NamedTuple, Generic[Thing]):
    """A filter, and what it means."""

    text: str
    fits: Callable[[Thing], Any]


def negated(signs: list[str], part: Written[Thing]) -> Written[Thing]:
    odd = len(signs) % 2 == 1
    return Written("".join(signs) + part.text, lambda thing: bool(part.fits(thing)) != odd)


def joined(parts: list[Written[Thing]], joint: str) -> Written[Thing]:
    every = any if joint.strip().lower() == "or" else all
    return Written(joint.join(part.text for part in parts), lambda thing: every(part.fits(thing) for part in parts))


def listed(terms: Mapping[str, Callable[[Thing], Any]]) -> st.SearchStrategy[Written[Thing]]:
    return st.sampled_from(list(terms)).map(lambda text: Written(text, terms[text]))


def written(depth: int, terms: st.SearchStrategy[Written[Thing]]) -> st.SearchStrategy[Written[Thing]]:
    """Expressions of `terms`, with parentheses in at most `depth` levels."""
    leaf = terms
    if depth:
        leaf |= written(depth - 1, terms).map(lambda inner: Written(f"({inner.text})", inner.fits))
    part = st.builds(negated, st.lists(st.sampled_from(["-", "not ", "NOT "]), max_size=2), leaf)
    both = st.builds(joined, st.lists(part, min_size=1, max_size=2), st.sampled_from([" ", " and ", "  AND "]))
    return st.builds(joined, st.lists(both, min_size=1, max_size=2), st.sampled_from([" or ", " OR  "]))
