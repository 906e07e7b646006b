"""All processes: a private PostgreSQL, an S3 server, two nodes with their APIs and workers, and the network between
them. They listen on loopback and end with this program."""

import collections
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

from bucket import Bucket, GoogleBucket
from listeners import Receiver
from proxy import Proxy
import tree

NODES = ["one", "two"]
# The file systems of the local disks.
LOCAL_DISKS = {"one": "xfs", "two": "ext4"}
LEASE_SECONDS = 5
# The longest time for a process to stop: 8 s for its jobs, and some for closing its database
# connections.
STOP_SECONDS = 14
SECRET = "a-secret-that-shows-nowhere"
SIGNING_KEY = "chaos-signing-key-that-shows-nowhere-0123456789"
AGE_IDENTITY = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
# Stops a server, says whether it runs, or sends a line to its console. A server is a file, and so is a console. With
# `broken`, every command fails.
POWER = """#!/bin/sh
cd "$(dirname "$0")"
[ ! -e broken ] || { echo "told to fail" >&2; exit 7; }
case $1 in
    stop) rm -f "running/$2" ;;
    running) [ -e "running/$2" ] || exit 1 ;;
    console) echo "$3" >>"console/$2" ;;
esac
"""

# The file systems on which the times of a file tell of its changes, as `stat` names them.
TRUSTED = ["ext2/ext3", "xfs", "btrfs", "zfs", "f2fs"]
# How far the clock of the workers is ahead: files that changed in the last minute are always read.
AHEAD_SECONDS = 90

# The exit code of a Rust program that panics.
PANIC = 101


