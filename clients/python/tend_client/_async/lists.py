"""Things of one kind: read, changed, and walked page by page."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Generic, cast

import uuid_utils

from tend_client.models import Item, Page

if TYPE_CHECKING:
    from tend_client._async.client import AsyncTend


class AsyncCollection(Generic[Item]):
    """`path` is where they are listed."""

    def __init__(self, tend: "AsyncTend", path: str) -> None:
        self._tend = tend
        self._path = path

    async def page(self, **asked: Any) -> Page[Item]:
        """One page, by the parameters of the route: `status="pending"`, `tags=["home"]`, `limit=50` …"""
        return cast(Page[Item], await self._tend.request("GET", self._path, params=asked))

    async def iterate(self, **asked: Any) -> AsyncGenerator[Item]:
        """All of them, a page at a time, while others write: each that does not change comes exactly once."""
        while True:
            page = await self.page(**asked)
            for item in page["items"]:
                yield item
            cursor = page.get("next_cursor")
            if not cursor:
                return
            asked = {**asked, "cursor": cursor}

    async def get(self, row_id: str) -> Item:
        """Raises NotFound."""
        return cast(Item, await self._tend.request("GET", f"{self._path}/{row_id}"))

    async def create(self, **fields: Any) -> Item:
        """Its `id` is made here unless it is given. Raises Invalid and Conflict."""
        body = {"id": str(uuid_utils.uuid7()), **fields}
        return cast(Item, await self._tend.request("POST", self._path, json=body, keyed=True))

    async def update(self, row_id: str, /, *, version: int | None = None, **fields: Any) -> Item:
        """The fields that are named; None clears. With the `version` that was read, raises PreconditionFailed when
        somebody else changed it first.
        """
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        path = f"{self._path}/{row_id}"
        return cast(Item, await self._tend.request("PATCH", path, json=fields, headers=headers, keyed=True))

    async def delete(self, row_id: str, /, *, version: int | None = None, **asked: Any) -> None:
        """To the trash, where there is one. Of a project, `tasks` says what becomes of its tasks."""
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        await self._tend.request("DELETE", f"{self._path}/{row_id}", params=asked, headers=headers)
