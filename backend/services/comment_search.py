"""What comments say, as SQL: the tasks that a search finds by them, how well they say it, and the best of them."""

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Select,
    Text,
    Uuid,
    and_,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY

from backend.models import Comment, table
from backend.services.task_criteria import TASKS, says
from backend.wall import OWNER

COMMENTS: Final = table(Comment)
IDS: Final = ARRAY(Uuid())


def commented(query: Any, *outer: FromClause) -> ColumnElement[Any]:
    """The ids of the tasks of which a living comment says it, as an array; the same one may be in it twice.

    `outer` is what the query stands in, if it stands in a row.
    """
    these = select(COMMENTS.c.task_id).where(*_saying(query)).correlate(*outer)
    return func.array(these.scalar_subquery(), type_=IDS)


def ranked(query: Any, any_word: Any) -> Select[Any]:
    """One row: the same `ids`, each once, and `ranks`, an object that has for each the rank of the best comment.

    By what `rank` has for the words of a task, but with less for their being together, so that no comment comes
    before a description. An object, since it is asked for each task that is found, and sorted by its keys.
    """
    by_length: Any = literal_column("1")  # divides by 1 + log(words)
    together = func.ts_rank(COMMENTS.c.search, query, by_length)
    rank = func.ts_rank(COMMENTS.c.search, any_word) + cast(literal_column("'0.5'"), Double()) * together
    best = select(COMMENTS.c.task_id, func.max(rank).label("rank")).where(*_saying(query))
    each = best.group_by(COMMENTS.c.task_id).subquery("best")
    ids = func.coalesce(func.array_agg(each.c.task_id), cast(literal_column("'{}'"), IDS))
    ranks = func.jsonb_object_agg(each.c.task_id, each.c.rank)
    return select(ids.label("ids"), ranks.label("ranks"))


def rank_in(ranks: Any) -> ColumnElement[float]:
    """Of a task's comments, 0 where none says it."""
    none: Any = literal_column("0")
    of_task: Any = func.coalesce(cast(func.jsonb_object_field_text(ranks, cast(TASKS.c.id, Text())), Double()), none)
    # Mostly no comment says it: an id made text for each task that is found was 3 % of a search.
    return case((ranks.is_(None), none), else_=of_task)


def says_or_is_among(query: Any, ids: Any) -> ColumnElement[bool]:
    """Two arms with an index each, the words' and the primary key: a search costs what it finds, in either way."""
    return or_(says(query), and_(TASKS.c.user_id == OWNER, TASKS.c.id == func.any(cast(ids, IDS))))


def best_of(row: Any, query: Any) -> ColumnElement[str]:
    """The text of the comment that says it best, of the oldest of several; null where none does."""
    # IS TRUE: found by the task, not by everybody's words.
    of_task = COMMENTS.c.user_id == OWNER, COMMENTS.c.task_id == row.id, COMMENTS.c.deleted_at.is_(None)
    saying = select(COMMENTS.c.body).where(*of_task, _says(query).is_(true())).correlate(row.id.table)
    rank = func.ts_rank(COMMENTS.c.search, query)
    best = saying.order_by(rank.desc(), COMMENTS.c.created_at, COMMENTS.c.id)
    return best.limit(literal_column("1")).scalar_subquery()


def _saying(query: Any) -> list[ColumnElement[bool]]:
    """As `sought` and `says` have it for tasks, and for the same reasons."""
    whose = cast(COMMENTS.c.user_id, Text()) == cast(OWNER, Text())
    return [(COMMENTS.c.user_id == OWNER).is_(true()), COMMENTS.c.deleted_at.is_(None), whose, _says(query)]


def _says(query: Any) -> ColumnElement[bool]:
    return COMMENTS.c.search.op("@@", is_comparison=True)(query)
