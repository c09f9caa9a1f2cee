"""Tasks, one by one."""

from tests.client import Client


async def test_another_users_task_is_not_found(alice: Client, bob: Client) -> None:
    task = await alice.add("Water the figs")

    answer = await bob.patch(f"/v1/tasks/{task['id']}", {"completed": True})

    assert answer.status_code == 404
    assert (await alice.get(f"/v1/tasks/{task['id']}")).json() == task
