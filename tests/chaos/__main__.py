"""Injects random faults and checks that nothing is stuck, lost, orphaned or damaged. See scripts/chaos."""

import argparse
import collections
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

from actor import Actor
from audit import Audit
from faults import Faults
from schedules import Schedules
from world import World


def main():
    options = arguments()
    work = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-chaos.", dir="/tmp"))
    work.chmod(0o711)  # PostgreSQL runs as another user, who must be able to enter the folder
    print(f"seed {options.seed}: {options.faults} faults in {options.seconds} s on {options.servers} servers, in {work}")
    world = World(options, work)
    good = False
    try:
        good = run(world, options)
    finally:
        world.clear()
        if good and not options.keep:
            world.unmount()
            shutil.rmtree(work)
        else:
            keep(world)
    sys.exit(0 if good else 1)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long faults come (60)")
    parser.add_argument("--faults", type=int, default=30, help="how many come in that time (30)")
    parser.add_argument("--servers", type=int, default=5, help="how many servers are backed up (5)")
    parser.add_argument("--schedules", type=int, default=5, help="how many further servers have a schedule that is due each "
                        "minute (5)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="what is random follows from it")
    parser.add_argument("--keep", action="store_true", help="keep logs and files of a good run too")
    parser.add_argument("--binary", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--with-postgres", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--s3-server", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--psql", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def run(world, options):
    world.start()
    rng = random.Random(f"{options.seed}/servers")
    actors = [Actor(world, *server, random.Random(f"{options.seed}/{number}"))
              for number, server in enumerate(world.make_servers(options.servers, rng))]
    if not world.psql:
        print("skipped: schedules, since there is no psql here")
    schedules = Schedules(world, options.schedules if world.psql else 0, random.Random(f"{options.seed}/schedules"))
    schedules.create()
    for actor in actors:
        if not actor.stream.is_ready.wait(30):
            raise RuntimeError("an event stream does not start")
    until = time.monotonic() + options.seconds
    threads = [threading.Thread(target=guarded, args=(world, actor, until)) for actor in actors]
    for thread in threads:
        thread.start()
    faults = Faults(world, random.Random(f"{options.seed}/faults"))
    try:
        faults.run(options.faults, options.seconds)
    finally:
        world.log_event("healed")
        world.healed.set()
    for thread in threads:
        thread.join()
    schedules.check()
    audit = Audit(world, actors, schedules)
    audit.run()
    world.stop()
    lines = audit.read_logs()
    return report(world, faults, actors, schedules, audit, lines)


def guarded(world, actor, until):
    """A crash of an actor must fail the run; it must not look like a success."""
    try:
        actor.run(until)
    except Exception as error:
        world.record_defect(f"the actor of server {actor.server} failed: {error!r}")
        raise


def report(world, faults, actors, schedules, audit, lines):
    done = collections.Counter()
    for actor in actors:
        done.update(actor.counts)
    total = sum(count for kind, count in faults.counts.items() if not kind.endswith("(failed)"))
    print(f"\n{total} faults:")
    for kind, count in sorted(faults.counts.items()):
        print(f"  {count:4} {kind}")
    print(f"\nthe bucket: {world.bucket_kind}; "
          f"{'and an emulator of Google Cloud Storage' if world.google else 'none of Google (scripts/with-gcs)'}")
    print(f"done: {', '.join(f'{count} {what}' for what, count in sorted(done.items()))}")
    reuse = world.reuse
    print(f"reuse: {reuse['reused']} of {reuse['completed']} backups reused an earlier archive, {reuse['unread']} of them "
          f"took over more than they read; {reuse['reused bytes'] / 1e6:.0f} MB taken over, {reuse['read bytes'] / 1e6:.0f} MB read")
    for line in schedules.lines:
        print(f"schedules: {line}")
    print(f"logged: {', '.join(f'{count} {level}' for level, count in sorted(lines.items()))}")
    print(f"slowest stop of a process: {world.slowest_stop:.2f} s; "
          f"what ran at the end had ended after {audit.settled:.1f} s")
    print(f"{audit.events} events reached the webhook and the streams")
    print(f"{audit.verified} archives downloaded, verified and unpacked to the expected contents\n")
    findings = [("stuck", audit.stuck + schedules.stuck), ("lost", audit.lost), ("scheduled wrongly", schedules.wrong), ("orphaned", audit.orphaned),
                ("harmed", audit.harmed), ("not reused", not_reused(world)), ("wrong otherwise", world.our_faults)]
    for name, found in findings:
        for text in found[:20]:
            print(f"{name}: {text}")
    print(", ".join(f"{len(found)} {name}" for name, found in findings))
    return not any(found for _, found in findings)


def not_reused(world):
    """Lists what a run did not test because its backups did not reuse earlier ones."""
    if not world.reuse["reused"]:
        return ["no backup reused an earlier archive"]
    if world.reuses_unread and not world.reuse["unread"]:
        return ["each backup read more than it took over"]
    return []


def keep(world):
    print(f"kept: {world.work} (events.log: all events; logs/: the logs of each process)")
    if world.mounts:
        print(f"mounted there: {' '.join(map(str, world.mounts))}")


main()
