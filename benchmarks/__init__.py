"""`make bench`: Tend beside the usual way, beside what Python can do, and beside what Postgres can do.

`reference.py` is the usual way, `bare.py` what Python can do; pgbench is what Postgres can do. `compare.py`
has the cases, `growth.py` what happens when the table or a user grows, `data.py` the rows.
"""
