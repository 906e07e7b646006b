"""Runs the whole life of Holdfast beside a panel, with faults. See scripts/beside-a-panel."""

import argparse
import pathlib
import random
import shutil
import sys
import tempfile
import time

from audit import Audit
from life import Life
from node import Node


def main():
    options = arguments()
    work = pathlib.Path(tempfile.mkdtemp(prefix="holdfast-panel.", dir="/tmp"))
    work.chmod(0o711)  # PostgreSQL and nginx run as other users, who must be able to enter the folder
    kind = "Pelican" if options.pelican else "Pterodactyl"
    print(f"seed {options.seed}: {options.servers} servers of {kind}, {options.kills} kills, the panel away for "
          f"{options.outage} s, in {work}")
    begun = time.monotonic()
    node = Node(options, work)
    good = False
    try:
        good = run(node, options)
    finally:
        node.stop()
        if good and not options.keep:
            shutil.rmtree(work)
        else:
            print(f"kept: {work} (logs/: the logs of each process)")
    print(f"{'good' if good else 'NOT GOOD'}, after {time.monotonic() - begun:.0f} s")
    sys.exit(0 if good else 1)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/beside-a-panel", description=__doc__)
    parser.add_argument("--servers", type=int, default=50, help="how many servers the panel has, at least 6 (50)")
    parser.add_argument("--outage", type=float, default=60, help="how long the panel is away, in seconds (60)")
    parser.add_argument("--kills", type=int, default=20, help="how often the worker or the API is killed (20)")
    parser.add_argument("--pelican", action="store_true", help="stand-ins for Pelican instead of Pterodactyl")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="what is random follows from it")
    parser.add_argument("--keep", action="store_true", help="keep logs and files of a good run too")
    for name in ["--binary", "--with-postgres", "--stand-in"]:
        parser.add_argument(name, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--psql", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.servers < 6:
        parser.error("--servers must be at least 6")
    return options


def run(node, options):
    life = Life(node, options, random.Random(options.seed))
    node.start_panel_and_wings()
    life.before_holdfast()
    node.start_holdfast()
    life.with_holdfast()
    audit = Audit(node, life)
    audit.run()
    for line in life.done + audit.done:
        print(f"  {line}")
    for text in life.wrong + audit.wrong:
        print(f"deviation: {text}")
    print(f"{len(life.wrong) + len(audit.wrong)} deviations")
    return not life.wrong and not audit.wrong


main()
