"""The final check: once all faults have ended, the answers of the service, the contents of the disks and the records of
the actors must agree."""

import hashlib
import os
import re
import shutil
import subprocess
import time

from actor import fetch
import tree

# The longest time for remaining jobs: an expiring lease, three attempts, and the delays between
# them.
SETTLE_SECONDS = 120
SWEEP_SECONDS = 60
# The longest time for an event to arrive: a paused receiver gets the next delivery after a minute.
EVENT_SECONDS = 150
STAGING = ".holdfast-"


class Audit:
    def __init__(self, world, actors, schedules):
        self.world, self.actors, self.schedules = world, actors, schedules
        self.scheduled = {}
        self.stuck, self.lost, self.orphaned, self.harmed = [], [], [], []
        self.verified = 0
        self.events = 0
        self.settled = 0.0

    def run(self):
        if not self.settle():
            return
        for actor in self.actors:
            actor.reconcile()
            actor.check_directory("at the end")
        self.sweep()
        for actor in self.actors:
            for uuid, attributes in actor.api.all().items():
                if attributes["status"] == "completed" and not actor.backups[uuid].is_damaged:
                    self.verify(actor.api, uuid, attributes, actor.backups[uuid].versions)
        for one in self.schedules.servers.values():
            for uuid, attributes in one.api.all().items():
                if attributes["status"] == "completed":
                    self.world.count_reuse(attributes)
                    self.verify(one.api, uuid, attributes, [tree.read(one.directory)])
        for actor in self.actors:
            self.restore_one(actor)
            self.lost += actor.lost
            self.harmed += actor.harmed
        self.look_for_staging()
        if self.world.psql:
            self.check_events()

    def check_events(self):
        """Checks that the webhook and the streams learn of every event."""
        deadline = time.monotonic() + EVENT_SECONDS
        while True:
            rows = [line.split("|") for line in self.world.postgres.query("SELECT uuid, server_id FROM events").split()]
            self.events = len(rows)
            streams = {actor.server: actor.stream.seen for actor in self.actors}
            missing = [f"event {event} did not reach the webhook" for event, _ in rows
                       if event not in self.world.receiver.accepted]
            missing += [f"event {event} did not reach the stream of {server}" for event, server in rows
                         if server in streams and event not in streams[server]]
            if not missing or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        self.lost += missing

    def settle(self):
        """Checks that every job ends in time."""
        begun = time.monotonic()
        while True:
            jobs = [job for state in ["available", "scheduled", "running"]
                    for job in self.world.admin("job", "list", "--state", state, "--limit", "1000")]
            self.settled = time.monotonic() - begun
            if not jobs:
                break
            if self.settled > SETTLE_SECONDS:
                self.stuck += [f"job {job['id']} ({job['kind']}, {job['state']})" for job in jobs]
                break
            time.sleep(0.5)
        creating = self.world.admin("backup", "list", "--state", "creating", "--limit", "1000")
        self.stuck += [f"backup {one['uuid']} is {one['status']}" for one in creating]
        return not self.stuck

    def verify(self, api, uuid, attributes, versions):
        """Downloads an archive, verifies it, unpacks it, also with tar, and compares its contents."""
        folder = self.world.work / "audit"
        folder.mkdir(exist_ok=True)
        archive, place, by_tar = folder / f"{uuid}.tar.gz", folder / uuid, folder / f"{uuid}.by-tar"
        try:
            status, answer = api.retry_until_answered("GET", f"/{uuid}/download")
            if status != 200:
                raise OSError(f"no link: {status} {answer}")
            archive.write_bytes(fetch(answer["attributes"]["url"]))
            hash_found = hashlib.sha256(archive.read_bytes()).hexdigest()
            if (hash_found, archive.stat().st_size) != (attributes["sha256_hash"], attributes["bytes"]):
                raise OSError("hash or size differs from the service's")
            self.world.run_once(["archive", "verify", archive], {})
            place.mkdir()
            self.world.run_once(["archive", "restore", archive, place], {})
            by_tar.mkdir()
            read = subprocess.run(["tar", "-xzpf", archive, "-C", by_tar], capture_output=True, text=True)
            if read.returncode != 0:
                raise OSError(f"tar cannot read it: {read.stderr}")
            for found in [tree.read(place), tree.read(by_tar)]:
                if found not in versions:
                    raise OSError(f"its contents are wrong: {tree.difference(versions[-1], found)}")
        except (OSError, RuntimeError) as error:
            self.lost.append(f"{uuid}: {error}")
            return
        self.verified += 1
        archive.unlink()
        shutil.rmtree(place)
        shutil.rmtree(by_tar)

    def restore_one(self, actor):
        """Restores a backup through the service, now without faults."""
        completed = [uuid for uuid, one in actor.backups.items()
                     if one.status == "completed" and not one.deletion and not one.is_damaged]
        if not completed:
            return
        uuid = actor.rng.choice(completed)
        status, answer = actor.api.retry_until_answered("POST", f"/{uuid}/restore")
        if status != 202:
            self.lost.append(f"{uuid}: a restore is answered with {status} {answer}")
            return
        deadline = time.monotonic() + SETTLE_SECONDS
        while (restore := actor.api.details(uuid)["restore"])["status"] not in ("completed", "failed"):
            if time.monotonic() > deadline:
                self.stuck.append(f"the last restore of {uuid} is {restore['status']}")
                return
            time.sleep(0.2)
        if restore["status"] != "completed":
            self.lost.append(f"{uuid}: the last restore failed: {restore['error']}")
            return
        actor.contents = actor.backups[uuid].versions
        actor.check_directory("after the last restore")

    def sweep(self):
        """Checks that disks hold only objects of completed backups. Workers sweep all the time."""
        self.scheduled = self.schedules.completed()
        for worker in self.world.workers:
            worker.stop()
        deadline = time.monotonic() + SWEEP_SECONDS
        while True:
            left = self.left_overs()
            if not left or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        self.orphaned += left

    def left_overs(self):
        wanted, left = {}, []
        for actor in self.actors:
            for uuid, one in actor.backups.items():
                if one.status == "completed" and one.deletion != "done":
                    local = self.world.folder_of(actor.disk, actor.node).name
                    wanted[uuid] = local if actor.disk in ("local", "sealed") else actor.disk
        for uuid, (disk, node) in self.scheduled.items():
            wanted[uuid] = self.world.folder_of(disk, node).name if disk == "local" else disk
        found = []
        for disk in ("local", "sealed"):
            for folder in [self.world.folder_of(disk, node) for node in self.world.apis]:
                found += [(folder.name, name) for name in files(folder)]
        if self.world.google:
            found += [("google", name.removeprefix(self.world.prefix + "/"))
                      for name in self.world.google.objects(self.world.prefix)]
        found += [("offsite", name.removeprefix(self.world.prefix + "/"))
                  for name in self.world.bucket.objects(self.world.prefix)]
        for place, name in found:
            # An archive, its index or its manifest: <server>/<backup>[.<attempt>].<what>
            match = re.fullmatch(r"[0-9a-f-]{36}/([0-9a-f-]{36})(\.\d+)?\.(tar\.gz|tar\.gz\.index|index|json)", name)
            if name == ".holdfast-disk" or (match and wanted.get(match[1]) == place):
                continue
            left.append(f"{place}: {name}")
        left += [f"offsite: unfinished upload of {name}" for name in self.world.bucket.uploads(self.world.prefix)]
        # A backup must have the objects of one attempt only.
        attempts = {}
        for place, name in found:
            if name.endswith(".tar.gz"):
                backup = name.split("/")[1].split(".")[0]
                attempts.setdefault(backup, []).append(f"{place}: {name}")
        for names in attempts.values():
            if len(names) > 1:
                left += names[1:]
        return left

    def look_for_staging(self):
        for folder, folders, names in os.walk(self.world.work / "servers"):
            for name in folders + names:
                if name.startswith(STAGING):
                    self.orphaned.append(f"staging: {os.path.join(folder, name)}")

    def read_logs(self):
        """Counts log lines, and checks that they contain no secrets and no panics."""
        counts = {}
        for path in sorted((self.world.work / "logs").glob("*.log")):
            text = path.read_text(errors="replace")
            for secret in self.world.secrets:
                if secret in text:
                    self.world.record_defect(f"{path.name} contains a secret")
            if "panicked" in text:
                self.world.record_defect(f"{path.name} contains a panic")
            for level in re.findall(r"^\S+Z +(ERROR|WARN|INFO) ", text, re.MULTILINE):
                counts[level] = counts.get(level, 0) + 1
        return counts


def files(root):
    for folder, _, names in os.walk(root):
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), root)
