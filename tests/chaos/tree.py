"""Random contents of a server's directory, as a dictionary that can be compared."""

import hashlib
import os
import stat

# How many large files a server has.
REGIONS = 6


def read(root):
    """Returns for each path below `root` everything that a backup must preserve."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_ISLNK(status.st_mode):
                about = ("link", os.readlink(path))
            elif stat.S_ISDIR(status.st_mode):
                about = ("folder", mode)
            else:
                with open(path, "rb") as file:
                    about = ("file", mode, status.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest())
            found[os.path.relpath(path, root)] = about
    return found


def change(root, rng, megabytes):
    """Changes a directory like a game server: writes, rewrites and removes files."""
    folders = [f"d{n}" for n in range(3)] + [f"d{n}/e{m}" for n in range(2) for m in range(2)]
    for folder in folders:
        os.makedirs(os.path.join(root, folder), exist_ok=True)
    for _ in range(rng.randrange(5, 25)):
        place = os.path.join(root, rng.choice(folders), f"f{rng.randrange(12)}")
        kind = rng.random()
        if kind < 0.15 and os.path.lexists(place):
            os.remove(place)
        elif kind < 0.2 and os.path.lexists(place):
            os.rename(place, os.path.join(root, rng.choice(folders), f"f{rng.randrange(12)}"))
        elif kind < 0.3:
            link = place.replace("/f", "/l")
            if not os.path.lexists(link):
                os.symlink(rng.choice(["f1", "../d0/f2", "/nowhere"]), link)
        else:
            suffix = rng.choice(["", "", ".log"])
            with open(place + suffix, "wb") as file:
                file.write(rng.randbytes(rng.choice([0, 10, 4_000, 100_000])))
            os.chmod(place + suffix, rng.choice([0o644, 0o600, 0o755]))
    for number in range(REGIONS):
        change_region(os.path.join(root, "d0", f"region{number}"), rng, int(megabytes * 1_000_000 / REGIONS))


def change_region(path, rng, size):
    """Changes a large file, or leaves it as it is. The large files are most of the archive, so that a backup takes some
    time, and the next one has much to reuse."""
    if not os.path.exists(path):
        with open(path, "wb") as file:
            file.write(rng.randbytes(int(size * rng.uniform(0.5, 1.0))))
        return
    kind = rng.random()
    if kind < 0.75:
        return
    before = os.stat(path)
    with open(path, "r+b") as file:
        if kind < 0.8:
            file.truncate(int(size * rng.uniform(0.3, 1.0)))
        elif kind < 0.85:
            file.seek(0, os.SEEK_END)
            file.write(rng.randbytes(50_000))
        else:
            file.seek(rng.randrange(max(before.st_size - 9_000, 1)))
            file.write(rng.randbytes(8_000))
    if kind > 0.92:
        # Only the status change time tells of it.
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def without_logs(tree):
    """Returns a tree without `*.log`."""
    return {path: about for path, about in tree.items() if not path.endswith(".log")}


def over(target, tree):
    """Returns the result of restoring `target` over `tree` without `truncate`."""
    return {**tree, **target}


def difference(expected, found):
    """Describes the difference of two trees in a few lines."""
    lines = []
    for path in sorted(expected.keys() | found.keys()):
        if expected.get(path) != found.get(path):
            lines.append(f"{path}: expected {expected.get(path)}, found {found.get(path)}")
    return f"{len(lines)} differ: " + "; ".join(lines[:5])
