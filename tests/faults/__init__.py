"""`make faults`: what breaks in production, broken on purpose under load, and a ledger of what was acknowledged.

`load.py` has the clients and their ledger, `check.py` compares it with the database, `stage.py` has what is broken:
Postgres, PgBouncer, the wire between, `tend serve`. Each fault is a function in `network.py`, `database.py`,
`pooler.py`, `application.py` or `clocks.py`.
"""
