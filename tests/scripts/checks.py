"""scripts/test.sh and scripts/cargo.sh: which commands run, in which order, on machines with and without extra tools."""

import unittest

from machine import Story

FORMAT = "cargo fmt --all --check"
SCRIPTS = "python3 -B -m unittest discover --start-directory tests/scripts --pattern *.py"
LINTS = "cargo clippy --workspace --all-targets --quiet -- -D warnings"
EXAMPLES = "cargo build --workspace --examples --quiet"
NEXTEST = "cargo nextest run --workspace --all-targets"
CARGO_TEST = "cargo test --workspace --all-targets --quiet"
DOCUMENTATION = "cargo test --workspace --doc --quiet"
DENY = "cargo deny --offline check bans licenses sources"


class Checks(Story):
    """What `make test` runs."""

    def setUp(self):
        super().setUp()
        self.machine.fake("cargo")
        self.machine.fake("python3")

    def test_with_all_tools_the_quick_checks_come_first(self):
        self.machine.fake("cargo-nextest")
        self.machine.fake("cargo-deny")
        outcome = self.machine.run("test.sh")
        self.assertEqual(outcome.ran, [FORMAT, SCRIPTS, LINTS, EXAMPLES, NEXTEST, DOCUMENTATION, DENY], outcome)
        self.assertEqual(outcome.code, 0, outcome)
        self.assertNotIn("SKIPPED", outcome.said)

    def test_without_nextest_and_deny_cargo_runs_the_tests_and_says_what_is_left_out(self):
        outcome = self.machine.run("test.sh")
        self.assertEqual(outcome.ran, [FORMAT, SCRIPTS, LINTS, EXAMPLES, CARGO_TEST, DOCUMENTATION], outcome)
        self.assertEqual(outcome.code, 0, outcome)
        self.assert_said(outcome, "cargo-nextest is not installed", "SKIPPED: cargo-deny is not installed")

    def test_tools_in_cargos_own_directory_are_found(self):
        own = self.machine.home / ".cargo/bin"
        self.machine.fake("cargo-nextest", directory=own)
        self.machine.fake("cargo-deny", directory=own)
        self.assertEqual(self.machine.run("test.sh").ran[-3:], [NEXTEST, DOCUMENTATION, DENY])
        own.parent.rename(self.machine.root / "rust")
        self.assertEqual(self.machine.run("test.sh").ran[-2:], [CARGO_TEST, DOCUMENTATION])
        elsewhere = self.machine.run("test.sh", CARGO_HOME=str(self.machine.root / "rust"))
        self.assertEqual(elsewhere.ran[-3:], [NEXTEST, DOCUMENTATION, DENY])

    def test_the_first_check_that_fails_ends_it(self):
        steps = [FORMAT, SCRIPTS, LINTS, EXAMPLES, CARGO_TEST, DOCUMENTATION]
        for number, failing in enumerate(steps):
            with self.subTest(failing=failing):
                name, arguments = failing.split(" ", 1)
                self.machine.fake("cargo")
                self.machine.fake("python3")
                self.machine.fake(name, f'[ "$*" != "{arguments}" ] || exit 3')
                outcome = self.machine.run("test.sh")
                self.assertEqual((outcome.code, outcome.ran), (3, steps[: number + 1]), outcome)


class Cargo(Story):
    """What a build hears of its surroundings."""

    def setUp(self):
        super().setUp()
        self.machine.fake("cargo", 'echo "libclang: ${LIBCLANG_PATH-not named}"; echo "at: $PWD"')

    def test_a_machine_with_one_libclang_builds_as_plain_cargo_would(self):
        self.machine.libclang(14)
        outcome = self.machine.run("cargo.sh")
        self.assert_said(outcome, "libclang: not named", f"at: {self.machine.project}")

    def test_a_newer_libclang_without_headers_is_passed_over(self):
        self.machine.libclang(9)
        complete = self.machine.libclang(14)
        self.machine.libclang(19, headers=False)
        self.assert_said(self.machine.run("cargo.sh"), f"libclang: {complete}\n")
        self.assert_said(self.machine.run("cargo.sh", LIBCLANG_PATH="/opt/llvm"), "libclang: /opt/llvm\n")

    def test_a_toolchain_that_the_shell_does_not_know_yet_is_used(self):
        self.machine.lacks("cargo")
        self.machine.fake("cargo", directory=self.machine.home / ".cargo/bin")
        self.assertEqual(self.machine.run("cargo.sh").ran, ["cargo "])


if __name__ == "__main__":
    unittest.main()
