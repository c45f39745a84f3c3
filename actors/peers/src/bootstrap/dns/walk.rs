//! The way through the records of a name, with all its bounds.

use super::super::places::Reading;
use super::describe;
use crate::address::Address;
use crate::clip::clip;
use futures::join;
use hickory_resolver::TokioResolver;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::RData;
use meshwork_proto::PeerId;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// How many `dnsaddr` records may lead from one to the next.
const MAX_DEPTH: usize = 3;
/// Most addresses that one name gives.
const MAX_RESULTS: usize = 32;
/// Most questions for one name.
const MAX_QUESTIONS: usize = 64;
/// Most records of one answer that are looked at.
const MAX_RECORDS: usize = 256;

/// How a service record's host is dialled.
#[derive(Debug, Clone, Copy)]
enum Transport {
    Tcp,
    Quic,
}

/// One resolution.
pub(super) struct Walk<'a> {
    resolver: &'a TokioResolver,
    allow_loopback: bool,
    reading: Reading,
    taken: usize,
    left_out: usize,
    questions: usize,
    problems: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(resolver: &'a TokioResolver, allow_loopback: bool) -> Self {
        Self {
            resolver,
            allow_loopback,
            reading: Reading::default(),
            taken: 0,
            left_out: 0,
            questions: 0,
            problems: BTreeSet::new(),
        }
    }

    /// Follows `dnsaddr` records, those of one peer if one is wanted.
    pub(super) async fn dnsaddr(&mut self, host: &str, peer: Option<&PeerId>) {
        self.questions += 1;
        let answer = self.resolver.txt_lookup(dnsaddr_name(host)).await;
        self.follow(host, answer, peer.cloned()).await;
    }

    /// `dnsaddr` and service records, and if there are neither, plain addresses.
    pub(super) async fn anything(&mut self, host: &str, port: u16) {
        self.questions += 4;
        let (texts, tcp, udp, plain) = join!(
            self.resolver.txt_lookup(dnsaddr_name(host)),
            self.resolver.srv_lookup(format!("_meshwork._tcp.{host}")),
            self.resolver.srv_lookup(format!("_meshwork._udp.{host}")),
            self.resolver.lookup_ip(host),
        );
        self.follow(host, texts, None).await;
        self.services(tcp, Transport::Tcp).await;
        self.services(udp, Transport::Quic).await;
        if self.taken > 0 {
            return;
        }
        match plain {
            Ok(found) => {
                for ip in found.iter().take(MAX_RECORDS) {
                    self.take_ip(ip, port, Transport::Tcp);
                }
            }
            Err(error) => self.note(&error),
        }
    }

    /// What was found; the problem if nothing was, not even something to be skipped.
    pub(super) fn finish(mut self) -> Result<Reading, String> {
        if self.left_out > 0 {
            let problem = format!("there are too many: at most {MAX_RESULTS} of one name are used");
            self.reading.skip("", &format!("{} further answers", self.left_out), problem);
        }
        if self.taken > 0 || !self.reading.skipped.is_empty() {
            return Ok(self.reading);
        }
        // That some kinds of records are missing is usual, unless it is all there is to say.
        let missing = |problem: &String| problem.as_str() == "it has no such records";
        let told: Vec<_> = self.problems.iter().filter(|problem| !missing(problem)).cloned().collect();
        Err(if told.is_empty() {
            "it has no dnsaddr, service or address records".into()
        } else {
            told.join("; ")
        })
    }

    /// Whether one more question may be asked; what it would have told is counted as left out.
    fn may_ask(&mut self) -> bool {
        let may = self.questions < MAX_QUESTIONS && self.taken < MAX_RESULTS;
        if may {
            self.questions += 1;
        } else {
            self.left_out += 1;
        }
        may
    }

    /// The `dnsaddr` records of an answer, and those they lead to.
    async fn follow(&mut self, host: &str, answer: Result<Lookup, NetError>, peer: Option<PeerId>) {
        let mut seen = BTreeSet::from([host.to_owned()]);
        let mut level: Vec<(String, Option<PeerId>)> = self.read_texts(answer, peer.as_ref());
        for _ in 1..MAX_DEPTH {
            let mut deeper = Vec::new();
            for (host, peer) in level {
                if !seen.insert(host.clone()) {
                    self.reading.skip(&format!("/dnsaddr/{host}"), &host, "it leads in a circle".into());
                    continue;
                }
                if !self.may_ask() {
                    continue;
                }
                let answer = self.resolver.txt_lookup(dnsaddr_name(&host)).await;
                deeper.extend(self.read_texts(answer, peer.as_ref()));
            }
            level = deeper;
        }
        for (host, _) in level {
            let problem = format!("it leads further than {MAX_DEPTH} names");
            self.reading.skip(&format!("/dnsaddr/{host}"), &host, problem);
        }
    }

    /// Takes the addresses of an answer, and gives the names it leads to.
    fn read_texts(
        &mut self,
        answer: Result<Lookup, NetError>,
        peer: Option<&PeerId>,
    ) -> Vec<(String, Option<PeerId>)> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.note(&error);
                return Vec::new();
            }
        };
        let mut names = Vec::new();
        for record in answer.answers().iter().take(MAX_RECORDS) {
            let RData::TXT(text) = &record.data else {
                continue;
            };
            // A record longer than 255 bytes comes in pieces.
            let bytes: Vec<u8> = text.txt_data.iter().flat_map(|piece| piece.iter().copied()).collect();
            let text = String::from_utf8_lossy(&bytes);
            let Some(entry) = text.strip_prefix("dnsaddr=") else {
                continue;
            };
            match entry.parse::<Address>() {
                // The record of another peer at the same name.
                Ok(found) if peer.is_some() && found.peer.as_ref() != peer => {}
                Ok(found) => match found.text.strip_prefix("/dnsaddr/") {
                    Some(next) => {
                        let host = next.split('/').next().unwrap_or_default().to_ascii_lowercase();
                        names.push((host, found.peer));
                    }
                    None => self.take(found),
                },
                Err(problem) => self.reading.skip(entry, "a dnsaddr record", problem.into()),
            }
        }
        names
    }

    /// The hosts of service records, each with its port.
    async fn services(&mut self, answer: Result<Lookup, NetError>, transport: Transport) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.note(&error),
        };
        for record in answer.answers().iter().take(MAX_RECORDS) {
            let RData::SRV(service) = &record.data else {
                continue;
            };
            // A lone dot says that the service is not there.
            if service.target.is_root() {
                continue;
            }
            if !self.may_ask() {
                continue;
            }
            match self.resolver.lookup_ip(service.target.clone()).await {
                Ok(found) => {
                    for ip in found.iter().take(MAX_RECORDS) {
                        self.take_ip(ip, service.port, transport);
                    }
                }
                Err(error) => {
                    let host = clip(&service.target.to_string(), 160);
                    self.reading.skip("", &host, describe(&error));
                }
            }
        }
    }

    fn take_ip(&mut self, ip: IpAddr, port: u16, transport: Transport) {
        let family = if ip.is_ipv4() { "ip4" } else { "ip6" };
        let text = match transport {
            Transport::Tcp => format!("/{family}/{ip}/tcp/{port}"),
            Transport::Quic => format!("/{family}/{ip}/udp/{port}/quic-v1"),
        };
        match text.parse::<Address>() {
            Ok(found) => self.take(found),
            Err(problem) => self.reading.skip(&text, "an address record", problem.into()),
        }
    }

    fn take(&mut self, found: Address) {
        if found.ip.is_some_and(|ip| ip.is_loopback()) && !self.allow_loopback {
            let problem = "it is of this machine itself, and a name of others must not lead there";
            return self.reading.skip(&found.to_string(), "an address record", problem.into());
        }
        if self.taken >= MAX_RESULTS {
            self.left_out += 1;
            return;
        }
        self.taken += 1;
        self.reading.add_address(found);
    }

    fn note(&mut self, error: &NetError) {
        self.problems.insert(describe(error));
    }
}

fn dnsaddr_name(host: &str) -> String {
    format!("_dnsaddr.{host}")
}
