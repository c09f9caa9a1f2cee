"""Full-text search as SQL: the query, its rank, its snippets, and the words that were nearly typed."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    Double,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    not_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, REAL, TSQUERY, aggregate_order_by

from backend.services.comment_search import best_of, commented, rank_in, ranked, says_or_is_among
from backend.services.task_criteria import CONFIGURATION, TASKS, demanding, living, sought, tsquery

QUERY: Final = tsquery(bindparam("in_search", type_=Text()))
ANY_WORD: Final = tsquery(bindparam("in_any", type_=Text()))
SNIPPET: Final = literal_column(
    """'StartSel=<mark>, StopSel=</mark>, MaxFragments=2, MaxWords=24, MinWords=8, FragmentDelimiter=" … "'""",
    Text(),
)
WHOLE: Final = literal_column("'StartSel=<mark>, StopSel=</mark>, HighlightAll=true'", Text())
RECENT: Final[Any] = literal_column("2000")
"""Tasks whose titles and tags make the vocabulary: more would take longer than somebody waits for a hint."""
NEAR: Final[Any] = cast(literal_column("'0.4'"), REAL())
"""How similar a word must be, of 1: `figgs` is to `figs` by 0.57, `zurch` to `zurich` by 0.44 (pg_trgm)."""
NEAREST: Final[Any] = literal_column("3")


def _number(text: str) -> ColumnElement[float]:
    return cast(literal_column(f"'{text}'"), Double())


class Words(NamedTuple):
    """What is searched for. Each is made once, which takes 11 µs, and selected: a plan for any values would make it
    anew for each task.
    """

    query: Any
    demanded: Any  # the same, as one that demands a word
    any_word: Any
    either: Any  # any of the words or, where it is fuzzy, of their likes
    ids: Any  # of the tasks that a comment says it of
    ranks: Any  # and their ranks by that; none unless they are sorted by it


def words(*, fuzzy: bool = False, by_rank: bool = True) -> Words:
    typed = select(QUERY.label("query"), ANY_WORD.label("any_word")).cte("typed")
    query = loosely(vocabulary()) if fuzzy else typed
    demanded = query if fuzzy else select(demanding(typed.c.query).label("query")).cte("demanded")
    asked, any_word = _the(demanded.c.query), _the(typed.c.any_word)
    found = ranked(asked, any_word) if by_rank else select(commented(asked).label("ids"))
    comments = found.cte("commented")
    ids, ranks = _the(comments.c.ids), _the(comments.c.ranks) if by_rank else None
    return Words(_the(query.c.query), asked, any_word, _the(query.c.either) if fuzzy else any_word, ids, ranks)


def _the(value: Any) -> Any:
    return select(value).scalar_subquery()


def found_by(words: Words) -> ColumnElement[bool]:
    return says_or_is_among(words.demanded, words.ids)


def ranked_hits(words: Words, where: Sequence[ColumnElement[bool]], *, likes: bool) -> CTE:
    """The ids of the tasks that are found, each with its rank as `key`: to be counted, and the best of them read.

    Found once for both, and no more of them sorted than this.
    """
    return select(TASKS.c.id, rank(words, likes=likes).label("key")).where(*where).cte("hits")


def rank(words: Words, *, likes: bool = False) -> ColumnElement[float]:
    """Title over tags over description over comments, short over long; what is open and what is young a little
    before the rest.

    The sum of three. First any of the words: where each of them stands, however far apart, and without those
    that must not be there. By the query alone, a minus makes ts_rank the same for all, and so do words that
    stand 20 places apart. Then the query itself: how near together they are, which counts for less in a long
    task. The length is in the second alone, so that no title comes after a tag for it. Where the query finds
    the `likes` of the words too, it counts so little that a like in a title comes after the word itself in a
    description. Third, what the best of the comments says.

    An order by it does not move with the clock: youth counts by halving every ten years, so that the ratio
    of two tasks stays as it is. real, like ts_rank itself: a double never compares equal to what a cursor
    brings back, and the walk would never end.
    """
    open_first = case((TASKS.c.completed, _number("0.9")), else_=_number("1"))
    decades = func.date_part(literal_column("'epoch'"), TASKS.c.created_at, type_=Double()) / _number("315569520")
    since_2020 = func.greatest(_number("-10"), func.least(_number("10"), decades - _number("5")))
    young_first = func.power(_number("2"), since_2020)
    by_length: Any = literal_column("1")  # divides by 1 + log(words)
    each = func.ts_rank(TASKS.c.search, words.any_word)
    together = func.ts_rank(TASKS.c.search, words.query, by_length)
    in_task = each + _number("0.5" if likes else "2") * together
    return cast((in_task + rank_in(words.ranks)) * open_first * young_first, REAL())


def snippet(row: Any, words: Words) -> ColumnElement[str]:
    """Of the task, or of a comment where the task does not say it. With its tags where it says it by these.

    Escaped before the marks are set, so that a title is never taken for HTML.
    """
    own = _joined(row.title, func.nullif(row.description, literal_column("''")))
    comment = func.coalesce(best_of(row, words.query), own)
    said = row.search.op("@@")(words.query)
    by_tags = and_(said, not_(func.ts_filter(row.search, literal_column("'{a,c}'")).op("@@")(words.query)))
    # A query that the text does not fulfil by itself would mark nothing in it.
    asked = case((by_tags, words.either), else_=words.query)
    around = _marked(case((said, own), else_=comment), asked, SNIPPET)
    return _joined(around, case((by_tags, _marked(_tags_of(row), words.either, WHOLE)))).label("snippet")


def _joined(*texts: Any) -> ColumnElement[str]:
    return func.concat_ws(literal_column("' · '"), *texts)


def _marked(text: Any, query: Any, options: Any) -> ColumnElement[str]:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = func.replace(text, literal_column(f"'{character}'"), literal_column(f"'{entity}'"))
    return func.ts_headline(CONFIGURATION, text, query, options)


def _tags_of(row: Any) -> Any:
    each = func.jsonb_array_elements_text(row.tags).table_valued("value", name="tag")
    return select(func.string_agg(each.c.value, literal_column("', '"))).correlate(row.id.table).scalar_subquery()


def vocabulary() -> CTE:
    """The words in the owner's recent titles and tags, as they are written, and in how many tasks."""
    recent = (
        select(TASKS.c.title, TASKS.c.tags)
        .where(*living())
        .order_by(TASKS.c.created_at.desc(), TASKS.c.id.desc())
        .limit(RECENT)
        .subquery("recent")
    )
    text = func.search_text(recent.c.title + literal_column("' '") + cast(recent.c.tags, Text()))
    vector = func.to_tsvector(func.search_config(literal_column("'simple'")), text)
    words = func.unnest(vector).table_valued("lexeme", "positions", "weights", name="words", joins_implicitly=True)
    word: Any = words.c.lexeme
    return (
        select(word.label("word"), func.count().label("tasks"))
        .select_from(recent.join(words, true()))
        .where(func.char_length(word).between(literal_column("3"), literal_column("40")))
        .group_by(word)
        .cte("vocabulary")
    )


