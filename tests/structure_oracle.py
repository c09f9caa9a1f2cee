"""What the structure should do, in plain Python: projects, tasks, dependencies and comments, and the trash."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

DEEPEST = 4
Pair = tuple[str, str]


@dataclass
class Row:
    """A task or a project: what it is in, and how it is in the trash."""

    parent: str | None = None
    project: str | None = None  # of a task
    name: str = ""  # of a project
    deleted: bool = False
    deleted_with: str | None = None
    scrubbed: bool = False
    comments: list["Comment"] = field(default_factory=list)

    @property
    def in_trash(self) -> bool:
        return self.deleted and not self.scrubbed


@dataclass
class Comment:
    body: str
    deleted_with: str | None = None
    scrubbed: bool = False


Rows = dict[str, Row]


class Oracle:
    """Says what each step is answered with, and what there is afterwards."""

    def __init__(self) -> None:
        self.tasks: Rows = {}
        self.projects: Rows = {}
        self.living: list[Pair] = []  # dependencies
        self.severed: list[Pair] = []  # that may come back; a pair can be there twice
        self.unsure: set[Pair] = set()  # of which not all can come back

    # What is there.

    def is_there(self, rows: Rows, name: str | None) -> bool:
        return name is not None and not rows[name].deleted

    def depth(self, rows: Rows, name: str) -> int:
        parent = rows[name].parent
        return 0 if parent is None else 1 + self.depth(rows, parent)

    def below(self, rows: Rows, name: str, level: int = 0) -> Iterator[tuple[str, int]]:
        """Itself and what lives below it, each with its level."""
        yield name, level
        for other, row in rows.items():
            if row.parent == name and not row.deleted:
                yield from self.below(rows, other, level + 1)

    def back(self, rows: Rows, name: str) -> tuple[str, dict[str, int]]:
        """What took it along, if not itself; and it with all below that the same took along, each with its level."""
        group = rows[name].deleted_with or name
        return group, dict(self._back(rows, name, group))

    def _back(self, rows: Rows, name: str, group: str, level: int = 0) -> Iterator[tuple[str, int]]:
        yield name, level
        for other, row in rows.items():
            if row.parent == name and row.in_trash and row.deleted_with == group:
                yield from self._back(rows, other, group, level + 1)

    def trees(self, rows: Rows) -> dict[str, tuple[str | None, str | None, int]]:
        """What lives: its parent, its project, its depth."""
        return {n: (r.parent, r.project, self.depth(rows, n)) for n, r in rows.items() if not r.deleted}

    def trash(self) -> dict[str, set[str]]:
        """What was deleted by itself, with what it took along."""
        both = {**self.tasks, **self.projects}
        lying = {name: row for name, row in both.items() if row.in_trash}
        return {
            root: {name for name, row in lying.items() if row.deleted_with == root}
            for root, row in lying.items()
            if row.deleted_with is None
        }

    def back_with(self, name: str) -> set[str]:
        """What comes back with one that is in the trash."""
        rows = self.tasks if name in self.tasks else self.projects
        group, tree = self.back(rows, name)
        inside = self._tasks_back(tree, group) if rows is self.projects else []
        return {*tree, *inside} - {name}

    def comments(self, task: str) -> list[str]:
        return [comment.body for comment in self.tasks[task].comments if comment.deleted_with is None]

    # Each step, and its status.

    def task(self, name: str, parent: str | None, project: str | None) -> int:
        if project is not None and not self.is_there(self.projects, project):
            return 422
        if parent is not None:
            if not self.is_there(self.tasks, parent) or self.depth(self.tasks, parent) + 1 > DEEPEST:
                return 422
            if project not in (None, self.tasks[parent].project):
                return 422
            project = self.tasks[parent].project
        self.tasks[name] = Row(parent, project)
        return 201

    def project(self, name: str, called: str, parent: str | None) -> int:
        if parent is not None and (
            not self.is_there(self.projects, parent) or self.depth(self.projects, parent) + 1 > DEEPEST
        ):
            return 422
        if self.is_called(called):
            return 409
        self.projects[name] = Row(parent, name=called)
        return 201

    def is_called(self, *names: str) -> bool:
        return any(row.name in names and not row.deleted for row in self.projects.values())

    def put_below(self, name: str, parent: str | None) -> int:
        if (status := self._put(self.tasks, name, parent)) == 200 and parent is not None:
            self._into(name, self.tasks[parent].project)
        return status

    def put_into(self, name: str, project: str | None, leaves: bool) -> int:
        """`leaves`: its parent too."""
        if not self.is_there(self.tasks, name):
            return 404
        task = self.tasks[name]
        if project is not None and not self.is_there(self.projects, project):
            return 422
        if task.parent is not None and not leaves and task.project != project:
            return 422
        task.parent = None if leaves else task.parent
        self._into(name, project)
        return 200

    def put_project(self, name: str, parent: str | None) -> int:
        return self._put(self.projects, name, parent)

    def _put(self, rows: Rows, name: str, parent: str | None) -> int:
        if not self.is_there(rows, name):
            return 404
        if parent is not None:
            tree = dict(self.below(rows, name))
            if not self.is_there(rows, parent):
                return 422
            if parent in tree:
                return 409
            if self.depth(rows, parent) + 1 + max(tree.values()) > DEEPEST:
                return 422
        rows[name].parent = parent
        return 200

    def _into(self, name: str, project: str | None) -> None:
        for part, _ in self.below(self.tasks, name):
            self.tasks[part].project = project

    def delete(self, names: list[str]) -> int:
        if not all(self.is_there(self.tasks, name) for name in names):
            return 404
        trees = {name: dict(self.below(self.tasks, name)) for name in names}
        highest = [root for root in trees if not any(root in trees[other] for other in trees if other != root)]
        self._fall({part: root for root in highest for part in trees[root]})
        return 204

    def delete_project(self, name: str, tasks: str | None) -> int:
        if not self.is_there(self.projects, name):
            return 404
        inner = dict(self.below(self.projects, name))
        inside = [each for each, task in self.tasks.items() if task.project in inner and not task.deleted]
        if inside and tasks is None:
            return 409
        if tasks == "inbox":
            for each in inside:
                self.tasks[each].project = None
        else:
            self._fall(dict.fromkeys(inside, name))
        for each in inner:
            self._drop(self.projects[each], each, name)
        return 204

    def _fall(self, roots: dict[str, str]) -> None:
        for name, root in roots.items():
            self._drop(self.tasks[name], name, root)
            for comment in self.tasks[name].comments:
                comment.deleted_with = comment.deleted_with or root
        self.severed += [pair for pair in self.living if not roots.keys().isdisjoint(pair)]
        self.living = [pair for pair in self.living if roots.keys().isdisjoint(pair)]

    def _drop(self, row: Row, name: str, root: str) -> None:
        row.deleted, row.deleted_with = True, None if root == name else root

    def restore_task(self, name: str) -> int:
        task = self.tasks[name]
        if not task.in_trash:
            return 404
        group, tree = self.back(self.tasks, name)
        if not self._takes(self.tasks, task.parent, max(tree.values())):
            task.parent = None
        home = self.tasks[task.parent].project if task.parent else task.project
        home = home if self.is_there(self.projects, home) else None
        for each in tree:
            self.tasks[each].project = home
        self._rise(self.tasks, tree, group)
        return 200

    def restore_project(self, name: str) -> int:
        project = self.projects[name]
        if not project.in_trash:
            return 404
        group, tree = self.back(self.projects, name)
        if self.is_called(*(self.projects[each].name for each in tree)):
            return 409
        inside = self._tasks_back(tree, group)
        if not self._takes(self.projects, project.parent, max(tree.values())):
            project.parent = None
        for each in inside:
            if self.tasks[each].parent not in inside:
                self.tasks[each].parent = None
        self._rise(self.projects, tree, group)
        self._rise(self.tasks, inside, group)
        return 200

    def _takes(self, rows: Rows, parent: str | None, height: int) -> bool:
        return parent is not None and self.is_there(rows, parent) and self.depth(rows, parent) + 1 + height <= DEEPEST

    def _tasks_back(self, projects: dict[str, int], group: str) -> list[str]:
        return [
            each
            for each, task in self.tasks.items()
            if task.in_trash and task.deleted_with == group and task.project in projects
        ]

    def _rise(self, rows: Rows, names: Iterable[str], group: str) -> None:
        for name in names:
            rows[name].deleted, rows[name].deleted_with = False, None
            for comment in rows[name].comments:
                comment.deleted_with = None if comment.deleted_with == group else comment.deleted_with
        if rows is self.projects:
            return
        ends = set(names)
        asked = {
            pair
            for pair in self.severed
            if not ends.isdisjoint(pair) and all(self.is_there(self.tasks, end) for end in pair)
        }
        self.severed = [pair for pair in self.severed if pair not in asked]  # once: what stays away is as if removed
        wanted = asked - {*self.living}
        if self.closes([*self.living, *wanted]):
            self.unsure = wanted
        else:
            self.join(wanted)

    def join(self, pairs: Iterable[Pair]) -> None:
        self.living += pairs

    def settle(self, found: set[Pair]) -> bool:
        """Where not all could come back: whether as many did as could."""
        came, stayed = found - set(self.living), self.unsure - found
        sound = came <= self.unsure and set(self.living) <= found and not self.closes(list(found))
        self.join(came)
        self.unsure = set()
        return sound and all(self.closes([*found, pair]) for pair in stayed)

    def scrub_task(self, name: str) -> int:
        task = self.tasks[name]
        if not task.in_trash:
            return 404
        _, tree = self.back(self.tasks, name)
        self._scrub(tree)
        return 204

    def scrub_project(self, name: str) -> int:
        project = self.projects[name]
        if not project.in_trash:
            return 404
        group, tree = self.back(self.projects, name)
        self._scrub(self._tasks_back(tree, group))
        for each in tree:
            self.projects[each].scrubbed = True
        return 204

    def _scrub(self, tasks: Iterable[str]) -> None:
        for each in tasks:
            self.tasks[each].scrubbed = True
            for comment in self.tasks[each].comments:
                comment.scrubbed = True

    def empty(self) -> int:
        """How many tasks and projects are scrubbed."""
        rows = [row for row in (*self.tasks.values(), *self.projects.values()) if row.in_trash]
        for row in rows:
            row.scrubbed = True
        return len(rows)

    def comment(self, name: str, body: str) -> int:
        if not self.is_there(self.tasks, name):
            return 404
        self.tasks[name].comments.append(Comment(body))
        return 201

    def depend(self, one: str, other: str) -> int:
        if not (self.is_there(self.tasks, one) and self.is_there(self.tasks, other)):
            return 404
        if (one, other) in self.living:
            return 204
        if self.closes([*self.living, (one, other)]):
            return 409
        self.living.append((one, other))
        return 201

    def part(self, one: str, other: str) -> int:
        if (one, other) not in self.living:
            return 404
        self.living.remove((one, other))
        return 204

    @staticmethod
    def closes(pairs: list[Pair]) -> bool:
        """By taking away, again and again, what waits for nothing: what is left goes in a circle."""
        left = pairs
        while True:
            waiting = {one for one, _ in left}
            fewer = [pair for pair in left if pair[1] in waiting]
            if fewer == left:
                return bool(left)
            left = fewer
