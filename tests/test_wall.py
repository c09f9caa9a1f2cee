"""The wall reads statements: leaks are refused, whatever they look like, and sound ones pass."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import (
    DDL,
    Column,
    MetaData,
    Table,
    Text,
    bindparam,
    column,
    delete,
    exists,
    false,
    func,
    insert,
    literal_column,
    not_,
    or_,
    select,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy import table as sql_table
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import aliased
from sqlmodel import col

from backend import wall
from backend.models import Session, SyncState, Task, User, table
from backend.scope import Scope
from backend.wall import OWNER, WallBreached

T, U, S, C = table(Task), table(User), table(Session), table(SyncState)
OTHER = T.alias("other")
MINE = T.c.user_id == OWNER
DOOR = update(C).where(C.c.user_id == OWNER).values(seq=C.c.seq + 1).returning(C.c.user_id, C.c.seq).cte("door")
OPEN_DOOR = update(C).values(seq=C.c.seq + 1).returning(C.c.user_id, C.c.seq).cte("open_door")

LEAKS = {
    "no condition": select(T.c.title),
    "only the count": select(func.count()).select_from(T),
    "an OR that opens it": select(T.c.title).where(or_(MINE, T.c.completed)),
    "a NOT around it": select(T.c.title).where(not_(MINE)),
    "the opposite of it": select(T.c.title).where(MINE.is_(false())),
    "anything but it": select(T.c.title).where(MINE.is_not(true())),
    "another comparison": select(T.c.title).where(T.c.user_id != OWNER),
    "another column": select(T.c.title).where(T.c.id == OWNER),
    "a fixed user": select(T.c.title).where(T.c.user_id == uuid4()),
    "itself": select(T.c.title).where(T.c.user_id == T.c.user_id),
    "a value under the owner's name": select(T.c.title).where(T.c.user_id == bindparam("owner", uuid4())),
    "an alias beside the fenced table": select(T.c.title, OTHER.c.title).where(MINE),
    "an alias alone": select(OTHER.c.title),
    "a subquery": select(select(T).subquery("all").c.title),
    "a scalar subquery": select(select(func.count()).select_from(T).scalar_subquery()),
    "an EXISTS": select(U.c.id).where(exists().where(T.c.user_id == U.c.id)),
    "a fenced select with an open EXISTS": select(T.c.id).where(MINE, exists().where(OTHER.c.id == T.c.id)),
    "a CTE": select(select(T).cte("everything").c.title),
    "half of a union": union_all(select(T.c.title).where(MINE), select(T.c.title)),
    "a join by id alone": select(OTHER.c.title).select_from(T.join(OTHER, OTHER.c.id == T.c.id)).where(MINE),
    "the left of an outer join": select(T.c.title)
    .select_from(T.outerjoin(OTHER, MINE))
    .where(OTHER.c.user_id == OWNER),
    "a full join": select(T.c.title).select_from(T.join(OTHER, (OTHER.c.user_id == OWNER) & MINE, full=True)),
    "text": text("SELECT title FROM tasks"),
    "text in a condition": select(T.c.title).where(MINE, text("true OR true")),
    "a literal column": select(literal_column("(SELECT string_agg(title, '') FROM tasks)")),
    "an update": update(T).values(completed=True),
    "an update by id": update(T).where(T.c.id == uuid4()).values(completed=True),
    "an update that reads another": update(T).where(MINE, OTHER.c.id == T.c.id).values(title=OTHER.c.title),
    "an update through an open door": update(T)
    .where(T.c.user_id == OPEN_DOOR.c.user_id)
    .values(version=OPEN_DOOR.c.seq),
    "an update with an open value": update(T)
    .where(MINE)
    .values(title=select(OTHER.c.title).limit(1).scalar_subquery()),
    "a delete": delete(T),
    "a delete using another": delete(T).where(MINE, OTHER.c.id == T.c.id),
    "an insert for somebody": insert(T).values(user_id=uuid4(), id=uuid4(), title="x"),
    "an insert without an owner": insert(T).values(id=uuid4(), title="x"),
    "an insert from somebody": insert(T).from_select(["user_id", "id"], select(U.c.id, U.c.id)),
    "an insert from everybody": insert(T).from_select(["user_id", "id"], select(T.c.user_id, T.c.id)),
    "an upsert": upsert(T).values(user_id=OWNER).on_conflict_do_update(index_elements=["id"], set_={"title": "x"}),
    "the counter of everybody": update(C).values(seq=0),
    "an alias of an alias": select(T.alias("a").alias("b").c.title),
    "a sample of an alias": select(T.alias("a").tablesample(100).c.title),
    "a correlation with nothing": select(T.c.title).correlate(T),
    "a correlation in FROM": select(select(T.c.title).correlate(T).subquery("all").c.title),
    "a correlation in an EXISTS": select(U.c.id).where(exists(select(T.c.id).correlate(T))),
    "an update that gives rows away": update(T).where(MINE).values(user_id=bindparam("other")),
    "a table by its name alone": select(sql_table("tasks", column("title")).c.title),
    "a table of other metadata": select(Table("tasks", MetaData(), Column("title", Text)).c.title),
    "DDL": DDL("DELETE FROM tasks"),  # type: ignore[no-untyped-call]
    "a suffix": select(T.c.title).where(MINE).suffix_with("OR true"),
    "a hint": select(T.c.title).where(MINE).with_statement_hint("OR true"),
    "a prefix": select(T.c.title).where(MINE).prefix_with("(SELECT title FROM tasks LIMIT 1),"),
    "an operator of one's own": select(T.c.title).where(MINE.op("IS NULL OR", precedence=100)(true())),
    "a function that rewrites by itself": select(func.ts_rewrite(func.to_tsquery("a"), "SELECT title FROM tasks")),
    "a lock that outlives its transaction": select(func.pg_try_advisory_lock(1)),
    "a lock that is waited for": select(func.pg_advisory_xact_lock(1)),
    "a function that reads by itself": select(func.query_to_xml("SELECT * FROM tasks", True, True, "")),
    "a union whose columns are crossed": select(T.c.title).where(
        T.c.user_id
        == union_all(
            select(C.c.user_id, C.c.epoch.label("other")).where(C.c.user_id == OWNER),
            select(C.c.epoch.label("other"), C.c.user_id).where(C.c.user_id == OWNER),
        )
        .subquery("crossed")
        .c.user_id
    ),
    "an entity of the ORM": select(Task),
    "an alias of the ORM": select(aliased(Task, name="theirs")).where(col(Task.user_id) == OWNER),
}

SOUND = {
    "the owner's rows, however they are found": select(T.c.title).where(MINE.is_(true())),
    "the owner's rows": select(T.c.title).where(MINE, T.c.completed),
    "turned around": select(T.c.title).where(OWNER == T.c.user_id),
    "an OR inside": select(T.c.title).where(MINE, or_(T.c.completed, T.c.title == "x")),
    "a join along the owner": select(OTHER.c.title)
    .select_from(T.join(OTHER, (OTHER.c.user_id == T.c.user_id) & (OTHER.c.id == T.c.id)))
    .where(MINE),
    "the right of an outer join": select(OTHER.c.title)
    .select_from(T.outerjoin(OTHER, (OTHER.c.user_id == T.c.user_id) & (OTHER.c.id == T.c.id)))
    .where(MINE),
    "a subquery that is fenced": select(select(T).where(MINE).subquery("mine").c.title),
    "both halves of a union": union_all(
        select(T.c.title).where(MINE), select(OTHER.c.title).where(OTHER.c.user_id == OWNER)
    ),
    "a lateral": select(literal_column("1")).select_from(
        select(T).where(MINE).subquery("mine").join(select(literal_column("2")).lateral("l"), true())
    ),
    "an update": update(T).where(MINE, T.c.id == uuid4()).values(title="x"),
    "an update through the door": update(T).where(T.c.user_id == DOOR.c.user_id).values(version=DOOR.c.seq),
    "an insert through the door": insert(T).from_select(["user_id", "version"], select(DOOR.c.user_id, DOOR.c.seq)),
    "an insert that skips": upsert(T).values(user_id=OWNER, id=uuid4()).on_conflict_do_nothing(),
    "an entity of the ORM": select(Task).where(col(Task.user_id) == OWNER),
    "identity": select(U.c.id).join(S, S.c.user_id == U.c.id),
    "a crossing by its name": select(T.c.id).execution_options(crosses_users="purges the trash"),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_refused(name: str) -> None:
    with pytest.raises(WallBreached):
        wall.check(LEAKS[name])


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_statement_passes(name: str) -> None:
    wall.check(SOUND[name])


async def test_a_session_for_scripts_reads_its_owner_s_rows_and_refuses_others(
    mine: Scope, alice: Any, bob: Any
) -> None:
    await alice.add("Hers")
    await bob.add("His")

    async with mine.session() as session:
        found = (await session.exec(select(Task).where(col(Task.user_id) == mine.user_id))).scalars().all()  # type: ignore[call-overload]
        assert [task.title for task in found] == ["Hers"]
        for leak in (select(Task), select(Task).where(col(Task.user_id) == bob.user_id)):
            with pytest.raises(WallBreached):
                await session.exec(leak)  # type: ignore[call-overload]
        with pytest.raises(WallBreached):
            await session.exec(select(T.c.title).where(MINE), params={"owner": bob.user_id})  # type: ignore[call-overload]
        connection = await session.connection()
        with pytest.raises(WallBreached):
            await connection.exec_driver_sql("SELECT title FROM tasks")


async def test_the_application_sends_no_statement_that_the_wall_has_not_read(mine: Scope) -> None:
    for leak in (select(T.c.title), text("SELECT 1")):
        with pytest.raises(WallBreached):
            await mine.read(leak, {})
        with pytest.raises(WallBreached):
            await mine.write(leak, {})
