"""Tables, and the promises that the database keeps.

Every table of a user's data has `user_id` first in its primary key, in every unique constraint and in
every foreign key between such tables, so that a row can only ever refer to rows of the same user.
"""

from typing import Final

from sqlalchemy import Column, MetaData, String, Table

from backend.models.accounts import (
    AccessToken,
    AuditEvent,
    Confirmation,
    OutsideIdentity,
    RecoveryCode,
    RefreshToken,
    SecondFactor,
    Session,
    SigningKey,
    SyncState,
    Throttle,
    User,
)
from backend.models.activity import Activity
from backend.models.columns import table
from backend.models.comments import Comment
from backend.models.dependencies import Dependency
from backend.models.idempotency import IdempotencyKey
from backend.models.projects import Project
from backend.models.sync import SyncClient, SyncReceipt
from backend.models.tags import Tag
from backend.models.tasks import Priority, SavedFilter, Task
from backend.models.webhooks import Webhook, WebhookDelivery

__all__ = [
    "AccessToken",
    "Activity",
    "AuditEvent",
    "Comment",
    "Confirmation",
    "Dependency",
    "IdempotencyKey",
    "OutsideIdentity",
    "Priority",
    "Project",
    "RecoveryCode",
    "RefreshToken",
    "SavedFilter",
    "SecondFactor",
    "Session",
    "SigningKey",
    "SyncClient",
    "SyncReceipt",
    "SyncState",
    "Tag",
    "Task",
    "Throttle",
    "User",
    "Webhook",
    "WebhookDelivery",
    "migrations",
    "table",
]

SCHEMA_VERSION: Final = "20261123_0015"
"""The migration that this code is written for; readiness compares it with the database's."""

migrations = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""Kept by Alembic; only read here."""
