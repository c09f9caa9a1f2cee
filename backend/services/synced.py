"""What synchronises: a table is among it by its entry here. Each change is made by the verbs of its noun.

What a device sends is what the REST routes take, so it is held to the same rules; and what it is told is what they
answer.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple
from uuid import UUID

from pydantic import Field
from sqlalchemy import ColumnElement

from backend import door
from backend.errors import Conflict, Invalid
from backend.schemas.comments import CommentCreate, CommentPatch
from backend.schemas.projects import ProjectCreate, ProjectPatch
from backend.schemas.saved_filters import SavedFilterCreate, SavedFilterPatch
from backend.schemas.scalars import Color, Id, Instant, NotNull, Tag, Wire
from backend.schemas.tasks import TaskCreate, TaskPatch
from backend.scope import Scope
from backend.services import comments, dependencies, projects, saved_filters, tasks, trash
from backend.services.changes import GONE, Kind, change, new_values
from backend.services.comments import COMMENT
from backend.services.dependencies import DEPENDENCY
from backend.services.projects import PROJECT
from backend.services.saved_filters import FILTER
from backend.services.tag_query import TAGS
from backend.services.tasks import TASK
from backend.statements import iso


class TagPatch(Wire):
    color: Annotated[Color | None, NotNull] = None

    def sent(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}


Patch = TaskPatch | ProjectPatch | CommentPatch | SavedFilterPatch | TagPatch
Verb = Callable[[Scope, UUID, Any], Awaitable[Any]]
"""On the row of this id, with what was sent, as the model of its schema."""


class Entity(NamedTuple):
    kind: Kind
    new: type[Wire]  # what is sent to create one
    create: Verb
    patch: type[Patch] | None  # None: it is never changed, only made and deleted
    edit: Verb
    farewell: type[Wire]  # what is said when it is deleted
    remove: Verb

    @property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """The fields that hold or fall together."""
        groups: Mapping[str, tuple[str, ...]] = self.kind.table.info.get("groups", {})
        return groups


class Nothing(Wire):
    pass


class Completed(Wire):
    """The occurrence that was completed. It makes no difference to a task that does not recur."""

    due_date: Instant | None = None


class _Comment(CommentCreate):
    task_id: Id


class _Dependency(Wire):
    id: Id
    task_id: Id
    depends_on_id: Id


class _Tag(Wire):
    """A tag's colour: the tags themselves stand in the tasks."""

    id: Id
    name: Tag
    color: Color


class _ProjectEnd(Wire):
    tasks: Literal["trash", "inbox"] = Field("trash")


async def _create_comment(mine: Scope, _id: UUID, comment: _Comment) -> None:
    await comments.create(mine, comment.task_id, comment)


async def _create_dependency(mine: Scope, dependency_id: UUID, given: _Dependency) -> None:
    if not await dependencies.add(mine, given.task_id, given.depends_on_id, dependency_id):
        raise Conflict("The one task depends on the other already.")


def _tag_shown(row: Any) -> list[ColumnElement[Any]]:
    return [row.id, row.name, row.color, row.version, iso(row.created_at), iso(row.updated_at)]


TAG: Final = Kind(TAGS, _tag_shown, "tag")


async def _create_tag(mine: Scope, _id: UUID, given: _Tag) -> None:
    await mine.write(door.create(TAGS, ("id", "name", "color"), _tag_shown), new_values(given.model_dump()))


def _edited(kind: Kind) -> Verb:
    async def edit(mine: Scope, row_id: UUID, patch: Patch) -> None:
        if sent := patch.sent():
            await change(mine.write, kind, row_id, sent)

    return edit


def _removed(kind: Kind) -> Verb:
    async def remove(mine: Scope, row_id: UUID, _nothing: Wire) -> None:
        await change(mine.write, kind, row_id, dict.fromkeys(GONE))

    return remove


async def _never(_mine: Scope, _id: UUID, _patch: Any) -> None:
    raise Invalid.at("op", msg="this is never changed, only created and deleted")


ENTITIES: Final[Mapping[str, Entity]] = {
    "projects": Entity(
        PROJECT,
        ProjectCreate,
        lambda mine, _id, project: projects.create(mine, project),
        ProjectPatch,
        lambda mine, project_id, patch: projects.edit(mine, project_id, patch, None),
        _ProjectEnd,
        lambda mine, project_id, end: trash.remove_project(mine, project_id, end.tasks, None),
    ),
    "tasks": Entity(
        TASK,
        TaskCreate,
        lambda mine, _id, task: tasks.create(mine, task),
        TaskPatch,
        lambda mine, task_id, patch: tasks.edit(mine, task_id, patch, None),
        Nothing,
        lambda mine, task_id, _: trash.remove_task(mine, task_id, None),
    ),
    "comments": Entity(COMMENT, _Comment, _create_comment, CommentPatch, _edited(COMMENT), Nothing, _removed(COMMENT)),
    "filters": Entity(
        FILTER,
        SavedFilterCreate,
        lambda mine, _id, wanted: saved_filters.create(mine, wanted),
        SavedFilterPatch,
        lambda mine, filter_id, patch: saved_filters.edit(mine, filter_id, patch, None),
        Nothing,
        _removed(FILTER),
    ),
    "dependencies": Entity(DEPENDENCY, _Dependency, _create_dependency, None, _never, Nothing, _removed(DEPENDENCY)),
    "tags": Entity(TAG, _Tag, _create_tag, TagPatch, _edited(TAG), Nothing, _removed(TAG)),
}
"""In the order in which rows refer to one another: what comes later may refer to what is before it."""