def _near(known: CTE, typed: Any, most: ColumnElement[int]) -> Select[Any]:
    """Of the words that are known the nearest to the one that was typed."""
    likeness = func.similarity(known.c.word, typed)
    nearest = likeness.desc(), known.c.tasks.desc(), known.c.word.collate("C")
    return select(known.c.word).where(likeness >= NEAR).order_by(*nearest).limit(most)


def _typed() -> Any:
    words = func.unnest(bindparam("in_words", type_=ARRAY(Text())))
    return words.table_valued("word", with_ordinality="n", name="typed").render_derived()


def loosely(known: CTE) -> CTE:
    """The query that also finds what is written nearly as the words that were typed: all of them, each or its like.

    And `either`, which finds any of them.
    """
    typed = _typed()
    near = _near(known, typed.c.word, NEAREST).correlate(typed).lateral("near")
    alike = select(func.string_agg(_lexemes(near.c.word), literal_column("' | '"))).scalar_subquery()
    likes = func.concat_ws(literal_column("' | '"), _lexemes(typed.c.word), alike).label("likes")
    # With an OFFSET it is not put wherever it is named: all that is known is looked through once for a word.
    each = select(likes).select_from(typed).offset(literal_column("0")).subquery("each")
    # A stop word leaves nothing to put brackets around.
    bracketed = func.concat(literal_column("'('"), each.c.likes, literal_column("')'"))
    one = case((each.c.likes != literal_column("''"), bracketed))
    return select(_all_by("&", one).label("query"), _all_by("|", one).label("either")).cte("loose")


def _all_by(operator: str, one: Any) -> ColumnElement[Any]:
    together = func.string_agg(one, literal_column(f"' {operator} '"))
    return cast(func.coalesce(together, literal_column("''")), TSQUERY)


def _lexemes(word: Any) -> ColumnElement[str]:
    """As text of a tsquery; null for a stop word."""
    query = func.plainto_tsquery(CONFIGURATION, func.search_text(word))
    return func.nullif(cast(query, Text()), literal_column("''"))


def meant(known: CTE) -> ColumnElement[Any]:
    """For each word that was typed the nearest known one, null where it stays; null when all stay.

    A word stays that finds something by itself, wherever it stands and in whichever form, and so does one
    that is not looked for, like "the".
    """
    typed = _typed()
    word = func.plainto_tsquery(CONFIGURATION, func.search_text(typed.c.word))
    hit: Any = (
        select(literal_column("1")).select_from(TASKS).where(*sought(), says_or_is_among(word, commented(word, typed)))
    )
    looked_for = func.numnode(word) > literal_column("0")
    unknown = and_(looked_for, not_(hit.correlate(typed).exists()))
    another = _near(known, typed.c.word, literal_column("1")).where(unknown, known.c.word != typed.c.word)
    near = another.correlate(typed).lateral("near")
    words = func.array_agg(aggregate_order_by(near.c.word, typed.c.n))
    return (
        select(case((func.bool_or(near.c.word.is_not(None)), words)))
        .select_from(typed.outerjoin(near, true()))
        .scalar_subquery()
    )
