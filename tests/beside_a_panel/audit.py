"""The final check: the panel, Holdfast, the disk and the servers' directories must agree."""

import hashlib
import io
import json
import pathlib
import re
import tarfile
import time

from life import read_files

# The longest time until workers have kept the promises to delete, and sent all reports.
SETTLE_SECONDS = 90


class Audit:
    def __init__(self, node, life):
        self.node, self.life = node, life
        self.wrong, self.done = [], []

    def run(self):
        self.state = self.life.state()
        self.own = {one["uuid"]: one for one in json.loads(self.node.admin("admin", "backup", "list", "--limit", "10000", "--json"))}
        self.check_reports()
        self.check_downloads()
        self.check_directories()
        self.check_wings()
        self.check_deleted()
        self.check_logs()

    def check_reports(self):
        """What the panel knows of each backup is what Holdfast knows."""
        counts = {True: 0, False: 0}
        for server in self.life.servers:
            for backup, files in server.backups.items():
                told, own = self.state["backups"].get(backup), self.own.get(backup)
                if told is None or own is None:
                    self.wrong.append(f"backup {backup}: the panel has {told}, Holdfast has {own}")
                    continue
                if files is None and told["is_successful"]:
                    self.wrong.append(f"backup {backup} must have failed, but the panel has it as completed")
                expected = ("completed", f"sha256:{own['sha256_hash']}", own["bytes"]) if told["is_successful"] else ("failed", None, 0)
                if (own["state"], told["checksum"], told["bytes"]) != expected:
                    self.wrong.append(f"backup {backup}: the panel has {told}, Holdfast has {own}")
                counts[told["is_successful"]] += 1
        if not self.state["backups"][self.life.bucket_backup]["is_successful"]:
            self.wrong.append("the backup in the panel's own bucket is not reported")
        self.done.append(f"the panel knows {counts[True]} backups of Holdfast as completed and {counts[False]} as failed, as it is")
        unknown = [callback for callback in self.state["callbacks"] if callback["status"] not in (204, 400, 404)]
        self.wrong += [f"the panel answered a report with {one['status']}: {one}" for one in unknown]
        if self.node.options.psql:
            deadline = time.monotonic() + SETTLE_SECONDS
            while (waiting := self.node.query("SELECT backup_id FROM panel_callbacks")) and time.monotonic() < deadline:
                time.sleep(0.5)
            self.wrong += [f"a report about backup {backup} still waits" for backup in waiting]

    def check_downloads(self):
        """Each completed backup can be downloaded, twice, and holds the files that the server had."""
        checked = 0
        for server in self.life.servers:
            for backup, files in server.backups.items():
                if files is None or not self.state["backups"][backup]["is_successful"]:
                    continue
                url = self.node.panel("GET", f"/stand-in/backups/{backup}/download")["url"]
                for _ in range(2):
                    status, archive = self.node.download(url)
                    found = f"sha256:{hashlib.sha256(archive).hexdigest()}"
                    if (status, found) != (200, self.state["backups"][backup]["checksum"]):
                        self.wrong.append(f"the download of {backup} is answered with {status} and {found}")
                if files_of(archive) != files:
                    self.wrong.append(f"backup {backup} has other files than server {server.uuid} had")
                checked += 1
        self.done.append(f"{checked} archives downloaded twice by the panel's links; hashes, sizes and files are right")

    def check_directories(self):
        for server in self.life.servers:
            if server.restored is not None and read_files(server.directory) != server.restored:
                self.wrong.append(f"server {server.uuid} does not have the files of its backup")
            if server.was_restored and server.runs:
                seen = self.node.wings("GET", f"/stand-in/servers/{server.uuid}")
                if "stop" not in seen["actions"] and "kill" not in seen["actions"] or seen["crashes"]:
                    self.wrong.append(f"server {server.uuid} was not stopped for its restore: {seen}")
        for path in (self.node.wings_folder / "volumes").rglob(".holdfast-*"):
            self.wrong.append(f"left behind: {path}")
        stuck = [one["uuid"] for one in self.state["servers"].values() if one["status"]]
        self.wrong += [f"server {uuid} is restoring for ever" for uuid in stuck]
        self.done.append("no server is restoring, and each restored one has the files of its backup")

    def check_wings(self):
        """Wings made only what it must make."""
        made = [call["body"] for call in self.node.wings("GET", "/stand-in/calls")
                if call["method"] == "POST" and call["path"].endswith("/backup")]
        by_wings = [body["uuid"] for body in made if body["adapter"] == "wings"]
        if sorted(by_wings) != sorted(one.old for one in self.life.servers[:3]):
            self.wrong.append(f"Wings was asked to make backups of Holdfast: {by_wings}")
        in_bucket = [body["uuid"] for body in made if body["adapter"] == "s3"]
        if self.life.bucket_backup not in in_bucket:
            self.wrong.append("Wings was not asked to make the backup in the panel's bucket")

    def check_deleted(self):
        """Only the archives of backups that exist are on the disk."""
        wanted = {backup for server in self.life.servers for backup, files in server.backups.items() if files is not None}
        # A create request whose answer was lost: the panel has no such backup, and Holdfast keeps it and says so.
        orphans = {one for one, own in self.own.items() if one not in self.state["backups"] and own["state"] == "completed"}
        deleted = {backup for server in self.life.servers for backup in server.deleted}
        orphans -= deleted
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            found = {match[1] for path in (self.node.work / "data" / "backups").rglob("*")
                     if (match := re.fullmatch(r"([0-9a-f-]{36})(\.\d+)?\.tar\.gz", path.name))}
            if found == wanted | orphans or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        self.wrong += [f"the archive of {backup} is missing" for backup in wanted - found]
        self.wrong += [f"the archive of {backup} is left" for backup in found - wanted - orphans]
        for backup in deleted:
            if backup in self.state["backups"]:
                self.wrong.append(f"the panel still has the deleted backup {backup}")
        self.done.append(f"{len(deleted)} archives of deleted backups are gone, {len(found)} are there; "
                         f"{len(orphans)} of them are unknown to the panel, whose request was cut off")

    def check_logs(self):
        """No log has a panic, or the node's secret."""
        token = json.loads((self.node.work / "key.json").read_text())["token"]
        for path in sorted((self.node.work / "logs").glob("*.log")):
            text = path.read_text(errors="replace")
            if "panicked" in text:
                self.wrong.append(f"{path.name} contains a panic")
            if token in text:
                self.wrong.append(f"{path.name} contains the node's token")


def files_of(archive):
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return {str(pathlib.PurePath(member.name)): hashlib.sha256(tar.extractfile(member).read()).hexdigest()
                for member in tar if member.isfile()}
