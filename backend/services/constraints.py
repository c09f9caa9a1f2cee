"""From a constraint's name to words: what the database alone decides, and does not explain."""

from typing import Final

import psycopg

from backend.errors import Conflict

CONSTRAINTS: Final = {
    "users_email_key_key": Conflict("This address has an account already."),
    "tasks_pkey": Conflict("A task with this id exists already, perhaps in the trash, or was deleted for good."),
    "projects_pkey": Conflict("A project with this id exists already, perhaps in the trash, or was deleted for good."),
    "projects_name": Conflict("A project with this name exists already."),
    "comments_pkey": Conflict("A comment with this id exists already, or was deleted."),
    "dependencies_pkey": Conflict("A dependency with this id exists already, or was deleted."),
    "filters_pkey": Conflict("A filter with this id exists already, or was deleted."),
    "filters_name": Conflict("A filter with this name exists already."),
    "tags_pkey": Conflict("A tag's colour with this id exists already, or was deleted."),
    "webhooks_pkey": Conflict("A webhook with this id exists already."),
    "webhook_deliveries_webhook_fkey": Conflict("The webhook is being deleted."),
    "tags_name": Conflict("This tag has a colour already."),
}


def words_of(error: psycopg.IntegrityError) -> Conflict | None:
    """None for a constraint that no request should meet: a bug."""
    return CONSTRAINTS.get(error.diag.constraint_name or "")
