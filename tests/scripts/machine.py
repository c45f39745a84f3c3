"""A machine that scripts believe in: a PATH of fake commands, a /usr of its own, and a terminal or none."""

import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

PROJECT = pathlib.Path(__file__).resolve().parents[2]
# Real commands that the scripts may always use.
REAL = ["dirname", "env", "grep", "sort", "true"]
PATIENCE_S = 30


class Outcome:
    """What a script said and did: exit code, all its output, and the fake commands that ran, in order."""

    def __init__(self, code, said, ran):
        self.code, self.said, self.ran = code, said, ran

    def __repr__(self):
        return f"exit {self.code}\nran {self.ran}\nsaid:\n{self.said}"


class Machine:
    """A directory with copies of our scripts whose paths under /usr lead into the directory."""

    def __init__(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="meshwork-scripts-"))
        self.bin, self.usr = self.root / "bin", self.root / "usr"
        self.project, self.home = self.root / "project", self.root / "home"
        self.log = self.root / "log"
        for directory in (self.bin, self.usr, self.home, self.project / "scripts"):
            directory.mkdir(parents=True)
        for name in REAL:
            (self.bin / name).symlink_to(shutil.which(name))
        for script in (PROJECT / "scripts").glob("*.sh"):
            copy = self.project / "scripts" / script.name
            copy.write_text(script.read_text().replace("/usr/", f"{self.usr}/"))
            copy.chmod(0o755)

    def remove(self):
        shutil.rmtree(self.root)

    def fake(self, name, body="", directory=None):
        """A command that writes down how it was called, then does what the body says."""
        path = (directory or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/bash\necho "{name} $*" >>{self.log}\n{body}\n')
        path.chmod(0o755)

    def lacks(self, *names):
        for name in names:
            (self.bin / name).unlink()

    def libclang(self, version=14, headers=True, library="libclang.so.1"):
        directory = self.usr / f"lib/llvm-{version}/lib"
        directory.mkdir(parents=True)
        (directory / library).touch()
        if headers:
            include = directory / f"clang/{version}/include"
            include.mkdir(parents=True)
            (include / "stddef.h").touch()
        return directory

    def environment(self, extra):
        return {"PATH": str(self.bin), "HOME": str(self.home), "TERM": "dumb", **extra}

    def run(self, script, **extra):
        """Runs a script with nobody there: no terminal. More variables of its environment may be given."""
        done = subprocess.run(
            [str(self.project / "scripts" / script)], env=self.environment(extra), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S, check=False)
        return self.outcome(done.returncode, done.stdout)

    def run_at_terminal(self, script, answers):
        """Runs a script at a terminal where somebody answers: pairs of (what is read, what is typed then)."""
        child, terminal = pty.fork()
        if child == 0:
            path = str(self.project / "scripts" / script)
            os.execve(path, [path], self.environment({}))
        said, ended, deadline = "", False, time.monotonic() + PATIENCE_S
        answers = list(answers)
        unanswered = 0
        while not ended:
            if not select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                raise AssertionError(f"the script waits for an answer that nobody gives:\n{said}")
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # Linux says so when the last one has left the terminal.
                piece = b""
            ended = not piece
            said += piece.decode()
            if answers and answers[0][0] in said[unanswered:]:
                unanswered = len(said)
                os.write(terminal, answers.pop(0)[1].encode())
        os.close(terminal)
        status = os.waitpid(child, 0)[1]
        if answers:
            raise AssertionError(f"never asked: {answers[0][0]}\n{said}")
        return self.outcome(os.waitstatus_to_exitcode(status), said.replace("\r\n", "\n"))

    def outcome(self, code, said):
        ran = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return Outcome(code, said, ran)


class Story(unittest.TestCase):
    """A test with a machine of its own."""

    def setUp(self):
        self.machine = Machine()
        self.addCleanup(self.machine.remove)

    def assert_said(self, outcome, *texts):
        for text in texts:
            self.assertIn(text, outcome.said, outcome)
