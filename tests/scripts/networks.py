"""scripts/net-tools.sh: what it installs for the tests on real networks, and when it says that they are left out."""

import unittest

from machine import Story

APT = "apt-get -q -o DPkg::Lock::Timeout=300"
INSTALL = f"{APT} install -y --no-install-recommends nftables"
TOOLS = ["ip", "nft", "python3", "unshare", "nsenter", "setpriv"]


class NetTools(Story):
    """What the tests on real networks need."""

    def setUp(self):
        super().setUp()
        for tool in TOOLS:
            self.machine.fake(tool)
        self.machine.fake("id", "echo 0")
        self.machine.fake("apt-get")

    def test_a_machine_that_has_everything_is_left_alone(self):
        outcome = self.machine.run("net-tools.sh")
        self.assertEqual((outcome.code, outcome.said, outcome.ran), (0, "", []), outcome)

    def test_root_gets_what_is_missing_and_is_told_so(self):
        self.machine.lacks("nft")
        outcome = self.machine.run("net-tools.sh")
        self.assertEqual((outcome.code, outcome.ran), (0, ["id -u", INSTALL]), outcome)
        self.assert_said(outcome, "need: nftables", "Installing nftables ...", "Done.")

    def test_a_machine_that_never_fetched_the_lists_of_packages_fetches_them(self):
        self.machine.lacks("nft")
        lists = self.machine.root / "lists"
        self.machine.fake("apt-get", f'case "$*" in *update*) : >{lists} ;; *) [ -e {lists} ] ;; esac')
        outcome = self.machine.run("net-tools.sh")
        self.assertEqual((outcome.code, outcome.ran), (0, ["id -u", INSTALL, f"{APT} update", INSTALL]), outcome)

    def test_who_is_not_root_is_told_what_to_install(self):
        self.machine.lacks("ip", "setpriv")
        self.machine.fake("id", "echo 1000")
        outcome = self.machine.run("net-tools.sh")
        self.assertEqual((outcome.code, outcome.ran), (77, ["id -u"]), outcome)
        self.assert_said(outcome, "need: iproute2 util-linux", "SKIPPED: ")

    def test_packages_that_cannot_be_had_are_left_out_loudly(self):
        self.machine.lacks("nft")
        self.machine.fake("apt-get", "exit 100")
        outcome = self.machine.run("net-tools.sh")
        self.assertEqual(outcome.code, 77, outcome)
        self.assert_said(outcome, "SKIPPED: apt-get could not install nftables")


if __name__ == "__main__":
    unittest.main()
