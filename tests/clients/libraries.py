"""Clients written in Python: py-dactyl, ptero, pypterodactyl. See README.md."""

import asyncio
import hashlib
import os
import time
import urllib.request

import requests

URL, SERVER, FULL, KEY, SPENT = (os.environ[name] for name in ("URL", "SERVER", "FULL_SERVER", "KEY", "SPENT_KEY"))


def sha256_of(url):
    with urllib.request.urlopen(url) as answer:
        return hashlib.sha256(answer.read()).hexdigest()


def equal(seen, expected):
    assert seen == expected, f"{seen!r} is not {expected!r}"


def until(get, done):
    for _ in range(300):
        if done(seen := get()):
            return seen
        time.sleep(0.2)
    raise AssertionError(f"it never came to its end: {seen}")


def refused(status, call, code=None):
    """Checks that a call is refused. py-dactyl raises its own error for 400 and 422, and the one of requests otherwise."""
    from pydactyl.exceptions import PterodactylApiError

    try:
        answer = call()
    except PterodactylApiError as error:
        assert status in (400, 422) and (code is None or code in str(error)), error
    except requests.HTTPError as error:
        equal(error.response.status_code, status)
    else:
        raise AssertionError(f"it was not refused: {answer}")


def py_dactyl():
    from pydactyl import PterodactylClient

    client = PterodactylClient(URL, KEY, retries=0)
    equal(client.client.account.get_account()["attributes"]["email"], "owner@example.com")
    servers = [one["attributes"]["identifier"] for page in client.client.servers.list_servers() for one in page.data]
    assert SERVER in servers, servers
    equal(client.client.servers.get_server(SERVER)["identifier"], SERVER)
    backups = client.client.servers.backups
    made = backups.create_backup(SERVER)["attributes"]
    equal((made["is_successful"], made["completed_at"]), (False, None))
    uuid = made["uuid"]
    refused(409, lambda: backups.create_backup(SERVER))
    shown = until(lambda: backups.get_backup_detail(SERVER, uuid)["attributes"], lambda one: one["completed_at"])
    assert shown["is_successful"]
    assert uuid in [one["attributes"]["uuid"] for one in backups.list_backups(SERVER)["data"]]
    equal(sha256_of(backups.get_backup_download(SERVER, uuid)["attributes"]["url"]), shown["sha256_hash"])
    backups.restore_backup(SERVER, uuid)
    until(
        lambda: backups.get_backup_detail(SERVER, uuid)["attributes"]["restore"]["status"],
        lambda status: status == "completed",
    )
    backups.delete_backup(SERVER, uuid)
    refused(404, lambda: backups.get_backup_detail(SERVER, uuid))
    py_dactyl_schedules(client.client.servers)
    refused(404, lambda: backups.list_backups("00000000"))
    refused(400, lambda: backups.create_backup(FULL), "TooManyBackupsException")
    bad = PterodactylClient(URL, KEY[:-1] + ("a" if KEY[-1] != "a" else "b"), retries=0)
    refused(401, lambda: bad.client.servers.backups.list_backups(SERVER))
    spent = PterodactylClient(URL, SPENT, retries=0)
    try:
        spent.client.servers.backups.list_backups(SERVER)
        raise AssertionError("429 was not noticed")
    except (requests.exceptions.RetryError, requests.HTTPError) as error:
        assert "429" in str(error), error


def py_dactyl_schedules(servers):
    schedules = servers.schedules
    made = schedules.create_schedule(SERVER, "py-dactyl", "0", "4", "*", "*", "*", only_when_online=True)["attributes"]
    number = made["id"]
    equal((made["name"], made["cron"]["hour"], made["is_active"], made["only_when_online"]), ("py-dactyl", "4", True, True))
    assert made["next_run_at"] and made["last_run_at"] is None, made
    task = schedules.create_task(SERVER, number, "backup", "*.log")["attributes"]
    equal((task["sequence_id"], task["payload"], task["time_offset"]), (1, "*.log", 0))
    task = schedules.update_task(SERVER, number, task["id"], "backup", "cache/", "0", True)["attributes"]
    equal((task["payload"], task["continue_on_failure"]), ("cache/", True))
    schedules.update_schedule(SERVER, number, "changed", "*/5", "*", "1-5", "*", "*", is_active=False)
    shown = schedules.get_schedule_details(SERVER, number)["attributes"]
    equal((shown["name"], shown["cron"]["day_of_week"], shown["is_active"]), ("changed", "1-5", False))
    equal([one["attributes"]["id"] for one in shown["relationships"]["tasks"]["data"]], [task["id"]])
    schedules.run_schedule(SERVER, number)
    until(
        lambda: schedules.get_schedule_details(SERVER, number)["attributes"],
        lambda one: one["last_run_at"] and not one["is_processing"],
    )
    backup = servers.backups.list_backups(SERVER)["data"][0]["attributes"]
    equal((backup["is_successful"], backup["ignored_files"]), (True, ["cache/"]))
    servers.backups.delete_backup(SERVER, backup["uuid"])
    refused(400, lambda: schedules.create_schedule(SERVER, "bad", "61", "4", "*", "*", "*"), "DisplayException")
    refused(400, lambda: schedules.create_schedule(SERVER, "", "0", "4", "*", "*", "*"))
    refused(403, lambda: schedules.create_task(FULL, full_schedule(schedules), "backup", ""))
    schedules.delete_task(SERVER, number, task["id"])
    refused(400, lambda: schedules.run_schedule(SERVER, number), "no tasks")
    assert number in [one["attributes"]["id"] for one in schedules.list_schedules(SERVER)["data"]]
    schedules.delete_schedule(SERVER, number)
    refused(404, lambda: schedules.get_schedule_details(SERVER, number))


