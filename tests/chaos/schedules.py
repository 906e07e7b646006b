"""Servers whose schedules are due each minute, and the check of their runs: each due time has one run or is recorded as
missed, no run began two backups, and each `save-off` is followed by a `save-on`."""

import datetime
import time

from api import Api

# A run waits this long for a node whose workers were killed, and for a console that fails.
RUN_SECONDS = 240


class Schedules:
    def __init__(self, world, count, rng):
        self.world, self.rng = world, rng
        self.servers = {}  # by UUID: Scheduled
        self.lines, self.wrong, self.stuck = [], [], []
        for number, (server, directory, disk, node) in enumerate(world.make_scheduled_servers(count)):
            self.servers[server] = Scheduled(world, server, directory, disk, node, number, rng)

    def create(self):
        for one in self.servers.values():
            one.create()

    def completed(self):
        """Returns the disk and the node of each completed backup, by its UUID."""
        return {uuid: (one.disk, one.node) for one in self.servers.values()
                for uuid, about in one.api.all().items() if about["status"] == "completed"}

    def check(self):
        """Waits until the runs of all due times up to now have ended, switches the schedules off, and checks the runs."""
        if not self.servers:
            return
        query = self.world.postgres.query
        until = query("SELECT date_trunc('minute', now())")
        # A due time counts when its jitter has passed, and the leader has looked.
        self.wait(f"SELECT count(*) FROM schedules WHERE next_due_at <= '{until}'", "due times are not decided")
        self.wait(f"SELECT count(*) FROM schedule_runs WHERE due_at <= '{until}' AND finished_at IS NULL",
                  "runs have not ended")
        for one in self.servers.values():
            one.switch_off()
        self.wait("SELECT count(*) FROM schedule_runs WHERE finished_at IS NULL", "runs have not ended at last")
        self.check_due_times(until)
        self.check_runs()
        self.check_commands()

    def wait(self, count, what):
        deadline = time.monotonic() + RUN_SECONDS
        while (left := int(self.world.postgres.query(count))) > 0:
            if time.monotonic() > deadline:
                self.stuck.append(f"{left} {what} after {RUN_SECONDS} s")
                return
            time.sleep(1)

    def check_due_times(self, until):
        """Checks that each minute since a schedule was created has exactly one row."""
        rows = self.world.postgres.query(
            "SELECT schedule_id, extract(epoch FROM due_at)::bigint, state FROM schedule_runs "
            f"WHERE NOT is_manual AND due_at <= '{until}' ORDER BY schedule_id, due_at")
        due, states = {}, {}
        for row in rows.split():
            schedule, at, state = row.split("|")
            due.setdefault(int(schedule), []).append(int(at))
            states[state] = states.get(state, 0) + 1
        last = int(datetime.datetime.fromisoformat(until).timestamp())
        for one in self.servers.values():
            found = due.get(one.schedule, [])
            first = one.created - one.created % 60 + 60
            expected = list(range(first, last + 1, 60))
            if found != expected:
                lacking, surplus = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
                self.wrong.append(f"schedule {one.schedule} of {one.server}: lacks the due times {lacking}, "
                                  f"has {surplus} too many, {len(found) - len(set(found))} twice")
        total = sum(map(len, due.values()))
        self.lines.append(f"{total} due times of {len(self.servers)} schedules: "
                          f"{', '.join(f'{count} {state}' for state, count in sorted(states.items()))}")

    def check_runs(self):
        query = self.world.postgres.query
        twice = query("SELECT count(*) FROM (SELECT FROM jobs WHERE run_id IS NOT NULL AND kind = 'create_backup' "
                      "GROUP BY run_id HAVING count(*) > 1) twice")
        if twice != "0":
            self.wrong.append(f"{twice} runs began two backups")
        silent = query("SELECT count(*) FROM schedule_runs WHERE state IN ('failed', 'missed') AND error IS NULL")
        if silent != "0":
            self.wrong.append(f"{silent} runs failed or were missed without a reason")
        empty = query("SELECT count(*) FROM schedule_runs WHERE state = 'completed' AND backup_id IS NULL")
        if empty != "0":
            self.wrong.append(f"{empty} runs completed without a backup")

    def check_commands(self):
        """Checks the consoles. A command may be sent twice, but the server must save at the end."""
        sent = 0
        for one in self.servers.values():
            lines = one.console()
            sent += len(lines)
            if lines and lines[-1] != "save-on":
                self.wrong.append(f"the last command of {one.server} was {lines[-1]}")
            if "save-off" in lines and "save-on" not in lines[lines.index("save-off"):]:
                self.wrong.append(f"{one.server} was never told to save again")
        self.lines.append(f"{sent} commands sent to consoles")


class Scheduled:
    """A server with a schedule that is due each minute."""

    def __init__(self, world, server, directory, disk, node, number, rng):
        self.world, self.server, self.directory, self.disk, self.node = world, server, directory, disk, node
        self.number, self.rng = number, rng
        self.api = Api(world, server, rng)
        self.schedule, self.created = None, None

    def send(self, path, body):
        status, answer = self.api.retry_until_answered("POST", path, body)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {answer}")
        return answer["attributes"]

    def fields(self, is_active):
        return {"name": "Each minute", "minute": "*", "hour": "*", "day_of_month": "*", "month": "*",
                "day_of_week": "*", "is_active": is_active, "only_when_online": False, "keep": "last=2",
                # Half of them are spread over the minute.
                "jitter_seconds": self.number % 2 * 50}

    def create(self):
        self.api.path = self.api.path.replace("/backups", "/schedules")
        made = self.send("", self.fields(False))
        self.schedule = made["id"]
        for action, payload in [("command", "save-off"), ("backup", ""), ("command", "save-on")]:
            body = {"action": action, "payload": payload, "time_offset": 0}
            self.send(f"/{self.schedule}/tasks", body)
        self.send(f"/{self.schedule}", self.fields(True))
        at = self.world.postgres.query(f"SELECT extract(epoch FROM updated_at) FROM schedules WHERE id = {self.schedule}")
        self.created = int(float(at))
        self.api.path = self.api.path.replace("/schedules", "/backups")

    def switch_off(self):
        self.api.path = self.api.path.replace("/backups", "/schedules")
        self.send(f"/{self.schedule}", self.fields(False))
        self.api.path = self.api.path.replace("/schedules", "/backups")

    def console(self):
        path = self.world.power / "console" / self.server
        return path.read_text().split() if path.exists() else []