class Process:
    """One process of the service. It is restarted whenever it ends, like under systemd."""

    def __init__(self, world, name, arguments, settings, environment={}):
        self.world, self.name, self.arguments = world, name, arguments
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("HOLDFAST")}
        self.environment.update(variables(settings))
        self.environment.update(environment)
        self.log = world.work / "logs" / f"{name}.log"
        self.child = None
        self.began = 0.0
        self.expected = False  # whether it was asked to stop
        self.rest_until = 0.0  # earliest time of the next start

    def start(self):
        with open(self.log, "ab") as log:
            self.log_begin = log.tell()
            self.child = subprocess.Popen(
                [self.world.binary, *self.arguments], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.world.pids.append(self.child.pid)
        self.began = time.monotonic()
        self.expected = False

    def signal(self, number):
        if self.child and self.child.poll() is None:
            self.child.send_signal(number)

    def kill(self, rest=0.0):
        self.rest_until = time.monotonic() + rest
        self.expected = True
        self.signal(signal.SIGKILL)
        if self.child:
            self.child.wait()  # otherwise the next fault may still find it

    def stop(self, rest=0.0):
        """Asks it to stop and returns its exit code, or None if it does not stop."""
        self.rest_until = time.monotonic() + STOP_SECONDS + 60
        self.expected = True
        if self.child.poll() is not None:
            self.rest_until = 0
            return None  # it does not run
        self.signal(signal.SIGTERM)
        begun = time.monotonic()
        try:
            code = self.child.wait(STOP_SECONDS)
            took = time.monotonic() - begun
            self.world.log_event("stopped", process=self.name, code=code, seconds=round(took, 2))
            self.world.slowest_stop = max(self.world.slowest_stop, took)
        except subprocess.TimeoutExpired:
            code = None
            self.world.record_defect(f"{self.name} did not end within {STOP_SECONDS} s of SIGTERM")
            self.signal(signal.SIGABRT)
            self.child.wait()
        if code not in (0, None) and time.monotonic() - self.began > 5:
            self.world.record_defect(f"{self.name} ended with {code} when it was asked to stop")
        self.rest_until = time.monotonic() + rest
        return code

    def has_started(self):
        """Returns whether the latest process has said that it runs."""
        with open(self.log, "rb") as log:
            log.seek(self.log_begin)
            text = log.read()
        return b"the worker is ready" in text or b" answers at http" in text

    def restart_ended(self):
        if self.child is None or self.child.poll() is None:
            return
        lasted = time.monotonic() - self.began
        if not self.expected:
            self.expected = True
            self.world.log_event("ended", process=self.name, code=self.child.returncode, seconds=round(lasted, 1))
            # A process that cannot start without the database says so and exits; a running process
            # continues.
            if self.has_started() or self.child.returncode < 0 or self.child.returncode == PANIC:
                self.world.record_defect(f"{self.name} ended by itself with {self.child.returncode}")
            self.rest_until = time.monotonic() + 0.5
        if time.monotonic() >= self.rest_until:
            self.start()


class Postgres:
    """The private cluster of `with-postgres`, reached through a proxy."""

    def __init__(self, world):
        self.world, self.folder = world, world.work / "postgres"
        self.proxy = Proxy(str(self.folder / ".s.PGSQL.5432"), f"{world.seed}/postgres")
        self.url = f"postgres://postgres@127.0.0.1:{self.proxy.port}/postgres?sslmode=disable"
        self.child = None

    def start(self):
        with open(self.world.work / "logs" / "postgres.log", "ab") as log:
            self.child = subprocess.Popen(
                [self.world.with_postgres, self.folder, "--durable", "--", "sh", "-c", "echo up; exec cat"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )
        if self.child.stdout.readline() != b"up\n":
            raise RuntimeError("Postgres does not start: see logs/postgres.log")

    def stop(self):
        """Stops it fast: sessions end, and everything is written."""
        self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()

    def crash(self):
        """Stops it at once: it must recover at its next start."""
        os.kill(self.postmaster(), signal.SIGQUIT)
        self.stop()

    def postmaster(self):
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    def processes(self):
        """Returns the postmaster and its children."""
        found = [self.postmaster()]
        for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(status.read_text().rsplit(")", 1)[1].split()[1]) == found[0]:
                    found.append(int(status.parent.name))
            except (OSError, IndexError):
                pass
        return found

    def query(self, statement):
        command = [self.world.psql, "-qAtX", "-h", self.folder, "-U", "postgres", "-d", "postgres", "-c", statement]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


class World:
    def __init__(self, options, work):
        self.work, self.seed = work, options.seed
        self.binary, self.with_postgres = options.binary, options.with_postgres
        self.psql = options.psql
        self.slowest_stop = 0.0
        self.reuse = collections.Counter()
        self.pids = []  # of all processes of the service so far
        self.our_faults = []
        self.mounts = []
        self.reuses_unread = False  # whether backups here can reuse files without reading them
        self.lock = threading.Lock()
        self.begun = time.monotonic()
        (work / "logs").mkdir()
        self.events = open(work / "events.log", "w")
        self.processes, self.apis, self.workers = [], {}, []
        self.tokens = []
        self.healed = threading.Event()  # once the last fault is over
        self.ended = threading.Event()
        self.postgres = Postgres(self)
        self.receiver = Receiver(self)
        self.power = work / "power"
        (self.power / "running").mkdir(parents=True)
        (self.power / "console").mkdir()
        (self.power / "power").write_text(POWER)
        (self.power / "power").chmod(0o755)
        self.open_bucket(options)

    def log_event(self, what, **fields):
        """Writes a line to the log of events."""
        with self.lock:
            line = {"at": round(time.monotonic() - self.begun, 2), "what": what, **fields}
            self.events.write(json.dumps(line, default=str) + "\n")
            self.events.flush()

    def record_defect(self, text):
        """Records something that must never happen, whatever the faults."""
        self.log_event("OURS", text=text)
        with self.lock:
            self.our_faults.append(text)

    def count_reuse(self, attributes):
        """Counts what a completed backup took over from an earlier one."""
        with self.lock:
            self.reuse["completed"] += 1
            self.reuse["reused"] += bool(attributes["reused_from"])
            self.reuse["unread"] += attributes["reused_bytes"] > attributes["read_bytes"]
            self.reuse["reused bytes"] += attributes["reused_bytes"]
            self.reuse["read bytes"] += attributes["read_bytes"]

    def open_bucket(self, options):
        """Uses the S3 server of the environment (`scripts/with-ceph`), or starts s3s-fs."""
        outside = {name: os.environ.get(f"HOLDFAST_TEST_S3_{name}") for name in
                   ["ENDPOINT", "BUCKET", "REGION", "ACCESS_KEY", "SECRET_KEY"]}
        self.s3 = None
        if all(outside.values()):
            endpoint, bucket, region, access, secret = outside.values()
            self.bucket_kind = "the server of the environment"
        else:
            (self.work / "bucket" / "backups").mkdir(parents=True)
            bucket, region, access, secret = "backups", "us-east-1", "CHAOSKEY", SECRET
            self.s3 = subprocess.Popen(
                [options.s3_server, self.work / "bucket", access, secret],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(self.work / "logs" / "s3.log", "ab"),
            )
            endpoint = self.s3.stdout.readline().decode().strip()
            self.bucket_kind = "s3s-fs, which can't list unfinished uploads"
        self.bucket = Bucket(endpoint, bucket, region, access, secret)
        host, port = self.bucket.host.split(":")
        self.s3_proxy = Proxy((host, int(port)), f"{self.seed}/s3")
        self.prefix = f"chaos-{os.getpid()}"
        self.secrets = [secret, SIGNING_KEY, AGE_IDENTITY]
        self.open_google()

    def open_google(self):
        """Uses the emulator of the environment (`scripts/with-gcs`), if there is one."""
        endpoint = os.environ.get("HOLDFAST_TEST_GCS_ENDPOINT")
        self.google = None
        if endpoint:
            here = pathlib.Path(__file__).parent
            key_file = here.parent.parent / "crates/storage/src/gcs/tests/key.json"
            self.google = GoogleBucket(endpoint, os.environ["HOLDFAST_TEST_GCS_BUCKET"], key_file, self.work)
            host, port = self.google.host.split(":")
            self.google_proxy = Proxy((host, int(port)), f"{self.seed}/google")

    def google_settings(self):
        if not self.google:
            return {}
        return {
            "storage.disks.google.driver": "gcs",
            "storage.disks.google.endpoint": f"http://127.0.0.1:{self.google_proxy.port}",
            "storage.disks.google.bucket": self.google.name,
            "storage.disks.google.prefix": self.prefix,
            "storage.disks.google.service_account_file": self.google.account_file,
        }

    def start(self):
        self.postgres.start()
        settings = {"database.url": self.postgres.url}
        self.run_once(["migrate", "--data", self.work / "data"], settings)
        for node in NODES:
            port = free_port()
            self.apis[node] = f"127.0.0.1:{port}"
            power = self.power / "power"
            common = {
                **settings,
                "database.max_connections": 6,
                "worker.node": node,
                "worker.lease_seconds": LEASE_SECONDS,
                "worker.read_limit_bytes_per_second": 3_000_000,
                "worker.compression_level": 1,
                "http.listen": f"127.0.0.1:{port}",
                "http.rate_limit_per_minute": 0,
                "http.public_url": f"http://127.0.0.1:{port}",
                "auth.signing_key": SIGNING_KEY,
                "limits.backups_per_server": 8,
                # Sweeps run all the time and remove orphans at once, so that a wrong decision
                # shows.
                "maintenance.interval_seconds": 5,
                "maintenance.sweep_interval_seconds": 10,
                "maintenance.orphan_age_seconds": 0,
                "power.driver": "command",
                "power.stop_command": json.dumps([str(power), "stop", "{server}"]),
                "power.running_command": json.dumps([str(power), "running", "{server}"]),
                "power.console_command": json.dumps([str(power), "console", "{server}", "{command}"]),
                # Archives on XFS share pages.
                "storage.disks.local.root": self.small_disk(self.folder_of("local", node), LOCAL_DISKS[node]),
                "storage.disks.sealed.driver": "local",
                "storage.disks.sealed.root": self.small_disk(self.folder_of("sealed", node)),
                "storage.disks.sealed.encryption": "age",
                "storage.disks.sealed.age_identity": AGE_IDENTITY,
                "storage.disks.offsite.driver": "s3",
                "storage.disks.offsite.endpoint": f"http://127.0.0.1:{self.s3_proxy.port}",
                "storage.disks.offsite.bucket": self.bucket.name,
                "storage.disks.offsite.prefix": self.prefix,
                "storage.disks.offsite.region": self.bucket.region,
                "storage.disks.offsite.access_key_id": self.bucket.access_key,
                "storage.disks.offsite.secret_access_key": self.bucket.secret_key,
                "storage.disks.offsite.part_size_bytes": 5 << 20,
                **self.google_settings(),
            }
            data = self.work / f"data-{node}"
            self.settings = common
            self.add(Process(self, f"api-{node}", ["serve", "--data", data], common))
            for number in range(2):
                worker = Process(self, f"worker-{node}-{number}", ["worker", "--data", data], common, clock_ahead())
                self.add(worker)
                self.workers.append(worker)
        threading.Thread(target=self.restart_ended, daemon=True).start()

    def stored_archive(self, disk, node, server, backup):
        """Returns the path of an archive; `None` if this program cannot reach it."""
        if disk in ("local", "sealed"):
            root = self.folder_of(disk, node)
        elif disk == "offsite" and self.s3:
            root = self.work / "bucket" / self.bucket.name / self.prefix
        else:
            return None
        return next(root.glob(f"{server}/{backup}*.tar.gz"), None)

    def folder_of(self, disk, node):
        """Returns the folder of a local disk on a node."""
        return self.work / f"disk-{disk}-{node}"

    def add(self, process):
        self.processes.append(process)
        process.start()

    def restart_ended(self):
        while not self.ended.is_set():
            for process in self.processes:
                process.restart_ended()
            time.sleep(0.1)

    def small_disk(self, folder, *kinds):
        """Makes a disk that can be filled if this runs as root, otherwise a folder."""
        folder.mkdir()
        if os.geteuid() == 0:
            any(self.mount(folder, kind, 300) for kind in [*kinds, "tmpfs"])
        return folder

    def mount(self, folder, kind, megabytes):
        """Mounts a new file system on a folder, and returns whether that is possible here."""
        source, options = "tmpfs", f"size={megabytes}m"
        if kind != "tmpfs":
            source, options = self.work / f"{folder.name}.image", "loop"
            with open(source, "wb") as image:
                image.truncate(megabytes << 20)
            make = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q"]}[kind]
            if not succeeds([*make, source]):
                return False
        if not succeeds(["mount", "-t", kind, "-o", options, source, folder]):
            return False
        self.mounts.append(folder)
        if (folder / "lost+found").exists():
            (folder / "lost+found").rmdir()
        return True

    def make_servers_folder(self):
        """Makes the folder of the servers. Unchanged files are reused without reading only on some file systems."""
        folder = self.work / "servers"
        folder.mkdir()
        kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True).stdout.strip()
        is_trusted = kind in TRUSTED or (os.geteuid() == 0 and self.mount(folder, "ext4", 4000))
        if not is_trusted:
            print(f"skipped: reuse without reading, since the servers are on {kind}")
        if not clock_ahead():
            print("skipped: reuse without reading, since libfaketime is not installed")
        self.reuses_unread = is_trusted and bool(clock_ahead())

    def run_once(self, arguments, settings):
        """Runs a command of `holdfast` and returns its output."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HOLDFAST")}
        environment.update(variables(settings))
        done = subprocess.run([self.binary, *arguments], env=environment, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"holdfast {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout

    def admin(self, *arguments):
        return json.loads(self.run_once(["admin", "--json", "--data", self.work / "data", *arguments], self.settings))

    def make_servers(self, count, rng):
        """Registers servers on both nodes and all disks, one whose directory is a mount point, and a webhook."""
        self.make_servers_folder()
        self.receiver.secret = self.admin("webhook", "create", "--url", self.receiver.url)["secret"]
        self.secrets.append(self.receiver.secret)
        self.admin("user", "create", "--email", "owner@example.com")
        token = self.admin("key", "create", "--user", "owner@example.com")["token"]
        self.tokens.append(token)
        self.secrets.append(token)
        servers = []
        disks = ["offsite", "local", "sealed", *(["google"] if self.google else [])]
        for number in range(count):
            # Each disk gets servers of both nodes.
            node, disk = NODES[(number + number // len(disks)) % 2], disks[number % len(disks)]
            directory = self.work / "servers" / f"s{number}"
            directory.mkdir(parents=True)
            if number == 1 and os.geteuid() == 0:
                # A restore exchanges its children one by one, since a mount point cannot be
                # renamed.
                self.mount(directory, "tmpfs", 100)
            megabytes = 12 if disk == "offsite" and number == 0 else 5
            tree.change(directory, rng, megabytes)
            made = self.admin("server", "create", "--owner", "owner@example.com", "--name", f"S{number}",
                              "--dir", directory, "--node", node, "--disk", disk)
            servers.append((made["uuid"], directory, disk, node, megabytes))
        return servers

    def make_scheduled_servers(self, count):
        """Registers small servers on both nodes, on a local disk and in the bucket."""
        servers = []
        for number in range(count):
            node, disk = NODES[number % 2], "offsite" if number % 10 == 0 else "local"
            directory = self.work / "servers" / f"scheduled{number}"
            directory.mkdir(parents=True)
            (directory / "level.dat").write_bytes(os.urandom(4096))
            (directory / "region").write_bytes(os.urandom(400_000))
            made = self.admin("server", "create", "--owner", "owner@example.com", "--name", f"Scheduled {number}",
                              "--dir", directory, "--node", node, "--disk", disk)
            (self.power / "running" / made["uuid"]).touch()
            servers.append((made["uuid"], directory, disk, node))
        return servers

    def stop(self):
        """Stops everything cleanly, the service first."""
        self.ended.set()
        for process in self.processes:
            process.signal(signal.SIGCONT)
            process.stop()

    def clear(self):
        """Kills everything that still runs."""
        self.ended.set()
        for process in self.processes:
            process.signal(signal.SIGKILL)
            if process.child:
                process.child.wait()
        for pid in self.pids:
            # What libfaketime shares with the children of a process. A killed one leaves it behind.
            for name in ["faketime_shm_", "sem.faketime_sem_"]:
                pathlib.Path(f"/dev/shm/{name}{pid}").unlink(missing_ok=True)
        if self.postgres.child and self.postgres.child.poll() is None:
            for pid in self.postgres.processes():
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass  # it has ended
            self.postgres.stop()
        if self.s3:
            self.s3.stdin.close()
            self.s3.wait()

    def unmount(self):
        for folder in reversed(self.mounts):
            subprocess.run(["umount", folder], check=False)


def succeeds(command):
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def clock_ahead():
    """Returns the environment of a process whose clock is ahead; an empty one without libfaketime."""
    library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        return {}
    # The kernel's monotonic clock, and the times of files, stay as they are.
    return {"LD_PRELOAD": str(library), "FAKETIME": f"+{AHEAD_SECONDS}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1"}


def variables(settings):
    return {f"HOLDFAST__{key.upper().replace('.', '__')}": str(value) for key, value in settings.items()}


def free_port():
    import socket
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