def full_schedule(schedules):
    """Returns a schedule of the server whose backup limit is 0."""
    return schedules.create_schedule(FULL, "full", "0", "4", "*", "*", "*")["attributes"]["id"]


async def ptero():
    import httpx
    from ptero.client import ClientServer

    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {KEY}", "Accept": "application/json"}) as session:
        found = (await session.get(f"{URL}/api/client/servers/{SERVER}")).json()
        server = ClientServer(found, "panel", session, f"{URL}/api", None)
        made = await server.create_backup("ptero", ["*.log"], True)
        for _ in range(300):
            shown = await server.get_backup_details(made.uuid)
            if shown.completed_at:
                break
            await asyncio.sleep(0.2)
        equal((shown.is_successful, shown.is_locked, shown.ignored_files), (True, True, ["*.log"]))
        assert made.uuid in [one.uuid for one in await server.list_backups()]
        link = await server.get_backup_download(made.uuid)
        equal("sha256:" + sha256_of(link), shown.checksum)
        equal((await server.delete_backup(made.uuid)).status_code, 400)
        equal((await server.toggle_backup_lock(made.uuid)).json()["attributes"]["is_locked"], False)
        equal((await server.restore_backup(made.uuid, True)).status_code, 204)
        for _ in range(300):
            deleted = (await server.delete_backup(made.uuid)).status_code
            if deleted != 409:
                break
            await asyncio.sleep(0.2)
        equal(deleted, 204)
        equal(await server.get_backup_details(made.uuid), None)
        await ptero_schedules(server)


async def ptero_schedules(server):
    made = await server.create_schedule("ptero", "30", "2", "*", "*", "0")
    equal((made.cron_minute, made.cron_day_of_week, made.is_active, made.is_processing), ("30", "0", True, False))
    # Panels want every field at each change.
    cron = {"cron_minute": "0", "cron_hour": "5", "cron_day_of_month": "1", "cron_month": "*", "cron_day_of_week": "*"}
    changed = await server.update_schedule(made.id, name="changed", is_active=True, only_when_online=False, **cron)
    equal((changed.name, changed.cron_hour, changed.cron_day_of_month), ("changed", "5", "1"))
    task = await server.create_task(made.id, "backup", "", 0)
    equal((await server.update_task(made.id, task.id, "backup", "*.log", 60)).time_offset, 60)
    assert made.id in [one.id for one in await server.list_schedules()]
    equal((await server.get_schedule(made.id)).name, "changed")
    equal((await server.delete_task(made.id, task.id)).status_code, 204)
    equal((await server.delete_schedule(made.id)).status_code, 204)
    equal(await server.get_schedule(made.id), None)


def pypterodactyl():
    from pypterodactyl import Instance

    backups = Instance(KEY, URL).backups
    uuid = backups.create_backup(SERVER)["attributes"]["uuid"]
    shown = until(lambda: backups.backup_details(SERVER, uuid)["attributes"], lambda one: one["completed_at"])
    equal(sha256_of(backups.download_backup(SERVER, uuid)["attributes"]["url"]), shown["sha256_hash"])
    assert uuid in [one["attributes"]["uuid"] for one in backups.list_backups(SERVER)["data"]]
    backups.delete_backup(SERVER, uuid)
    equal(backups.backup_details(SERVER, uuid)["errors"][0]["code"], "NotFoundHttpException")
    schedules = Instance(KEY, URL).schedules
    number = schedules.create_schedule(SERVER, "pypterodactyl", "0", "4", "*", "*", "*")["attributes"]["id"]
    schedules.add_task(SERVER, number, "backup", "")
    equal(schedules.get_schedule(SERVER, number)["attributes"]["name"], "pypterodactyl")
    schedules.delete_schedule(SERVER, number)
    equal(schedules.list_schedules(SERVER)["data"], [])


py_dactyl()
print("ok: py-dactyl")
asyncio.run(ptero())
print("ok: ptero")
pypterodactyl()
print("ok: pypterodactyl")
