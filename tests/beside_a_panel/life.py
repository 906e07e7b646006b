"""What the panel's users do, and what goes wrong meanwhile."""

import collections
import concurrent.futures
import contextlib
import hashlib
import pathlib
import random
import shutil
import threading
import time
import uuid

from node import Unanswered

# The longest time until everything that was asked for has ended, after the last fault.
SETTLE_SECONDS = 240
# How many requests of users run at once.
USERS = 8


class Server:
    def __init__(self, node):
        self.uuid = str(uuid.uuid4())
        self.directory = node.wings_folder / "volumes" / self.uuid
        self.old = None        # a backup that Wings made
        self.backups = {}      # of Holdfast: UUID to the files it must contain, or None if it must fail
        self.restored = None   # the files that it must have at the end
        self.was_restored = False
        self.deleted = []


class Life:
    def __init__(self, node, options, rng):
        self.node, self.options, self.rng = node, options, rng
        self.servers, self.done, self.wrong = [], [], []
        self.refused = collections.Counter()
        self.lock = threading.Lock()

    def before_holdfast(self):
        """The panel has servers, and Wings backs a few of them up."""
        for number in range(self.options.servers):
            server = Server(self.node)
            self.node.panel("POST", "/stand-in/servers", {"uuid": server.uuid})
            self.node.wings("POST", f"/stand-in/servers/{server.uuid}")
            write_files(server.directory, self.rng, number)
            self.servers.append(server)
        for server in self.servers[:3]:
            server.old = self.node.panel("POST", f"/stand-in/servers/{server.uuid}/backups")["uuid"]
            server.old_files = read_files(server.directory)
        self.wait_for(lambda state: all(state["backups"][one.old]["is_successful"] for one in self.servers[:3]),
                      "Wings has made the old backups")
        self.done.append(f"Wings made 3 backups of {len(self.servers)} servers before Holdfast came")

    def with_holdfast(self):
        with self.killing("backups"):
            self.create_backups()
            self.lose_the_panel()
            # Wings makes archives for the panel's own bucket. It gives up after 30 s without the panel.
            self.bucket_backup = self.create(self.servers[4], {"adapter": "s3"})
            self.wait_for(all_ended, "all backups have ended")
        self.forget_killed_backups()
        with self.killing("restores"):
            self.change_and_restore()
            self.wait_for(all_ended, "all restores have ended")
            self.delete_some()
            self.use_old_backups()
        self.wait_for(all_ended, "everything has ended")
        kills = {name: self.node.processes[name].kills for name in ["worker", "api", "panel"]}
        self.done.append("killed: " + ", ".join(f"{count} × {name}" for name, count in kills.items()))
        refused = ", ".join(f"{count} × {why}" for why, count in sorted(self.refused.items())) or "none"
        self.done.append(f"requests that the panel's users had to repeat: {refused}")

    def create_backups(self):
        """Each server is backed up, some twice at once. One has no directory any more: its backup must fail."""
        missing = self.servers[5]
        shutil.rmtree(missing.directory)
        asked = self.servers + self.servers[:self.options.servers // 5]
        with concurrent.futures.ThreadPoolExecutor(USERS) as users:
            for server, backup in zip(asked, users.map(self.create_after_a_while, asked)):
                server.backups[backup] = None if server is missing else read_files(server.directory)
        self.done.append(f"the panel asked for {len(asked)} backups of Holdfast, {len(asked) - len(self.servers)} while "
                         "another one of the same server waited")

    def create_after_a_while(self, server):
        with self.lock:
            pause = self.rng.uniform(0, 1.5)
        time.sleep(pause)
        return self.create(server)

    def create(self, server, body={}):
        return self.insist("POST", f"/stand-in/servers/{server.uuid}/backups", body)["uuid"]

    def insist(self, method, path, body=None):
        """Repeats what a user of the panel does until the node takes it. Each refusal leaves the panel as it was."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            try:
                return self.node.panel(method, path, body)
            except Unanswered as error:
                why = "the API was away" if '"status":502' in str(error) or "status\":null" in str(error) else str(error)
                with self.lock:
                    self.refused[why[:160]] += 1
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def lose_the_panel(self):
        """Kills the panel while backups end."""
        panel = self.node.processes["panel"]
        panel.kill()
        time.sleep(self.options.outage)
        panel.start()
        panel.wait_until_it_answers()
        self.done.append(f"the panel was killed, and was away for {self.options.outage:.0f} s")

    @contextlib.contextmanager
    def killing(self, phase):
        """Kills processes while the phase lasts, half of all."""
        over = threading.Event()
        killer = threading.Thread(target=self.kill_processes, args=(random.Random(f"{self.options.seed}/{phase}"), over))
        killer.start()
        try:
            yield
        finally:
            over.set()
            killer.join()

    def kill_processes(self, rng, over):
        """Kills the worker and the API at random moments, and starts them again."""
        for number in range(self.options.kills // 2):
            if over.wait(rng.uniform(0.3, 3)):
                return
            process = self.node.processes["worker" if number % 2 == 0 else "api"]
            process.kill()
            time.sleep(rng.uniform(0, 1))
            process.start()

    def state(self):
        return self.node.panel("GET", "/stand-in/state")

    def wait_for(self, is_so, what):
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            state = self.state()
            if is_so(state):
                return
            if time.monotonic() > deadline:
                unfinished = [one["uuid"] for one in state["backups"].values() if one["completed_at"] is None]
                restoring = [one["uuid"] for one in state["servers"].values() if one["status"]]
                raise RuntimeError(f"{what}: not so within {SETTLE_SECONDS} s; backups without an end: {unfinished}; "
                                   f"servers that are restoring: {restoring}")
            time.sleep(0.3)

    def forget_killed_backups(self):
        """A backup whose worker was killed at each of its three attempts has failed, and the panel must know that."""
        backups = self.state()["backups"]
        killed = 0
        for server in self.servers:
            for backup, files in server.backups.items():
                if files is not None and not backups[backup]["is_successful"]:
                    server.backups[backup] = None
                    killed += 1
        if killed > self.options.kills // 4:
            self.wrong.append(f"{killed} backups failed, more than kills can explain")
        self.done.append(f"{killed} backups failed because their workers were killed three times")

    def change_and_restore(self):
        """Every second server is damaged and restored; half of those run meanwhile."""
        chosen = [one for one in self.servers[1::2] if any(one.backups.values())]
        for number, server in enumerate(chosen):
            backup = self.rng.choice([backup for backup, files in server.backups.items() if files])
            server.restored, server.was_restored = server.backups[backup], True
            server.runs = number % 2 == 0
            if server.runs:
                self.node.wings("PUT", f"/stand-in/servers/{server.uuid}", {"state": "running", "stop_milliseconds": 1000})
            (server.directory / "level.dat").write_bytes(b"damaged")
            (server.directory / "grief").write_bytes(b"not in the backup")
            server.chosen = backup
        with concurrent.futures.ThreadPoolExecutor(USERS) as users:
            list(users.map(self.restore, chosen))
        self.done.append(f"the panel restored {len(chosen)} servers, {sum(one.runs for one in chosen)} of which ran")

    def restore(self, server):
        with self.lock:
            pause = self.rng.uniform(0, 1.5)
        time.sleep(pause)
        # If the answer is lost, the restore may have begun. The panel does not know of it, and asks again.
        self.insist("POST", f"/stand-in/backups/{server.chosen}/restore", {"truncate": True})

    def delete_some(self):
        chosen = self.servers[6::4]
        for server in chosen:
            backup = next(iter(server.backups))
            self.insist("DELETE", f"/stand-in/backups/{backup}")
            server.deleted.append(backup)
            del server.backups[backup]
        self.done.append(f"the panel deleted {len(chosen)} backups")

    def use_old_backups(self):
        """The backups that Wings made are downloaded, restored and deleted by Wings."""
        kept = self.state()["backups"]
        for server in self.servers[:3]:
            url = self.node.panel("GET", f"/stand-in/backups/{server.old}/download")["url"]
            status, archive = self.download_in_spite_of_kills(url)
            expected = kept[server.old]["checksum"].split(":")[1]
            if status != 200 or hashlib.sha256(archive).hexdigest() != expected:
                self.wrong.append(f"the old backup {server.old} is answered with {status}")
        server = self.servers[0]
        (server.directory / "level.dat").write_bytes(b"damaged")
        self.insist("POST", f"/stand-in/backups/{server.old}/restore", {"truncate": True})
        server.restored = server.old_files
        self.wait_for(lambda state: state["servers"][server.uuid]["status"] is None, "Wings has restored an old backup")
        self.insist("DELETE", f"/stand-in/backups/{self.servers[1].old}")
        self.done.append("Wings sent 3 of its old backups, restored one and deleted one")

    def download_in_spite_of_kills(self, url):
        for _ in range(100):
            try:
                status, archive = self.node.download(url)
                if status != 502:
                    return status, archive
            except OSError:
                pass
            time.sleep(0.3)
        return 0, b""


def all_ended(state):
    """No backup is being created, and no server is restoring."""
    return all(one["completed_at"] for one in state["backups"].values()) and not any(
        one["status"] for one in state["servers"].values())


def write_files(directory, rng, number):
    (directory / "world").mkdir()
    (directory / "level.dat").write_bytes(b"server %d" % number)
    for name in range(8):
        (directory / "world" / f"region-{name}").write_bytes(rng.randbytes(rng.randrange(200_000)))


def read_files(directory):
    """Returns the hash of each file by its path."""
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(pathlib.Path(directory).rglob("*")) if path.is_file()}
