"""`tend distribute`: its statements, without Citus: what they name, their order, and that Postgres can read them."""

from sqlalchemy import create_engine, text
from sqlmodel import SQLModel
from typer.testing import CliRunner

from backend import cli, wall
from backend.operations import distribute

STAND_INS = """
CREATE TABLE asked (number int GENERATED ALWAYS AS IDENTITY, of regclass, by text, beside text);
CREATE VIEW citus_tables AS SELECT of AS table_name FROM asked;
CREATE FUNCTION create_reference_table(regclass) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO asked (of) VALUES ($1) $$;
CREATE FUNCTION create_distributed_table(of regclass, by text, colocate_with text) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO asked (of, by, beside) VALUES ($1, $2, $3) $$;
"""


def test_every_table_of_a_user_is_distributed_by_user_beside_the_others(empty_database: str) -> None:
    extension, *others = distribute.statements()
    assert extension == "CREATE EXTENSION IF NOT EXISTS citus"
    engine = create_engine(empty_database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(STAND_INS))
        for each in (*others, *others):  # the second time it finds all of it done
            connection.execute(text(each))
        asked = connection.execute(text("SELECT of::text, by, beside FROM asked ORDER BY number")).all()
        triggers = text("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE '%version_grows'")
        assert connection.execute(triggers).scalar_one() == 0
    engine.dispose()

    assert asked[0] == ("users", None, None)  # to which all of them refer
    theirs = asked[1:]
    owned = {each.name for each in SQLModel.metadata.tables.values() if wall.is_owned(each)}
    assert {row.of for row in theirs} == owned
    assert len(theirs) == len(owned)
    assert {row.by for row in theirs} == {"user_id"}
    assert [row.beside for row in theirs] == ["none", *[theirs[0].of] * (len(theirs) - 1)]


def test_a_table_comes_after_those_to_which_it_refers() -> None:
    order = [each.name for each in (*distribute.referred_to(), *distribute.distributed())]
    for each in distribute.distributed():
        for key in each.foreign_keys:
            if key.column.table is not each:
                assert order.index(key.column.table.name) < order.index(each.name)


def test_it_prints_unless_it_is_told_to_run_and_a_postgres_without_citus_is_left_alone(empty_database: str) -> None:
    nowhere, here = ({"DATABASE_URL": url} for url in ("postgresql://nobody@127.0.0.1:1/none", empty_database))

    printed = CliRunner().invoke(cli.app, ["distribute"], env=nowhere)
    assert printed.exit_code == 0
    assert printed.stdout.strip().removesuffix(";").split(";\n") == list(distribute.statements())

    refused = CliRunner().invoke(cli.app, ["distribute", "--run"], env=here)
    assert refused.exit_code == 1
    assert "no Citus" in refused.stderr
    engine = create_engine(empty_database)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal")).scalar_one()
    engine.dispose()
