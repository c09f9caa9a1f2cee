"""No listing reads the whole table: what Postgres plans for every shape, with 100,000 tasks of 100 users.

Each shape is planned twice: for its values, as the first executions on a connection are, and for any
values (a generic plan), as Postgres may choose to once the statement is prepared.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, Text, bindparam, create_engine, event, func, select, text

from backend import statements
from backend.schemas.filters import Sort
from backend.services import (
    activity,
    comments,
    dependency_query,
    pulling,
    saved_filters,
    tag_query,
    tags,
    task_family,
    task_query,
)
from backend.services.falling import with_tasks
from backend.services.task_criteria import CRITERIA, TASKS, Form, names_in, required, says, sought, tsquery
from backend.services.task_dependencies import BACK, DEPENDENCIES, ONWARD
from backend.services.task_query import Shape
from tests import servers

pytestmark = pytest.mark.long  # it fills tables of a hundred thousand rows

NUMBERED: Any = create_engine("postgresql+psycopg://", paramstyle="numeric_dollar").dialect
USERS, EACH, FILTERS, WAITING, COMMENTS, CHANGES = 100, 1000, 50, 300, 200, 100
OWNER = UUID(int=42)
NONE: Form = ("and", ())

# Every user's tasks lie scattered over the table, as they do when all users write; words and tags are in some tasks
# of everybody, so that an index that was not fenced by user would find a hundred times too many.
FILL = f"""
INSERT INTO users (id, email, email_key, name)
SELECT lpad(to_hex(u), 32, '0')::uuid, u || '@example.com', u || '@example.com', 'User'
FROM generate_series(1, {USERS}) u;

INSERT INTO tasks (user_id, id, version, title, title_key, description, priority, due_date, tags, completed,
                   completed_at, created_at, updated_at, deleted_at)
SELECT lpad(to_hex(1 + n % {USERS}), 32, '0')::uuid, md5(n::text)::uuid, 1 + n / {USERS},
       'task ' || n % 977 || ' of figs', 'task ' || n % 977 || ' of figs', 'water ' || n % 101,
       (ARRAY['low', 'medium', 'high'])[1 + n % 3]::priority,
       CASE WHEN n % 10 < 7 THEN timestamptz '2026-01-01Z' + n % 3119 * interval '3 hours' END,
       jsonb_build_array('tag' || n % 31, 'tag' || 31 + n % 29), n % 4 = 0,
       CASE WHEN n % 4 = 0 THEN timestamptz '2026-01-01Z' END,
       timestamptz '2026-01-01Z' + n * interval '1 minute', timestamptz '2026-01-01Z' + n * interval '1 minute',
       CASE WHEN n % 50 = 0 THEN timestamptz '2026-01-02Z' END
FROM generate_series(0, {USERS * EACH - 1}) n;

INSERT INTO filters (user_id, id, version, name, name_key, filter)
SELECT lpad(to_hex(1 + n % {USERS}), 32, '0')::uuid, md5(n::text)::uuid, {EACH} + 1 + n / {USERS},
       'Filter ' || n, 'filter ' || n, 'figs'
FROM generate_series(0, {USERS * FILTERS - 1}) n;

INSERT INTO dependencies (user_id, id, version, task_id, depends_on_id)
SELECT lpad(to_hex(1 + n % {USERS}), 32, '0')::uuid, md5(n::text)::uuid, {EACH + FILTERS} + 1 + n / {USERS},
       md5(n::text)::uuid, md5((n + {USERS} * (1 + n % 7))::text)::uuid
FROM generate_series(0, {USERS * WAITING - 1}) n;

INSERT INTO comments (user_id, id, version, task_id, body)
SELECT lpad(to_hex(1 + n % {USERS}), 32, '0')::uuid, md5(n::text)::uuid, {EACH} + {FILTERS} + 1 + n / {USERS},
       md5(n::text)::uuid, 'task ' || n % 977 || ' said of figs and lemons'
