"""scripts/prepare.sh: what it announces, when it asks, and what it runs, on machines that lack one thing or all."""

import unittest

from machine import Story

ALL = "build-essential libclang-dev git python3 python3-venv"
APT = "apt-get -q -o DPkg::Lock::Timeout=300"
QUESTION = f"Install with 'sudo apt-get install {ALL}' (asks for your password)? [Y/n] "
PASSWORD = "[sudo] password: "

# Each package brings its files from a store. Lists of packages are there unless apt/no-lists exists.
APT_GET = r"""
[ "$DEBIAN_FRONTEND" = noninteractive ] || { echo "a question that nobody sees"; read -r; }
apt=APT_DIRECTORY
while [[ $1 == -* ]]; do if [ "$1" = -o ]; then shift; fi; shift; done
case $1 in
  update)
    [ -e $apt/broken-source ] && { echo "E: a source cannot be reached" >&2; exit 100; }
    /bin/rm -f $apt/no-lists ;;
  install)
    [ -e $apt/no-lists ] && { echo "E: Unable to locate package" >&2; exit 100; }
    [ -e $apt/full-disk ] && { echo "E: not enough space" >&2; exit 100; }
    shift 2
    for package in "$@"; do /bin/cp -r $apt/store/$package/. SANDBOX/; done ;;
esac
echo "a lot of output"
"""

# Asks for a password on the terminal unless it was given before; -n never asks.
SUDO = r"""
known=APT_DIRECTORY/sudo-knows
if [ "$1" = -n ]; then [ -e $known ] || { echo "sudo: a password is required" >&2; exit 1; }; shift; fi
if [ ! -e $known ]; then
  echo -n "[sudo] password: " >/dev/tty
  read -r password </dev/tty
  [ "$password" = right ] || { echo "sudo: 1 incorrect password attempt" >&2; exit 1; }
  : >$known
fi
[ "$1" = -v ] || exec "$@"
"""


