"""The process tools of the example workflows: JSON on standard input, JSON on standard output.

`tools.py NAME` runs the tool NAME. What goes wrong ends the program with a sentence on standard error, which becomes the
error of the step.
"""

import collections
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile


def list_files(folder, suffix="", same_size=False):
    """All files below a folder, in order, with their sizes; with same_size only those that share theirs with another one."""
    found = []
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted(names):
            path = os.path.join(directory, name)
            if name.endswith(suffix) and os.path.isfile(path) and not os.path.islink(path):
                found.append({"path": path, "bytes": os.path.getsize(path)})
    if same_size:
        sizes = collections.Counter(file["bytes"] for file in found)
        found = [file for file in found if sizes[file["bytes"]] > 1]
    largest = max(found, key=lambda file: file["bytes"], default=None)
    return {"folder": folder, "files": found, "bytes": sum(file["bytes"] for file in found), "largest": largest}


def hash_file(path):
    """SHA-256 and length of a file."""
    digest, length = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            length += len(piece)
    return {"path": path, "bytes": length, "sha256": digest.hexdigest()}


def find_duplicates(files):
    """Groups of files with the same content, and what they waste."""
    groups = collections.defaultdict(list)
    for file in files:
        groups[file["sha256"]].append(file)
    same = [group for group in groups.values() if len(group) > 1]
    return {
        "files": len(files),
        "groups": [{"bytes": group[0]["bytes"], "paths": [file["path"] for file in group]} for group in same],
        "wasted_bytes": sum(group[0]["bytes"] * (len(group) - 1) for group in same),
    }


def count_words(path, sha256=""):
    """How often each word is in a text file; its sha256 only tells one content from another."""
    with open(path, encoding="utf-8", errors="replace") as file:
        words = re.findall(r"[a-z']+", file.read().lower())
    return {"path": path, "words": len(words), "counts": dict(collections.Counter(words).most_common(200))}


def merge_counts(parts, top=10):
    """The most frequent words of several counts together."""
    total = collections.Counter()
    for part in parts:
        total.update(part["counts"])
    best = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:top]
    return {"parts": len(parts), "words": sum(part["words"] for part in parts), "counts": dict(best)}


def git(*arguments, repository=None):
    """Runs git, and gives what it says."""
    where = ["-C", repository] if repository else []
    # The repository may belong to somebody else than the tool runs as.
    command = ["git", "-c", "safe.directory=*", *where, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def git_clone(url, into):
    """A copy of a repository; one that is there already is brought up to date."""
    if os.path.isdir(os.path.join(into, ".git")):
        git("fetch", "--quiet", "--tags", "origin", repository=into)
    else:
        git("clone", "--quiet", url, into)
    return {"repository": into, "head": git("rev-parse", "HEAD", repository=into)}


def git_branch(repository, branch, start="HEAD"):
    """Makes a branch; one of that name at the same commit is kept."""
    commit = git("rev-parse", start, repository=repository)
    known = git("branch", "--list", "--format=%(objectname)", branch, repository=repository)
    if not known:
        git("branch", branch, commit, repository=repository)
    elif known != commit:
        sys.exit(f"branch {branch} is at {known}, not at {commit}")
    return {"branch": branch, "commit": commit}


def git_branch_delete(repository, branch):
    """Removes a branch; one that is not there is no error."""
    if git("branch", "--list", branch, repository=repository):
        git("branch", "--quiet", "-D", branch, repository=repository)
    return {"branch": branch, "removed": True}


def git_tag(repository, tag, commit):
    """Makes a tag."""
    git("tag", tag, commit, repository=repository)
    return {"tag": tag, "commit": commit}


def git_tag_delete(repository, tag):
    """Removes a tag; one that is not there is no error."""
    if git("tag", "--list", tag, repository=repository):
        git("tag", "-d", tag, repository=repository)
    return {"tag": tag, "removed": True}


def git_check(repository, commit, required):
    """Fails unless the commit has all files that a release must have."""
    files = set(git("ls-tree", "-r", "--name-only", commit, repository=repository).splitlines())
    missing = [name for name in required if name not in files]
    if missing:
        sys.exit(f"commit {commit[:12]} lacks {', '.join(missing)}")
    return {"commit": commit, "files": len(files)}


def archive(folder, into, name):
    """A compressed archive of a folder."""
    os.makedirs(into, exist_ok=True)
    path = os.path.join(into, f"{name}.tar.gz")
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, arcname=os.path.basename(os.path.abspath(folder)))
    return hash_file(path)


def check_archive(path, sha256):
    """Reads an archive back: it must be the one that was written, and whole."""
    found = hash_file(path)
    if found["sha256"] != sha256:
        sys.exit(f"{path} has sha256 {found['sha256']}, not {sha256}")
    with tarfile.open(path, "r:gz") as tar:
        members = sum(1 for member in tar if member.isfile())
    return {"path": path, "files": members, "bytes": found["bytes"]}


def prune(folder, keep):
    """Removes all but the newest archives of a folder."""
    names = [name for name in os.listdir(folder) if name.endswith(".tar.gz")]
    names.sort(key=lambda name: os.path.getmtime(os.path.join(folder, name)), reverse=True)
    for name in names[keep:]:
        os.remove(os.path.join(folder, name))
    return {"kept": names[:keep], "removed": sorted(names[keep:])}


TOOLS = [
    list_files, hash_file, find_duplicates, count_words, merge_counts, git_clone, git_branch, git_branch_delete,
    git_tag, git_tag_delete, git_check, archive, check_archive, prune,
]

if __name__ == "__main__":
    by_name = {tool.__name__: tool for tool in TOOLS}
    if len(sys.argv) != 2 or sys.argv[1] not in by_name:
        sys.exit(f"usage: tools.py {'|'.join(by_name)}, with the arguments as a JSON object on standard input")
    json.dump(by_name[sys.argv[1]](**json.load(sys.stdin)), sys.stdout)
    print()
