//! A laboratory of hosts: each has a network namespace of its own, and nothing of it touches the machine's own network.
//!
//! A namespace is held by a small process that ends when its standard input does. So the whole laboratory is gone when
//! the test is, however it ends: nothing has a name that could be left behind, and nothing else is ever ended.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What tests need beside the kernel.
const TOOLS: [&str; 5] = ["ip", "nft", "nsenter", "unshare", "setpriv"];
/// Set to 1 where a missing privilege or tool is a failure.
const REQUIRED: &str = "MESHWORK_REQUIRE_NET";

/// Whether a laboratory can be built here; says what is missing if not.
pub(crate) fn ready() -> bool {
    let Some(missing) = missing() else { return true };
    assert!(std::env::var(REQUIRED).as_deref() != Ok("1"), "{REQUIRED} is 1, but {missing}");
    eprintln!("SKIPPED: {missing}");
    false
}

fn missing() -> Option<String> {
    let runs = |program: &str, argument: &str| {
        let mut command = Command::new(program);
        command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let version = |tool: &str| if tool == "ip" { "-V" } else { "--version" };
    if let Some(tool) = TOOLS.into_iter().find(|tool| !runs(tool, version(tool))) {
        return Some(format!("{tool} is not installed: scripts/net-tools.sh installs what these tests need"));
    }
    let unshared = Command::new("unshare").args(["--net", "true"]).stderr(Stdio::null()).status();
    if !unshared.is_ok_and(|status| status.success()) {
        return Some("making a network namespace takes root".into());
    }
    (!Path::new("/dev/net/tun").exists()).then(|| "there is no /dev/net/tun".into())
}

/// A network namespace: a host, a router, or a switch.
#[derive(Debug)]
pub(crate) struct Space {
    /// For messages and for the names of files.
    pub(crate) name: String,
    holder: Child,
}

impl Space {
    /// A namespace that has loopback and nothing else.
    pub(crate) fn new(name: &str) -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo up && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n", "no namespace for {name}");
        Self { name: name.to_owned(), holder }
    }

    /// The process whose namespace it is.
    pub(crate) fn pid(&self) -> String {
        self.holder.id().to_string()
    }

    /// A command line that runs a program inside, and ends it when the test ends.
    pub(crate) fn enter(&self) -> [String; 6] {
        let words = ["nsenter", "--net", "setpriv", "--pdeathsig", "KILL", "--"];
        let mut words = words.map(str::to_owned);
        words[1] = format!("--net=/proc/{}/ns/net", self.holder.id());
        words
    }

    /// Runs a program inside to its end, and gives what it printed.
    pub(crate) fn run(&self, program: &[&str]) -> String {
        let [enter, inside @ ..] = self.enter();
        let output = Command::new(enter).args(inside).args(program).stdin(Stdio::null()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program:?} in {}: {errors}", self.name);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `ip` with these words.
    pub(crate) fn ip(&self, words: &str) -> String {
        let program: Vec<&str> = ["ip"].into_iter().chain(words.split_whitespace()).collect();
        self.run(&program)
    }

    /// Adds rules to its own firewall.
    pub(crate) fn nft(&self, rules: &str) {
        self.run(&["nft", rules]);
    }

    /// Gives a network card its address, and the way out if there is one.
    pub(crate) fn address(&self, card: &str, address: &str, gateway: Option<&str>) {
        self.ip(&format!("address add {address} dev {card}"));
        self.ip(&format!("link set {card} up"));
        if let Some(gateway) = gateway {
            self.ip(&format!("route add default via {gateway}"));
        }
    }

    /// Loses so many percent of all packets that arrive over the network.
    pub(crate) fn lose(&self, percent: u8) {
        let rule = format!("iifname != lo numgen random mod 100 < {percent} drop");
        self.nft(&format!(
            "table inet weather {{ chain arriving {{ type filter hook input priority -10; {rule}; }}; }}"
        ));
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // Its standard input closes, and it ends.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// A switch with a port for each host.
#[derive(Debug)]
pub(crate) struct Lan(Space);

impl Lan {
    pub(crate) fn new(name: &str) -> Self {
        let space = Space::new(name);
        // Nobody asks for multicast groups here, so all of them go to all ports.
        space.ip("link add bridge type bridge mcast_snooping 0 forward_delay 0");
        space.ip("link set bridge up");
        Self(space)
    }

    /// Connects a host's new network card to a port that has the host's name.
    pub(crate) fn plug(&self, host: &Space, card: &str, address: &str, gateway: Option<&str>) {
        let (port, pid) = (&host.name, host.pid());
        self.0.ip(&format!("link add {port} type veth peer name {card} netns {pid}"));
        self.0.ip(&format!("link set {port} master bridge up"));
        host.address(card, address, gateway);
    }

    /// Pulls the plug of a host.
    pub(crate) fn cut(&self, host: &Space) {
        self.0.ip(&format!("link set {} down", host.name));
    }

    /// Puts the plug of a host back.
    pub(crate) fn heal(&self, host: &Space) {
        self.0.ip(&format!("link set {} up", host.name));
    }
}

/// Which port of its own a router uses for one of a host behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ports {
    /// The same one for all the world, as most routers do: others can be told of it.
    Kept,
    /// Another one for each place that the host talks to: what one sees is of no use to another.
    Scrambled,
}

/// A router as people have at home: one public address, behind which a network is hidden. What those inside did not ask
/// for is dropped without an answer.
#[derive(Debug)]
pub(crate) struct Router(Space);

impl Router {
    pub(crate) fn new(name: &str, public: &Lan, address: &str, ports: Ports) -> Self {
        let space = Space::new(name);
        let masquerade = match ports {
            Ports::Kept => "masquerade",
            Ports::Scrambled => "masquerade fully-random",
        };
        public.plug(&space, "wan", address, None);
        space.run(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        let known = "iifname wan ct state established,related accept; iifname wan drop";
        space.nft(&format!(
            "table ip home {{ \
             chain leaving {{ type nat hook postrouting priority srcnat; oifname wan {masquerade}; }}; \
             chain passing {{ type filter hook forward priority filter; {known}; }}; \
             chain arriving {{ type filter hook input priority filter; {known}; }}; \
             }}"
        ));
        Self(space)
    }

    /// Connects the host behind it.
    pub(crate) fn hide(&self, host: &Space, inner: &str, address: &str) {
        let pid = host.pid();
        self.0.ip(&format!("link add inside type veth peer name eth0 netns {pid}"));
        self.0.address("inside", inner, None);
        let gateway = inner.split('/').next();
        host.address("eth0", address, gateway);
    }
}

/// A line that takes its time: hosts joined by a program that forwards each packet after a delay.
#[derive(Debug)]
pub(crate) struct SlowLine {
    switch: Child,
    _space: Space,
}

impl SlowLine {
    /// Joins hosts, each with its address, with this delay each way in milliseconds.
    pub(crate) fn join(hosts: &[(&Space, &str)], delay_ms: u32, jitter_ms: u32) -> Self {
        let space = Space::new("slow");
        let [enter, inside @ ..] = space.enter();
        let mut command = Command::new(enter);
        command.args(inside).args(["python3", "-B"]);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/net/switch.py"));
        command.args([delay_ms.to_string(), jitter_ms.to_string()]);
        command.args(hosts.iter().map(|(host, address)| format!("{}={address}", host.pid())));
        let mut switch = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(switch.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n", "the slow line did not come up");
        for (host, address) in hosts {
            host.address("slow", &format!("{address}/24"), None);
        }
        Self { switch, _space: space }
    }
}

impl Drop for SlowLine {
    fn drop(&mut self) {
        drop(self.switch.stdin.take());
        let _ = self.switch.wait();
    }
}
