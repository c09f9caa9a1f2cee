"""The words around the numbers in `docs/benchmarks.md`."""

TEXT = """\
# Benchmarks

`make bench` makes this page anew; [where-the-time-goes.md](where-the-time-goes.md) is written by hand and explains it.
It needs no more than `make test` does, and ends by itself in less than ten minutes. `make bench ARGS=--quick` shows
within a minute that everything runs, and writes nothing.

This run took {minutes} minutes on {machine}.
{versions}.

What a request takes depends on the machine and on whatever else it does; the ratios do much less, since all sides take
turns in one run, on the same server and the same rows. Each number is the median of {scale.rounds} rounds
({scale.batch_rounds} of batches, {scale.growth_rounds} where there is one client), each ratio the median of the rounds'
ratios.

## Targets

{goals}

## Four sides

- **the usual way** is [`benchmarks/reference.py`](../benchmarks/reference.py): the same task manager as the tutorials
  of FastAPI and SQLModel teach it, with sensible indexes.
- **Tend**, as `tend serve` serves it: one worker.
- **bare** is [`benchmarks/bare.py`](../benchmarks/bare.py): hand-written SQL in bare Starlette routes, without checks
  of parameters, other filters or the wall. It is what Python can do.
- **pgbench** sends the same statements, prepared, from {clients} connections. It is what Postgres can do.

{connections} clients at once, each signed in as a user of its own with {scale.each:,} tasks; a page has 20. The rows
are {rows_from}. Postgres is the embedded one with its usual settings, `fsync` included, and `max_wal_size` of 8 GB,
so that no checkpoint falls into a round.

{rates}

The first page is the newest first with its exact total; the filtered one asks for two tags, one priority and what is
not completed. The usual way searches with `ILIKE` in title and description and does not rank; Tend and bare search
word forms in title, tags and description, best first.

### Many at once

{batches}

### Far into a list

The user with {huge:,} tasks. A cursor's page is not counted, and is compared with a first page that is not counted
either; the usual way counts every page.

{pages}

## Growth

Over HTTP, one client, nothing else going on. The picture shows both tables; the sizes are on a logarithmic scale.

![The median of each listing against the number of tasks](benchmarks-growth.svg)

When the table grows by other users' tasks, and the user's own {scale.each:,} stay the same:

{table_growth}

When the user's own tasks grow, in a table of {largest:,}:

{user_growth}

An exact total counts all that the filter finds, and a search ranks all that it finds: both grow with what the user has.
`count=none` and a cursor do not.

## Starting

{imports} (the best of {scale.starts} fresh processes each). A worker of Tend held {memory} MB of memory after the load.

## Plans

What Postgres did for each listing in a table of {largest:,}, as its own log tells (`auto_explain`), once the statement
was prepared. Times are those of the node and all below it, with the clock's own cost.

{plans}
"""