class Prepare(Story):
    """The machine of each test has cargo, apt-get and an administrator, and everything else in apt-get's store."""

    def setUp(self):
        super().setUp()
        machine = self.machine
        self.apt = machine.root / "apt"
        store = self.apt / "store"
        for package, command in [("build-essential", "c++"), ("build-essential", "make"), ("git", "git"),
                                 ("python3", "python3")]:
            machine.fake(command, directory=store / package / "bin")
        # python3 without python3-venv cannot import ensurepip.
        machine.fake("python3", f"[ -e {machine.usr}/ensurepip ]", store / "python3/bin")
        (store / "python3-venv/usr").mkdir(parents=True)
        (store / "python3-venv/usr/ensurepip").touch()
        include = store / "libclang-dev/usr/lib/llvm-14/lib/clang/14/include"
        include.mkdir(parents=True)
        (include / "stddef.h").touch()
        (include.parents[2] / "libclang.so").touch()
        machine.fake("cargo")
        machine.fake("id", "echo 0")
        self.fake_with_places("apt-get", APT_GET)

    def fake_with_places(self, name, body):
        body = body.replace("APT_DIRECTORY", str(self.apt)).replace("SANDBOX", str(self.machine.root))
        self.machine.fake(name, body)

    def person(self, knows_sudo):
        """Whoever runs the script is not root and has sudo, with or without a password."""
        self.machine.fake("id", "echo 1000")
        self.fake_with_places("sudo", SUDO)
        if knows_sudo:
            (self.apt / "sudo-knows").touch()

    def complete(self):
        """Installs everything, so that a test can take one thing away."""
        self.assertEqual(self.prepare().code, 0)

    def prepare(self, **environment):
        outcome = self.machine.run("prepare.sh", **environment)
        # What it asks of commands to see whether they are there is not worth a line in each test.
        outcome.ran = [line for line in outcome.ran if not line.startswith(("python3 ", "id "))]
        return outcome

    def at_terminal(self, *answers):
        outcome = self.machine.run_at_terminal("prepare.sh", answers)
        outcome.ran = [line for line in outcome.ran if not line.startswith(("python3 ", "id "))]
        return outcome

    def assert_lacks(self, packages):
        """It announces exactly these, installs them, and finds nothing to do afterwards."""
        outcome = self.prepare()
        announced = [line.split(":")[0].strip() for line in outcome.said.splitlines() if line.startswith("  ")]
        self.assertEqual(announced, packages, outcome)
        self.assertEqual(outcome.ran, [f"{APT} install -y {' '.join(packages)}"], outcome)
        self.assertEqual((outcome.code, self.prepare().said), (0, ""), outcome)

    def test_a_machine_that_has_everything_hears_nothing(self):
        self.complete()
        outcome = self.prepare()
        self.assertEqual((outcome.code, outcome.said, outcome.ran), (0, "", []))

    def test_root_on_an_empty_machine_is_told_what_and_why_and_is_asked_nothing(self):
        outcome = self.prepare()
        self.assertEqual((outcome.code, outcome.ran), (0, [f"{APT} install -y {ALL}"]), outcome)
        self.assertEqual(outcome.said.splitlines(), [
            "This machine lacks:",
            "  build-essential: C++ compiler for RocksDB",
            "  libclang-dev: RocksDB's bindings are generated with it",
            "  git: the demo works on a git repository",
            "  python3: used by the tests, by the demo and by the checks with other MCP clients",
            "  python3-venv: the demo installs an MCP server of others for itself",
            f"Installing {ALL} ...",
            "Done.",
        ], "apt-get's own output is hidden")

    def test_each_thing_that_is_missing_is_seen_alone(self):
        for command, package in [("c++", "build-essential"), ("make", "build-essential"), ("git", "git")]:
            with self.subTest(missing=command):
                self.complete()
                self.machine.lacks(command)
                self.assert_lacks([package])

    def test_python_without_its_venv_module_is_not_enough(self):
        self.complete()
        (self.machine.usr / "ensurepip").unlink()
        self.assert_lacks(["python3-venv"])

    def test_a_machine_without_python_gets_it_with_its_venv_module(self):
        self.complete()
        self.machine.lacks("python3")
        self.assert_lacks(["python3", "python3-venv"])

    def test_libclang_cpp_and_a_libclang_without_headers_are_not_what_the_build_needs(self):
        for library, headers in [("libclang-cpp.so.15", True), ("libclang.so.1", False)]:
            with self.subTest(library=library):
                self.setUp()
                self.complete()
                (self.machine.usr / "lib/llvm-14").rename(self.machine.usr / "gone")
                self.machine.libclang(15, headers, library)
                self.assert_lacks(["libclang-dev"])

    def test_a_libclang_that_the_caller_names_is_believed(self):
        self.complete()
        (self.machine.usr / "lib/llvm-14").rename(self.machine.usr / "gone")
        self.assertEqual(self.prepare(LIBCLANG_PATH="/opt/llvm/lib").said, "")

    def test_a_system_that_keeps_library_and_headers_apart_has_libclang_too(self):
        self.complete()
        (self.machine.usr / "lib/llvm-14").rename(self.machine.usr / "gone")
        (self.machine.usr / "lib64").mkdir()
        (self.machine.usr / "lib64/libclang.so.19.1").touch()
        (self.machine.usr / "lib/clang/19/include").mkdir(parents=True)
        (self.machine.usr / "lib/clang/19/include/stddef.h").touch()
        self.assertEqual(self.prepare().said, "")

    def test_lists_of_packages_are_fetched_when_apt_knows_none(self):
        (self.apt / "no-lists").touch()
        outcome = self.prepare()
        install = f"{APT} install -y {ALL}"
        self.assertEqual((outcome.code, outcome.ran), (0, [install, f"{APT} update", install]), outcome)
        self.assertNotIn("Unable to locate", outcome.said)

    def test_a_source_that_fails_is_said_and_does_not_end_it(self):
        (self.apt / "broken-source").touch()
        (self.apt / "no-lists").touch()
        outcome = self.prepare()
        self.assertEqual(len(outcome.ran), 3, outcome)
        self.assert_said(outcome, "a source cannot be reached", "apt-get update failed: trying to install all the same")
        self.assertEqual(outcome.code, 1, outcome)

    def test_a_failed_installation_says_why_and_which(self):
        (self.apt / "full-disk").touch()
        outcome = self.prepare()
        self.assertEqual(outcome.code, 1, outcome)
        self.assert_said(outcome, "E: not enough space", f"apt-get could not install {ALL}.")
        self.assertNotIn("Done.", outcome.said)

    def test_sudo_without_a_password_is_used_without_a_question(self):
        self.person(knows_sudo=True)
        outcome = self.prepare()
        install = f"{APT} install -y {ALL}"
        sudo = f"sudo env DEBIAN_FRONTEND=noninteractive {install}"
        self.assertEqual((outcome.code, outcome.ran), (0, ["sudo -n true", sudo, install]), outcome)
        self.assertNotIn("?", outcome.said)

    def test_before_a_password_is_needed_the_person_is_asked_and_told_all(self):
        for yes in ["\n", "y\n", "Yes\n"]:
            with self.subTest(answer=yes):
                self.setUp()
                self.person(knows_sudo=False)
                outcome = self.at_terminal((QUESTION, yes), (PASSWORD, "right\n"))
                install = f"{APT} install -y {ALL}"
                sudo = f"sudo env DEBIAN_FRONTEND=noninteractive {install}"
                self.assertEqual(outcome.ran, ["sudo -n true", "sudo -v", sudo, install], outcome)
                self.assertLess(outcome.said.index("python3-venv: the demo"), outcome.said.index(QUESTION))
                self.assertEqual((outcome.code, outcome.said.count(PASSWORD)), (0, 1), outcome)
                self.assertEqual(self.prepare().said, "")

    def test_who_refuses_gets_nothing_installed(self):
        end_of_input = "\x04"
        for no in ["n\n", "No\n", "what?\n", end_of_input]:
            with self.subTest(answer=no):
                self.setUp()
                self.person(knows_sudo=False)
                outcome = self.at_terminal((QUESTION, no))
                self.assertEqual((outcome.code, outcome.ran), (1, ["sudo -n true"]), outcome)
                self.assert_said(outcome, "Nothing was installed.")

    def test_a_wrong_password_is_the_end_of_it(self):
        self.person(knows_sudo=False)
        outcome = self.at_terminal((QUESTION, "\n"), (PASSWORD, "wrong\n"))
        self.assertEqual((outcome.code, outcome.ran), (1, ["sudo -n true", "sudo -v"]), outcome)
        self.assert_said(outcome, "Nothing was installed: sudo did not let us.")

    def test_without_a_terminal_it_says_what_to_type_instead_of_waiting(self):
        self.person(knows_sudo=False)
        outcome = self.prepare()
        self.assertEqual((outcome.code, outcome.ran), (1, ["sudo -n true"]), outcome)
        self.assert_said(outcome, f"Run: sudo apt-get install -y {ALL}")

    def test_without_root_and_sudo_it_says_what_root_has_to_type(self):
        self.machine.fake("id", "echo 1000")
        outcome = self.prepare()
        self.assertEqual((outcome.code, outcome.ran), (1, []), outcome)
        self.assert_said(outcome, f"Run as root: apt-get install -y {ALL}")

    def test_a_system_without_apt_hears_the_names_and_nothing_is_run(self):
        self.machine.lacks("apt-get")
        outcome = self.prepare()
        self.assertEqual((outcome.code, outcome.ran), (1, []), outcome)
        self.assert_said(outcome, "libclang-dev: ", "your system's package manager")

    def test_a_machine_without_rust_is_told_where_to_get_it_and_is_left_alone(self):
        self.machine.lacks("cargo")
        outcome = self.prepare()
        self.assertEqual((outcome.code, outcome.ran), (1, []), outcome)
        self.assert_said(outcome, "https://rustup.rs")

    def test_a_toolchain_that_the_shell_does_not_know_yet_is_found(self):
        self.complete()
        self.machine.lacks("cargo")
        self.machine.fake("cargo", directory=self.machine.home / ".cargo/bin")
        self.assertEqual(self.prepare().code, 0)
        (self.machine.home / ".cargo").rename(self.machine.root / "rust")
        self.assertEqual(self.prepare(CARGO_HOME=str(self.machine.root / "rust")).code, 0)


if __name__ == "__main__":
    unittest.main()