FROM generate_series(0, {USERS * COMMENTS - 1}) n;

INSERT INTO activity (user_id, version, task_id, kind)
SELECT lpad(to_hex(1 + n % {USERS}), 32, '0')::uuid, 1 + n / {USERS}, md5((n % (7 * {USERS}))::text)::uuid, 'changed'
FROM generate_series(0, {USERS * CHANGES - 1}) n;
"""

VALUES = {
    "owner": OWNER,
    "in_search": "'task 7' & 'figs'",
    "in_any": "'task 7' | 'figs'",
    "in_words": ["task", "figs"],
    "in_configuration": "tend_english",
    "in_anew": True,
    "in_offset": 20,
    "in_limit": 20,
    "after_id": UUID(int=1 << 127),
    "row_id": UUID(int=1 << 127),
    "task_id": UUID(int=1 << 127),
    "saved_id": UUID(int=1 << 127),
    "after_key": "filter 50",
    "names": ["tag7", "none"],
    "into": "tag8",
    "before": 50,
    "in_named": True,
    "by_session": None,
    "by_token": None,
    "by_client": None,
    "by_clock": None,
    "in_client": OWNER,
    "in_epoch": OWNER,
    "in_after": 500,
    "in_base": 0,
    **{f"in_{n}": [f"tag{7 + n}"] for n in range(20)},
    "in_task": UUID(int=1 << 127),
    "in_other": UUID(int=1 << 126),
    "ids": [UUID(int=1 << 127), UUID(int=1 << 126)],
    "parents": [UUID(int=1 << 127)],
    "projects": [UUID(int=1 << 127)],
}
FIRST, END = datetime(2026, 5, 10, tzinfo=UTC), datetime(2026, 5, 12, tzinfo=UTC)
ASKED: dict[str, Any] = {
    "completed": False,
    "priority": ["high"],
    "tags": ["tag7"],
    "any_tag": ["tag7"],
    "text": "'task 7' & 'figs'",
    "project": [UUID(int=7)],
    "project_named": "project 7",
    "parent": UUID(int=7),
    "due_at": FIRST,
    "overdue": FIRST,
} | {
    f"{what}_{side}": at
    for what in ("due", "created", "updated", "completed")
    for side, at in (("from", FIRST), ("until", END))
}
# The place of a cursor in the middle of each order.
AFTER = {
    Sort.created: "2026-02-05 00:00:00+00",
    Sort.updated: "500",
    Sort.title: "task 500 of figs",
    Sort.priority: "medium",
    Sort.due_date: "2026-07-10 00:00:00+00",
    Sort.position: "m064f0000000000",
    Sort.relevance: "0.4",
}
WALKED = {
    Sort.created: "tasks_created",
    Sort.updated: "tasks_user_id_version_key",
    Sort.title: "tasks_title",
    Sort.priority: "tasks_priority",
    Sort.due_date: "tasks_due",
    Sort.position: "tasks_position",
}
COMBINED: list[Form] = [
    ("and", ("completed", "priority")),
    ("and", ("due_from", "due_until")),
    ("and", ("overdue", "tags")),
    ("and", ("completed", "priority", "due_until", "tags", ("not", ("any_tag",)), "text")),
    ("or", ("tags", "tags")),
    ("or", ("tags", ("and", ("priority", ("not", ("text",)))))),
    ("and", ("blocked", "tags")),
    ("or", ("blocked", "blocking")),
    *(("not", (name,)) for name in ("due_until", "tags", "text", "blocked")),
]


@pytest.fixture(scope="module")
def engine(server: str) -> Iterator[Engine]:
    """A database that is made once, since filling it takes longer than all the planning, and is only read."""
    name = f"tend_plans_{os.environ.get('PYTEST_XDIST_WORKER', 'gw')}"
    servers.create(server, name)
    # Nothing is prepared behind our back.
    engine = create_engine(
        servers.database(server, name), isolation_level="AUTOCOMMIT", connect_args={"prepare_threshold": None}
    )
    with engine.connect() as connection:
        connection.exec_driver_sql("SET maintenance_work_mem = '256MB'")
        fill(connection)
    yield engine
    engine.dispose()
    servers.drop(server, name)


def fill(connection: Connection) -> None:
    """The indexes are taken away meanwhile: building them afterwards takes a fraction of the time."""
    definitions = list(
        connection.scalars(
            text(
                "SELECT indexdef FROM pg_indexes WHERE tablename = 'tasks' AND indexname NOT IN "
                "(SELECT conname FROM pg_constraint WHERE conrelid = 'tasks'::regclass)"
            )
        )
    )
    for definition in definitions:
        connection.exec_driver_sql(f"DROP INDEX {definition.split()[2]}")
    for statement in (
        *FILL.split(";\n"),
        *definitions,
        "VACUUM ANALYZE tasks, comments, dependencies",
        "ANALYZE users, filters, activity",
    ):
        if statement.strip():
            connection.execute(text(statement.replace(":", "\\:")))


@pytest.fixture
def connection(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    # The wall takes longer to read a statement than Postgres to plan it. Whatever is run is read before all the same.
    monkeypatch.setattr(statements, "checked", lambda statement: statement)
    with engine.connect() as connection:
        yield connection


class Plan(dict[str, Any]):
    """As EXPLAIN (FORMAT JSON) gives it."""


def plan_for_values(
    connection: Connection, statement: Any, shape: Shape | None = None, explain_by: str = "FORMAT JSON", **more: Any
) -> Plan:
    """The statement as the application sends it, bound in the same way, with EXPLAIN before it."""
    values = {**VALUES, **more}
    if shape:
        named = [name for name in names_in(shape.form) if CRITERIA[name].type is not None]
        values = {**VALUES, "after_key": AFTER[shape.sort], **{f"in_{n}": ASKED[name] for n, name in enumerate(named)}}

    def explain(_connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return f"EXPLAIN ({explain_by}) {sql}", parameters

    event.listen(connection, "before_cursor_execute", explain, retval=True)
    try:
        # What is read is the plan, not the columns that the result would have had.
        cursor: Any = connection.execute(statement, values).cursor
        return Plan(cursor.fetchone()[0][0]["Plan"])
    finally:
        event.remove(connection, "before_cursor_execute", explain)


def plan_for_any_values(connection: Connection, statement: Any, explain_by: str = "FORMAT JSON") -> Plan:
    compiled = statement.compile(dialect=NUMBERED)
    connection.exec_driver_sql("SET plan_cache_mode = force_generic_plan")
    connection.exec_driver_sql(f"PREPARE listing AS {compiled.string}")
    try:
        # The values do not matter to such a plan.
        nothing = ", ".join(["NULL"] * len(compiled.positiontup))
        return Plan(
            connection.exec_driver_sql(f"EXPLAIN ({explain_by}) EXECUTE listing({nothing})").scalar_one()[0]["Plan"]
        )
    finally:
        connection.exec_driver_sql("DEALLOCATE listing")


def plans(connection: Connection, statement: Any, shape: Shape | None = None) -> tuple[Plan, Plan]:
    return plan_for_values(connection, statement, shape), plan_for_any_values(connection, statement)


def plans_of(connection: Connection, shape: Shape) -> Iterator[Plan]:
    """Those that Postgres may choose: of a shape that is planned anew, one for any values looks too dear to it."""
    yield from plans(connection, task_query.page(shape), shape)[: 1 if shape.planned_anew else 2]


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def reads_by_index(plan: Mapping[str, Any], table: str = "tasks") -> bool:
    """Every reading of the table is through an index, with the user among its conditions, and there is one at least."""
    reads = [node for node in nodes(plan) if node.get("Relation Name") == table]
    indexes = [node for node in nodes(plan) if str(node.get("Index Name", "")).startswith(f"{table}_")]
    fenced = all("user_id" in node.get("Index Cond", "") for node in indexes)
    return bool(indexes) and fenced and all("Seq Scan" not in node["Node Type"] for node in reads)


def shapes(sort: Sort) -> Iterator[Shape]:
    """All that this sort can be asked with, one criterion at a time, and some together.

    Crossed with the criteria, all are counted: the page of a counted listing is planned as that of one
    that is not.
    """
    for falling in (False, True):
        for after in (False, True):
            yield shape_of(NONE, sort, falling, after, counted=False)
            # Which index finds the rows does not depend on the order that they are walked in, if it is not walked.
            for form in (NONE, *CRITERIA, *COMBINED) if sort in {Sort.created, Sort.relevance} else (NONE, *COMBINED):
                yield shape_of(form, sort, falling, after)


def shape_of(form: Form, sort: Sort, falling: bool, after: bool, *, counted: bool = True) -> Shape:
    search: Any = "exact" if sort is Sort.relevance else "no"
    total: Any = "exact" if counted else "none"
    return Shape(form, sort, falling, "cursor" if after else "page", None, total, search)


@pytest.mark.parametrize("sort", Sort)
def test_no_listing_reads_the_whole_table(connection: Connection, sort: Sort) -> None:
    for shape in shapes(sort):
        for plan in plans_of(connection, shape):
            assert reads_by_index(plan), shape


def test_what_depends_on_the_values_is_planned_for_them_each_time(connection: Connection) -> None:
    """Postgres takes a plan for any values where it is cheaper than those for their values were."""
    for form in ("due_from", "priority", ("or", ("tags", "completed"))):
        shape = shape_of(form, Sort.created, falling=True, after=False)

        for_values, for_any = plans(connection, task_query.page(shape), shape)

        assert for_any["Total Cost"] > 1_000 * for_values["Total Cost"]


def test_a_plain_page_is_planned_once(connection: Connection) -> None:
    shape = shape_of(NONE, Sort.created, falling=True, after=False)._replace(start="first", limit=20)

    for_values, for_any = plans(connection, task_query.page(shape), shape)

    assert for_any["Total Cost"] <= 1.1 * for_values["Total Cost"]  # and the planning counts


def test_a_page_of_changes_reads_no_further_than_to_its_end(connection: Connection) -> None:
    """Each table by its index on the version, merged: a sort would read, and make JSON of, all that is to come."""
    for plan in plans(connection, pulling._page(False)):
        merged = [node for node in nodes(plan) if node["Node Type"] == "Merge Append"]
        for table in ("tasks", "comments", "dependencies"):  # of fifty filters a sort is as good
            reads = [node for node in nodes(plan) if node.get("Relation Name") == table]
            assert [node.get("Index Name") for node in reads] == [f"{table}_user_id_version_key"]
            assert all("version >" in node["Index Cond"] and "user_id =" in node["Index Cond"] for node in reads)
        sorts = [node for node in nodes(merged[0]) if node["Node Type"] == "Sort"]
        assert not any(node.get("Relation Name") == "tasks" for each in sorts for node in nodes(each))


@pytest.mark.parametrize("form", ["tags", "text", ("and", ("completed", "priority", "tags"))])
def test_words_and_tags_are_found_by_their_index_for_any_user(connection: Connection, form: Form) -> None:
    shape = shape_of(form, Sort.created, falling=True, after=False)

    for plan in plans(connection, task_query.page(shape), shape):
        reads = [node for node in nodes(plan) if node.get("Relation Name") == "tasks"]
        indexes = {node["Index Name"] for node in nodes(plan) if "Bitmap Index" in node["Node Type"]}
        assert {node["Node Type"] for node in reads} == {"Bitmap Heap Scan"}
        assert indexes == {"tasks_search" if form == "text" else "tasks_tags"}


def test_a_highlighted_search_does_not_read_the_whole_table(connection: Connection) -> None:
    shape = shape_of(NONE, Sort.relevance, falling=True, after=False)._replace(highlight=True)

    for plan in plans_of(connection, shape):
        assert reads_by_index(plan)


@pytest.mark.parametrize("sort", [Sort.relevance, Sort.created, Sort.due_date])
@pytest.mark.parametrize("search", ["exact", "fuzzy"])
@pytest.mark.parametrize("form", [NONE, ("and", ("completed", "due_from", "tags", "text"))])
def test_comments_are_looked_through_once_and_their_tasks_found_by_key_for_any_user(
    connection: Connection, form: Form, search: Any, sort: Sort
) -> None:
    every = {"total": "exact", "highlight": True, "facets": ("tag", "status")}
    shape = Shape(form, sort, True, "cursor", None, search=search, **every)  # type: ignore[arg-type]

    for plan in plans_of(connection, shape):
        assert reads_by_index(plan)
        assert reads_by_index(plan, "comments")
        scans = [node for node in nodes(plan) if str(node.get("Index Name", "")).startswith("comments_")]
        through = [scan for scan in scans if scan["Index Name"] == "comments_search"]
        assert len(through) == 1
        # For a rank or a snippet, by the task.
        assert {scan["Index Name"] for scan in scans} == {"comments_search", "comments_task"}
        assert all("task_id = " in scan["Index Cond"] for scan in scans if scan not in through)
        by_id = {node["Index Name"] for node in nodes(plan) if "id = ANY" in node.get("Index Cond", "")}
        assert by_id == ({"tasks_pkey"} if form == NONE else set())  # tags find fewer


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("falling", [True, False])
def test_comments_on_a_task_are_listed_along_their_index(connection: Connection, falling: bool, after: bool) -> None:
    statement = comments.listed(falling, after)
    there = plan_for_values(connection, statement, after_key=AFTER[Sort.created])

    for plan in (there, plan_for_any_values(connection, statement)):
        [limit] = [node for node in nodes(plan) if node["Node Type"] == "Limit"]
        [scan] = limit["Plans"]  # a Sort would read all of them for every page
        assert scan["Index Name"] == "comments_task"
        assert ("ROW(" in scan["Index Cond"]) == after
        [task] = [node for node in nodes(plan) if node.get("Relation Name") == "tasks"]
        assert task["Index Name"] == "tasks_pkey"


def test_one_comment_is_read_by_its_key(connection: Connection) -> None:
    for plan in plans(connection, comments.one()):
        scans = {node["Index Name"] for node in nodes(plan) if "Index Name" in node}
        assert scans == {"comments_pkey", "tasks_pkey"}


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("falling", [True, False])
@pytest.mark.parametrize("sort", WALKED)
def test_an_unfiltered_listing_walks_the_index_of_its_sort(
    connection: Connection, sort: Sort, falling: bool, after: bool, counted: bool
) -> None:
    shape = shape_of(NONE, sort, falling, after, counted=counted)
    index = "tasks_due_falling" if sort is Sort.due_date and falling else WALKED[sort]

    for plan in plans_of(connection, shape):
        [limit] = [node for node in nodes(plan) if node["Node Type"] == "Limit"]
        *between, scan = list(nodes(limit))[1:]
        assert scan["Index Name"] == index
        assert scan["Scan Direction"] == ("Backward" if falling else "Forward")
        assert between == []  # a Sort would read all that the user has for every page


@pytest.mark.parametrize("falling", [True, False])
@pytest.mark.parametrize("sort", WALKED)
def test_a_cursor_is_where_the_index_is_entered(connection: Connection, sort: Sort, falling: bool) -> None:
    shape = shape_of(NONE, sort, falling, after=True, counted=False)

    for plan in plans_of(connection, shape):
        [scan] = [node for node in nodes(plan) if node.get("Relation Name") == "tasks"]
        # As a filter alone, the place would let the database read all that came before it.
        assert ("version " if sort is Sort.updated else "ROW(") in scan["Index Cond"]


@pytest.mark.parametrize("counted", [True, False])
def test_a_search_is_made_a_query_once_and_not_for_each_task(connection: Connection, counted: bool) -> None:
    shape = shape_of(NONE, Sort.relevance, falling=True, after=False, counted=counted)
    plan = plan_for_any_values(connection, task_query.page(shape), "VERBOSE, FORMAT JSON")
    ranks = [each for node in nodes(plan) for each in node.get("Output", []) if "ts_rank" in each]

    assert ranks
    assert not any("to_tsquery" in rank for rank in ranks)


@pytest.mark.parametrize("after", [True, False])
def test_what_a_search_finds_is_found_once_to_be_counted_and_ranked(connection: Connection, after: bool) -> None:
    for plan in plans_of(connection, shape_of(NONE, Sort.relevance, falling=True, after=after)):
        found = [node for node in nodes(plan) if node.get("Index Name") == "tasks_search"]
        read = [node for node in nodes(plan) if node.get("Relation Name") == "tasks"]
        assert len(found) == 1
        assert [node["Node Type"] for node in read] == ["Bitmap Heap Scan", "Index Scan"]  # all, and the page's
        assert read[1]["Index Name"] == "tasks_pkey"


@pytest.mark.parametrize("query", ["!'zzz'", "'figs' | !'zzz'", "'the' & !'zzz'"])
def test_a_search_that_demands_no_word_does_not_read_everybodys(connection: Connection, query: str) -> None:
    found = says(required(tsquery(bindparam("in_0", type_=Text()))))
    statement = select(func.count()).select_from(TASKS).where(*sought(), found)

    def read(text: str) -> int:
        plan = plan_for_values(connection, statement, explain_by="ANALYZE, BUFFERS, FORMAT JSON", in_0=text)
        [scan] = [node for node in nodes(plan) if node["Node Type"] == "Bitmap Index Scan"]
        return int(scan["Shared Hit Blocks"]) + int(scan["Shared Read Blocks"])

    assert read(query) <= 2 * read("'figs'")


def test_one_task_is_read_by_its_key(connection: Connection) -> None:
    for plan in plans(connection, task_query.one()):
        [scan] = [node for node in nodes(plan) if "Index Name" in node]
        assert scan["Index Name"] == "tasks_pkey"
        assert "(user_id = " in scan["Index Cond"]
        assert "(id = " in scan["Index Cond"]


def test_a_saved_filter_is_found_by_its_key(connection: Connection) -> None:
    for plan in plans(connection, task_query.counter_and_saved()):
        [scan] = [node for node in nodes(plan) if node.get("Relation Name") == "filters"]
        assert scan["Index Name"] == "filters_pkey"
        assert "(id = " in scan["Index Cond"]


@pytest.mark.parametrize("after", [False, True])
def test_saved_filters_are_listed_without_reading_the_whole_table(connection: Connection, after: bool) -> None:
    for plan in plans(connection, saved_filters.listed(after)):
        assert reads_by_index(plan, "filters")


@pytest.mark.parametrize("form", ["blocked", "blocking", ("not", ("blocked",)), ("and", ("blocking", "tags"))])
@pytest.mark.parametrize("sort", [Sort.created, Sort.due_date])
def test_what_waits_is_found_without_reading_everybodys_dependencies(
    connection: Connection, form: Form, sort: Sort
) -> None:
    for counted in (True, False):
        for plan in plans_of(connection, shape_of(form, sort, falling=True, after=False, counted=counted)):
            assert reads_by_index(plan, "dependencies")


@pytest.mark.parametrize(
    "statement",
    [
        *(dependency_query.beside(way, after) for way in (ONWARD, BACK) for after in (False, True)),
        *(build() for build in (dependency_query.ends, dependency_query.between, dependency_query.touching)),
        dependency_query.onward(),
    ],
)
def test_dependencies_are_found_by_the_tasks_at_their_ends(connection: Connection, statement: Any) -> None:
    for plan in plans(connection, statement):
        assert reads_by_index(plan, "dependencies")
        reads = [node for node in nodes(plan) if node.get("Relation Name") == "dependencies"]
        conditions = [node.get("Index Cond", "") for read in reads for node in nodes(read)]
        assert all("task_id = " in each or "depends_on_id = " in each for each in conditions if each), conditions
        assert reads_by_index(plan)


@pytest.mark.parametrize(("end", "index"), [("task_id", "dependencies_task"), ("depends_on_id", "dependencies_turned")])
def test_what_a_foreign_key_of_dependencies_asks_has_an_index(connection: Connection, end: str, index: str) -> None:
    """Deleted ones too. It is asked for each task that goes away, and with an account all of them do."""
    asked = select(DEPENDENCIES.c.id).where(
        DEPENDENCIES.c.user_id == bindparam("owner"), DEPENDENCIES.c[end] == bindparam("in_task")
    )

    for plan in plans(connection, asked):
        [scan] = [node for node in nodes(plan) if "Index Cond" in node]
        assert scan["Index Name"] == index


@pytest.mark.parametrize("further", [False, True])
@pytest.mark.parametrize(("of_task", "index"), [(False, "activity_pkey"), (True, "activity_task")])
def test_activity_is_walked_along_its_index(connection: Connection, of_task: bool, index: str, further: bool) -> None:
    for plan in plans(connection, activity._newest(of_task, further)):
        [scan] = [node for node in nodes(plan) if node.get("Relation Name") == "activity"]
        assert (scan["Index Name"], scan["Scan Direction"]) == (index, "Backward")
        assert "(user_id = " in scan["Index Cond"]
        assert ("(task_id = " in scan["Index Cond"], "(version < " in scan["Index Cond"]) == (of_task, further)
        assert reads_by_index(plan)  # for the titles


@pytest.mark.parametrize(
    "statement",
    [task_family.homes(), task_family.below(), with_tasks(), dependency_query.titles()],
    ids=["homes", "below", "with_tasks", "titles"],
)
def test_tasks_that_are_named_are_found_by_their_key(connection: Connection, statement: Any) -> None:
    """And their parts by their parent: no walk past all that the owner has."""
    for plan in plans(connection, statement):
        assert reads_by_index(plan)
        found = {node["Index Name"] for node in nodes(plan) if str(node.get("Index Name", "")).startswith("tasks_")}
        assert found <= {"tasks_pkey", "tasks_parent"}


def test_the_tags_are_counted_without_reading_the_whole_table(connection: Connection) -> None:
    for after in (False, True):
        statement = tag_query.listed(after)
        there: dict[str, Any] = {"after_id": "1", "after_key": "home"} if after else {}
        for plan in (plan_for_values(connection, statement, **there), plan_for_any_values(connection, statement)):
            assert reads_by_index(plan)


def test_tags_are_looked_for_by_their_index(connection: Connection) -> None:
    for plan in plans(connection, tag_query.known()):
        reads = [node for node in nodes(plan) if node.get("Relation Name") == "tasks"]
        assert [node["Node Type"] for node in reads] == ["Bitmap Heap Scan"]
        assert {node["Index Name"] for node in nodes(plan) if "Bitmap Index" in node["Node Type"]} == {"tasks_tags"}


@pytest.mark.parametrize("many", tags.SIZES)
def test_a_tag_is_renamed_without_reading_the_whole_table(connection: Connection, many: int) -> None:
    for plan in plans(connection, tag_query.retag(many)):
        assert reads_by_index(plan)
        assert "tasks_tags" in {node["Index Name"] for node in nodes(plan) if "Bitmap Index" in node["Node Type"]}


def test_a_reading_of_the_whole_table_would_be_noticed(connection: Connection) -> None:
    careless = select(func.count()).select_from(TASKS).where(TASKS.c.title == bindparam("in_configuration"))

    for plan in plans(connection, careless):
        assert not reads_by_index(plan)
