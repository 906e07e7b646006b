"""The users of one server: they change its files, create, cancel, restore, lock and delete backups at random, and record
the expected state of each. No other actor changes this server, so the record is exact wherever the service answered,
and lists both possible states wherever it did not."""

import hashlib
import os
import threading
import time
import urllib.parse

from api import Api, Unknown
from listeners import Stream
import tree

# The longest time of a job after the last fault: an expiring lease, three attempts, and the delays
# between them.
JOB_SECONDS = 240


class Backup:
    """The expected state of one backup."""

    def __init__(self, versions):
        self.versions = versions  # possible contents of its archive
        self.status = "creating"
        self.locked = None  # None: unknown
        self.deletion = None  # "maybe": requested, but no answer; "done": 204
        self.is_damaged = False  # whether this program has damaged its archive


class Actor:
    def __init__(self, world, server, directory, disk, node, megabytes, rng):
        self.world, self.server, self.directory = world, server, directory
        self.disk, self.node, self.megabytes = disk, node, megabytes
        self.rng = rng
        self.api = Api(world, server, rng)
        self.stream = Stream(world, server, type(rng)(rng.random()))
        self.running = world.power / "running" / server  # exists while the server runs
        self.backups = {}
        self.contents = [tree.read(directory)]  # possible contents of the directory
        self.counts = {}
        self.lost, self.harmed = [], []
        self.until = 0.0  # when the last fault comes

    def run(self, until):
        self.until = until
        while time.monotonic() < until:
            try:
                self.step()
            except TimeoutError as error:
                self.world.record_defect(f"server {self.server}: {error}")
            time.sleep(self.rng.uniform(0, 0.3))
        self.world.healed.wait()
        for _ in range(2):
            self.create_undisturbed()

    def create_undisturbed(self):
        """Creates a backup after the last fault. The second of them reuses the first one, in a short run too."""
        self.reconcile()
        self.check_directory("before a backup after the last fault")
        self.change_directory()
        begun = time.monotonic()
        while True:
            status, answer = self.request_change("POST", "", {})
            self.record_backup({}, status, answer)
            if status == 200:
                return
            self.check_time(begun)
            time.sleep(0.2)
            self.reconcile()

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def log_event(self, what, **fields):
        self.world.log_event(what, server=self.server[:8], **fields)

    def request_change(self, method, path, body=None):
        """Requests a change. Without an answer (0), or with 5xx, the change may still have been made."""
        try:
            status, answer = self.api.send(method, path, body)
        except Unknown as error:
            # The request may be in transit as long as a fault delays anything.
            self.count("unanswered")
            self.log_event("unanswered", method=method, path=path, error=str(error))
            time.sleep(1)
            return None, None
        self.log_event("asked", method=method, path=path, status=status)
        if status >= 500:
            self.count(f"answered {status}")
            # If the connection to the database broke during the commit, it may still be committed now.
            time.sleep(1)
        return status, answer

    def step(self):
        self.reconcile()
        self.check_directory("before the next step")
        completed = [uuid for uuid, one in self.backups.items() if one.status == "completed" and not one.deletion]
        ended = [uuid for uuid, one in self.backups.items() if one.status != "creating" and one.deletion != "done"]
        choice = self.rng.random()
        if choice < 0.58 or not completed:
            self.create()
        elif choice < 0.7:
            self.restore(self.rng.choice(completed))
        elif choice < 0.82 or len(completed) > 6:
            self.delete(self.rng.choice(ended))
        elif choice < 0.87:
            self.lock(self.rng.choice(completed))
        elif choice < 0.94:
            self.download(self.rng.choice(completed))
        else:
            self.damage(completed[-1])

    def check_time(self, begun):
        """Raises a TimeoutError if a job that was waited for since `begun` should have ended."""
        if time.monotonic() > max(begun, self.until) + JOB_SECONDS:
            raise TimeoutError(f"a job has not ended {JOB_SECONDS} s after the last fault")

    def reconcile(self):
        """Waits until no job runs, and compares the answers of the service with the record."""
        begun = time.monotonic()
        while True:
            told = self.api.all()
            for uuid, attributes in told.items():
                if uuid not in self.backups:
                    # A request without an answer. The files have not changed since.
                    self.backups[uuid] = Backup(self.contents + [tree.without_logs(one) for one in self.contents])
                    self.count("backups")
                    self.log_event("adopted", backup=uuid)
                self.compare(uuid, self.backups[uuid], attributes)
            for uuid, one in list(self.backups.items()):
                if uuid not in told and one.deletion != "done":
                    if one.deletion is None:
                        self.lost.append(f"{uuid}: the service does not know this backup")
                        self.log_event("LOST", backup=uuid)
                    one.deletion = "done"
            running = [one for one in told.values() if one["status"] == "creating" or restoring(one)]
            if not running:
                return
            if len(running) > 1:
                self.world.record_defect(f"server {self.server} has two jobs at once")
            self.check_time(begun)
            time.sleep(0.2)

    def compare(self, uuid, one, attributes):
        if one.deletion == "done":
            self.lost.append(f"{uuid}: was deleted, but still exists")
            one.deletion = None
        status = attributes["status"]
        if one.status != "creating" and status != one.status:
            self.lost.append(f"{uuid}: was {one.status}, and is {status}")
        if one.status == "creating" and status != "creating":
            self.count(status)
            self.log_event(status, backup=uuid, error=attributes["error"], reused_from=attributes["reused_from"])
            if status == "completed":
                self.count_reuse(uuid, attributes)
            if status == "failed" and not attributes["error"]:
                self.world.record_defect(f"{uuid} failed without a reason")
            if status == "failed":
                one.locked = False
        one.status = status
        if one.locked is not None and one.locked != attributes["is_locked"] and status != "creating":
            self.lost.append(f"{uuid}: locked should be {one.locked}, is {attributes['is_locked']}")
        if status != "creating":
            one.locked = attributes["is_locked"]

    def count_reuse(self, uuid, attributes):
        """Counts what a completed backup took over, and checks that it names an earlier backup of this server."""
        before = attributes["reused_from"]
        self.world.count_reuse(attributes)
        if before and (before == uuid or before not in self.backups):
            self.world.record_defect(f"{uuid} reused {before}, which is not an earlier backup of its server")
        if not before and attributes["reused_bytes"] > 0:
            self.world.record_defect(f"{uuid} reused {attributes['reused_bytes']} bytes of {before}")

    def check_directory(self, when):
        """Compares the directory with its possible contents. Waits while it is being recovered."""
        deadline = time.monotonic() + 40
        while True:
            try:
                found = tree.read(self.directory)
            except FileNotFoundError:
                found = None  # it changed while it was read
            if found in self.contents:
                self.contents = [found]
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
        text = tree.difference(self.contents[-1], found or {})
        self.log_event("HARMED", when=when, text=text)
        self.harmed.append(f"{self.directory} {when}: {text}")
        self.contents = [found or {}]

    def create(self):
        if self.rng.random() < 0.8:
            self.change_directory()
        ignored = self.rng.random() < 0.2
        body = {"is_locked": self.rng.random() < 0.15, **({"ignored": "*.log"} if ignored else {})}
        if self.rng.random() < 0.15:
            self.create_twice(body)
        else:
            self.record_backup(body, *self.request_change("POST", "", body))
        created = [uuid for uuid, one in self.backups.items() if one.status == "creating"]
        completed = [uuid for uuid, one in self.backups.items() if one.status == "completed" and not one.deletion]
        if created and len(completed) > 1 and self.rng.random() < 0.2:
            # The new backup reuses this one.
            time.sleep(self.rng.uniform(0, 1))
            self.delete(completed[-1])
            self.count("deletions of the newest while the next was created")
        if created and self.rng.random() < 0.2:
            time.sleep(self.rng.uniform(0, 3))
            status, _ = self.request_change("POST", f"/{created[0]}/cancel")
            if status == 204:
                self.count("cancelled")

    def change_directory(self):
        tree.change(self.directory, self.rng, self.megabytes)
        self.contents = [tree.read(self.directory)]

    def create_twice(self, body):
        """Requests two at once: while one runs, the other is refused. `reconcile` checks that."""
        answers = []
        ask = threading.Thread(target=lambda: answers.append(self.request_change("POST", "", body)))
        ask.start()
        answers.append(self.request_change("POST", "", body))
        ask.join()
        for answer in answers:
            self.record_backup(body, *answer)

    def record_backup(self, body, status, answer):
        if status == 200:
            versions = [tree.without_logs(one) for one in self.contents] if "ignored" in body else self.contents
            self.backups[answer["attributes"]["uuid"]] = Backup(versions)
            self.count("backups")
        elif status == 400:
            ended = [uuid for uuid, one in self.backups.items() if one.status != "creating" and one.deletion != "done"]
            if ended:
                self.delete(self.rng.choice(ended))

    def restore(self, uuid):
        before = self.api.details(uuid)["restore"]
        if self.rng.random() < 0.6:
            self.running.touch()
        truncate = self.rng.random() < 0.75
        status, _ = self.request_change("POST", f"/{uuid}/restore", {"truncate": truncate})
        if status is not None and 400 <= status < 500:
            return
        begun = time.monotonic()
        while restoring(about := self.api.details(uuid)):
            self.check_time(begun)
            time.sleep(0.2)
        after = about["restore"]
        versions = self.backups[uuid].versions
        targets = versions if truncate else [tree.over(one, now) for one in versions for now in self.contents]
        if after == before and status != 202:
            # Either nothing was started, or it looks like the previous one, since times have whole
            # seconds.
            self.contents = self.contents + targets
            return
        self.count(f"restores {after['status']}")
        self.log_event("restored", backup=uuid, truncate=truncate, **after)
        if after["status"] == "completed":
            self.contents = targets
            if self.running.exists():
                self.world.record_defect(f"server {self.server} still runs after a restore of {uuid}")
        elif after["error"]:
            # A worker that stopped responding may have completed the restore.
            self.contents = self.contents + targets
        else:
            self.world.record_defect(f"a restore of {uuid} failed without a reason")
        self.check_directory(f"after a restore that {after['status']}")

    def delete(self, uuid):
        one = self.backups[uuid]
        status, _ = self.request_change("DELETE", f"/{uuid}")
        if status == 204:
            if one.locked:
                self.lost.append(f"{uuid}: was locked, but is deleted")
            one.deletion = "done"
            self.count("deleted")
        elif status is None or status >= 500:
            one.deletion = "maybe"
        elif status == 400 and one.locked is not True:
            self.world.record_defect(f"{uuid} is not locked and can't be deleted")

    def lock(self, uuid):
        wanted = self.rng.random() < 0.4
        status, _ = self.request_change("POST", f"/{uuid}/lock", {"is_locked": wanted})
        if status == 204:
            self.backups[uuid].locked = wanted
        elif status is None or status >= 500:
            self.backups[uuid].locked = None

    def damage(self, uuid):
        """Damages an archive or its index. No backup of this server runs now. The next one, which would reuse the
        archive, must be correct."""
        archive = self.world.stored_archive(self.disk, self.node, self.server, uuid)
        if archive is None:
            return
        kind = self.rng.choice(["a bit of the archive", "the end of the archive", "the archive",
                                "a bit of the index", "the index"])
        target = archive.with_name(archive.name + ".index") if "index" in kind else archive
        if "index" not in kind:
            self.backups[uuid].is_damaged = True
        try:
            size = target.stat().st_size
            if kind.startswith("a bit"):
                flip(target, self.rng.randrange(size), 1 << self.rng.randrange(8))
            elif kind.startswith("the end"):
                os.truncate(target, self.rng.randrange(size))
            else:
                target.unlink()
        except FileNotFoundError:
            return  # it is being deleted
        self.count("archives damaged")
        self.log_event("damaged", backup=uuid, kind=kind)

    def download(self, uuid):
        """Downloads during faults: a complete download must be correct."""
        if self.backups[uuid].is_damaged:
            return
        about = self.api.details(uuid)
        status, answer = self.request_change("GET", f"/{uuid}/download")
        if status != 200 or about is None:
            return
        try:
            content = fetch(answer["attributes"]["url"])
        except OSError:
            return self.count("downloads cut")
        self.count("downloads")
        if hashlib.sha256(content).hexdigest() != about["sha256_hash"]:
            self.lost.append(f"{uuid}: the download has another hash")


def flip(path, offset, bits):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ bits]))


def restoring(attributes):
    restore = attributes and attributes["restore"]
    return bool(restore) and restore["status"] in ("queued", "running")


def fetch(url):
    """Downloads a link completely, or raises an `OSError`."""
    import http.client
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"{answer.status}")
        return answer.read()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()
