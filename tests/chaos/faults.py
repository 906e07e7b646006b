"""The faults: they start at random, and several run at once if they affect different things."""

import os
import pathlib
import resource
import signal
import threading
import time

from world import LEASE_SECONDS


class Faults:
    def __init__(self, world, rng):
        self.world, self.rng = world, rng
        self.held = set()  # resources that a running fault uses
        self.lock = threading.Lock()
        self.counts = {}
        self.threads = []
        # Name, the resources that it needs exclusively, and its weight.
        self.kinds = [
            (self.kill_worker, "worker", 5), (self.stop_worker, "worker", 4), (self.pause_worker, "worker", 3),
            (self.pause_worker_beyond_its_lease, "worker", 3), (self.pause_and_kill_worker, "worker", 2),
            (self.kill_api, "api", 3), (self.stop_api, "api", 2), (self.pause_api, "api", 2),
            (self.crash_postgres, "postgres", 2), (self.restart_postgres, "postgres", 1),
            (self.take_postgres_away, "postgres", 2), (self.cut_postgres, "postgres", 3),
            (self.slow_postgres, "postgres", 1), (self.lose_postgres, "postgres", 1),
            (self.freeze_postgres, "postgres", 1), (self.read_only_postgres, "postgres", 2),
            (self.end_sessions, "postgres", 2),
            (self.cut_bucket, "bucket", 3), (self.take_bucket_away, "bucket", 2), (self.slow_bucket, "bucket", 2),
            (self.busy_bucket, "bucket", 3), (self.fragile_bucket, "bucket", 2), (self.lose_bucket, "bucket", 1),
        ]
        self.kinds += [
            (self.starve_worker_of_descriptors, "worker", 2), (self.starve_api_of_descriptors, "api", 2),
            (self.starve_worker_of_memory, "worker", 1), (self.break_power, "power", 2),
            (self.fail_receiver, "receiver", 2), (self.hang_receiver, "receiver", 1),
            (self.forgetful_receiver, "receiver", 1),
        ]
        if world.google:
            self.kinds += [(self.cut_google, "google", 2), (self.take_google_away, "google", 1),
                           (self.busy_google, "google", 2), (self.fragile_google, "google", 2)]
        if world.mounts:
            self.kinds.append((self.fill_disk, "disk", 3))
        if not world.psql:
            self.kinds = [kind for kind in self.kinds if kind[0] not in (self.read_only_postgres, self.end_sessions)]

    def run(self, count, seconds):
        """Starts `count` faults, spread over `seconds`."""
        begun = time.monotonic()
        for number in range(count):
            wait = begun + seconds * number / count - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self.begin()
        for thread in self.threads:
            thread.join()

    def begin(self):
        while True:
            kind, need, _ = self.rng.choices(self.kinds, [weight for _, _, weight in self.kinds])[0]
            target = self.choose(need)
            with self.lock:
                if target.name in self.held:
                    free = False
                else:
                    self.held.add(target.name)
                    free = True
            if free:
                break
            time.sleep(0.05)
        name = kind.__name__.replace("_", " ")
        self.counts[name] = self.counts.get(name, 0) + 1
        self.world.log_event("fault", kind=name, target=target.name)
        rng = type(self.rng)(self.rng.random())

        def suffer():
            try:
                kind(target, rng)
            except Exception as error:  # a failure to inject a fault is not a failure of the service
                self.world.log_event("fault failed", kind=name, error=repr(error))
                self.counts[f"{name} (failed)"] = self.counts.get(f"{name} (failed)", 0) + 1
            finally:
                self.world.log_event("fault over", kind=name, target=target.name)
                with self.lock:
                    self.held.discard(target.name)

        thread = threading.Thread(target=suffer)
        thread.start()
        self.threads.append(thread)

    def choose(self, need):
        if need == "worker":
            return self.rng.choice(self.world.workers)
        if need == "api":
            return self.rng.choice([one for one in self.world.processes if one not in self.world.workers])
        if need == "disk":
            return Target(self.rng.choice([folder for folder in self.world.mounts if folder.name.startswith("disk-")]))
        return Target(need)

    # Processes.

    def kill_worker(self, worker, rng):
        worker.kill(rest=rng.choice([0, 0, rng.uniform(0, 3)]))

    def stop_worker(self, worker, rng):
        worker.stop(rest=rng.uniform(0, 1))

    def pause(self, process, seconds):
        process.signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.signal(signal.SIGCONT)

    def pause_worker(self, worker, rng):
        self.pause(worker, rng.uniform(0.2, LEASE_SECONDS * 0.8))

    def pause_worker_beyond_its_lease(self, worker, rng):
        self.pause(worker, LEASE_SECONDS + 4 + rng.uniform(0, 4))

    def pause_and_kill_worker(self, worker, rng):
        worker.signal(signal.SIGSTOP)
        time.sleep(LEASE_SECONDS + rng.uniform(0, 5))
        worker.signal(signal.SIGCONT)
        time.sleep(rng.uniform(0, 0.3))
        worker.kill()

    def kill_api(self, api, rng):
        api.kill(rest=rng.uniform(0, 2))

    def stop_api(self, api, rng):
        api.stop(rest=rng.uniform(0, 1))

    def pause_api(self, api, rng):
        self.pause(api, rng.uniform(0.2, 5))

    def starve_of_descriptors(self, process, seconds):
        """No more files and connections can be opened."""
        pid = process.child.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(used, hard), hard))
        time.sleep(seconds)
        if process.child.pid == pid and process.child.poll() is None:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))

    def starve_worker_of_descriptors(self, worker, rng):
        self.starve_of_descriptors(worker, rng.uniform(1, 8))

    def starve_api_of_descriptors(self, api, rng):
        self.starve_of_descriptors(api, rng.uniform(1, 5))

    def starve_worker_of_memory(self, worker, rng):
        """No more memory can be allocated. A process that can't continue then may end."""
        pid = worker.child.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_AS)
        pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[0])
        worker.expected = True
        resource.prlimit(pid, resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + (4 << 20), hard))
        time.sleep(rng.uniform(1, 5))
        if worker.child.pid == pid and worker.child.poll() is None:
            resource.prlimit(pid, resource.RLIMIT_AS, (soft, hard))
            worker.expected = False

    # What the service calls.

    def break_power(self, _, rng):
        broken = self.world.power / "broken"
        broken.touch()
        time.sleep(rng.uniform(1, 6))
        broken.unlink()

    def change_receiver(self, mode, seconds):
        self.world.receiver.mode = mode
        time.sleep(seconds)
        self.world.receiver.mode = "accept"

    def fail_receiver(self, _, rng):
        self.change_receiver("fail", rng.uniform(1, 6))

    def hang_receiver(self, _, rng):
        self.change_receiver("hang", rng.uniform(1, 6))

    def forgetful_receiver(self, _, rng):
        self.change_receiver("forget", rng.uniform(1, 4))

    # The database.

    def crash_postgres(self, _, rng):
        postgres = self.world.postgres
        postgres.crash()
        time.sleep(rng.uniform(0, 2))
        postgres.start()

    def restart_postgres(self, _, rng):
        self.world.postgres.stop()
        self.world.postgres.start()

    def take_postgres_away(self, _, rng):
        self.world.postgres.stop()
        time.sleep(rng.uniform(2, 9))
        self.world.postgres.start()

    def cut_postgres(self, _, rng):
        self.world.postgres.proxy.cut()

    def slow_postgres(self, _, rng):
        self.for_a_while(self.world.postgres.proxy, "late", rng.uniform(1, 4))

    def lose_postgres(self, _, rng):
        self.for_a_while(self.world.postgres.proxy, "lose", rng.uniform(1, 8))

    def freeze_postgres(self, _, rng):
        frozen = self.world.postgres.processes()
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(rng.uniform(1, LEASE_SECONDS + 3))
        for pid in self.world.postgres.processes() + frozen:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass

    def read_only_postgres(self, _, rng):
        query = self.world.postgres.query
        try:
            query("ALTER SYSTEM SET default_transaction_read_only = on")
            query("SELECT pg_reload_conf()")
            time.sleep(rng.uniform(1, LEASE_SECONDS + 2))
        finally:
            query("ALTER SYSTEM RESET default_transaction_read_only")
            query("SELECT pg_reload_conf()")

    def end_sessions(self, _, rng):
        self.world.postgres.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast'")

    # The bucket.

    def for_a_while(self, proxy, mode, seconds):
        proxy.set(mode)
        time.sleep(seconds)
        proxy.heal()

    def cut_bucket(self, _, rng):
        self.world.s3_proxy.cut()

    def take_bucket_away(self, _, rng):
        self.for_a_while(self.world.s3_proxy, "refuse", rng.uniform(1, 10))

    def slow_bucket(self, _, rng):
        self.for_a_while(self.world.s3_proxy, "late", rng.uniform(1, 5))

    def busy_bucket(self, _, rng):
        self.for_a_while(self.world.s3_proxy, "busy", rng.uniform(0.5, 6))

    def fragile_bucket(self, _, rng):
        self.for_a_while(self.world.s3_proxy, "fragile", rng.uniform(1, 6))

    def lose_bucket(self, _, rng):
        self.for_a_while(self.world.s3_proxy, "lose", rng.uniform(1, 8))

    def cut_google(self, _, rng):
        self.world.google_proxy.cut()

    def take_google_away(self, _, rng):
        self.for_a_while(self.world.google_proxy, "refuse", rng.uniform(1, 10))

    def busy_google(self, _, rng):
        self.for_a_while(self.world.google_proxy, "busy", rng.uniform(0.5, 6))

    def fragile_google(self, _, rng):
        self.for_a_while(self.world.google_proxy, "fragile", rng.uniform(1, 6))

    # The disk.

    def fill_disk(self, target, rng):
        ballast = target.folder / ".ballast"
        try:
            with open(ballast, "wb", buffering=0) as file:
                for size in [64 << 20, 1 << 20, 4096]:
                    try:
                        while True:
                            os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
                    except OSError:
                        pass
            time.sleep(rng.uniform(1, 5))
        finally:
            ballast.unlink(missing_ok=True)


class Target:
    """A resource that only one fault at a time may use: the database, the bucket, a disk."""

    def __init__(self, what):
        self.folder = what
        self.name = str(what)
