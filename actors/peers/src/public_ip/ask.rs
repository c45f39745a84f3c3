//! Asking all services at once, over both families of addresses, and counting what they say.

use crate::address::is_public;
use crate::clip::clip;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use reqwest::Client;
use reqwest::redirect::Policy;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Most services that are asked.
const MAX_SERVICES: usize = 16;
/// Longest answer that is read, in bytes: an address and blanks around it.
const MAX_ANSWER: usize = 64;
/// How many must say the same.
const AGREEMENT: usize = 2;
/// How long the other family is waited for, once one is decided: many machines have only one.
const OTHER_FAMILY: Duration = Duration::from_millis(1_500);

/// What at least two services agree on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) ipv4: Option<Ipv4Addr>,
    pub(super) ipv6: Option<Ipv6Addr>,
    /// The services that said so.
    pub(super) by: BTreeSet<String>,
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Asked {
    Agreed(Agreed),
    Disagreed {
        /// What each said, for a person.
        answers: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

/// Who said which address, and what went wrong with whom.
#[derive(Debug, Default)]
struct Count {
    said: BTreeMap<IpAddr, BTreeSet<String>>,
    agreed: Agreed,
    problems: BTreeMap<String, String>,
}

impl Count {
    fn take(&mut self, service: &str, family: Family, answer: Result<IpAddr, String>) {
        let ip = match answer {
            Ok(ip) => ip,
            Err(problem) => {
                // A machine without IPv6 has a problem with each service there: the one with IPv4 says more.
                if family == Family::V4 || !self.problems.contains_key(service) {
                    self.problems.insert(service.to_owned(), problem);
                }
                return;
            }
        };
        let by = self.said.entry(ip).or_default();
        by.insert(service.to_owned());
        if by.len() < AGREEMENT {
            return;
        }
        let decided = match ip {
            IpAddr::V4(v4) => *self.agreed.ipv4.get_or_insert(v4) == v4,
            IpAddr::V6(v6) => *self.agreed.ipv6.get_or_insert(v6) == v6,
        };
        if decided {
            self.agreed.by.extend(by.iter().cloned());
        }
    }

    fn is_decided(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.agreed.ipv4.is_some(),
            Family::V6 => self.agreed.ipv6.is_some(),
        }
    }

    fn finish(self) -> Asked {
        if self.is_decided(Family::V4) || self.is_decided(Family::V6) {
            return Asked::Agreed(self.agreed);
        }
        let said =
            self.said.iter().flat_map(|(ip, by)| by.iter().map(move |service| (service, ip.to_string())));
        let spoke: BTreeSet<&String> = self.said.values().flatten().collect();
        let silent = self.problems.iter().filter(|(service, _)| !spoke.contains(service));
        let silent = silent.map(|(service, problem)| (service, problem.clone()));
        let answers: Vec<_> =
            said.chain(silent).map(|(service, said)| format!("{service}: {said}")).collect();
        Asked::Disagreed { answers: answers.join("; ") }
    }
}

/// Asks every service, until each family is decided or has nobody left to ask.
pub(super) async fn all(services: &[String], timeout: Duration) -> Asked {
    let mut count = Count::default();
    let services: BTreeSet<&String> = services.iter().take(MAX_SERVICES).collect();
    let mut answers: FuturesUnordered<_> = services
        .iter()
        .flat_map(|service| [(*service, Family::V4), (*service, Family::V6)])
        .map(|(service, family)| async move { (service, family, ask(service, family, timeout).await) })
        .collect();
    let mut waiting = BTreeMap::from([(Family::V4, services.len()), (Family::V6, services.len())]);
    let mut grace = None;
    // A family that is decided, or has nobody left to answer, is not waited for.
    while waiting.iter().any(|(family, left)| *left > 0 && !count.is_decided(*family)) {
        let next = match grace {
            Some(until) => tokio::time::timeout_at(until, answers.next()).await.unwrap_or(None),
            None => answers.next().await,
        };
        let Some((service, family, answer)) = next else { break };
        if let Some(left) = waiting.get_mut(&family) {
            *left = left.saturating_sub(1);
        }
        count.take(service, family, answer);
        if count.is_decided(Family::V4) || count.is_decided(Family::V6) {
            grace.get_or_insert_with(|| tokio::time::Instant::now() + OTHER_FAMILY);
        }
    }
    count.finish()
}

async fn ask(service: &str, family: Family, timeout: Duration) -> Result<IpAddr, String> {
    let work = async {
        let client = client(service, family, timeout).map_err(|error| told(&error))?;
        let response = client.get(service).send().await.map_err(|error| told(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("answered {status}"));
        }
        parse(&body(response).await?)
    };
    match tokio::time::timeout(timeout, work).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} ms", timeout.as_millis())),
    }
}

/// A client that uses one family: what a service sees of us depends on how we come to it.
fn client(service: &str, family: Family, timeout: Duration) -> Result<Client, reqwest::Error> {
    // Another part of the process may have installed it before; whoever was first is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let from: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut builder = Client::builder()
        .local_address(from)
        .timeout(timeout)
        // Some services answer a browser with a page.
        .user_agent(concat!("meshwork/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::limited(3))
        .pool_max_idle_per_host(0);
    if is_loopback(service) {
        // A proxy cannot reach our loopback, whatever the environment says.
        builder = builder.no_proxy();
    }
    builder.build()
}

fn is_loopback(service: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(service) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The body, unless it is longer than any address.
async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| told(&error))? {
        if bytes.len() + piece.len() > MAX_ANSWER {
            return Err(format!("answered with more than {MAX_ANSWER} bytes: that is no address"));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<IpAddr, String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let ip: IpAddr =
        text.parse().map_err(|_| format!("answered {:?}: that is no address", clip(text, 64)))?;
    let ip = ip.to_canonical();
    if is_public(ip) { Ok(ip) } else { Err(format!("answered {ip}: that is no public address")) }
}

/// An error with its causes: the outermost one says only that there was one.
fn told(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&said);
        }
        next = cause.source();
    }
    clip(&text, 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "93.184.216.34";
    const V6: &str = "2606:2800:220:1:248:1893:25c8:1946";

    fn ip(text: &str) -> Result<IpAddr, String> {
        Ok(text.parse().unwrap())
    }

    #[test]
    fn one_service_that_says_it_twice_is_still_one() {
        let mut count = Count::default();
        count.take("a", Family::V4, ip(V4));
        count.take("a", Family::V6, ip(V4));
        assert!(!count.is_decided(Family::V4));
        count.take("b", Family::V4, ip(V4));
        assert!(count.is_decided(Family::V4) && !count.is_decided(Family::V6));
    }

    #[test]
    fn each_family_is_decided_by_itself() {
        let mut count = Count::default();
        for service in ["a", "b"] {
            count.take(service, Family::V4, ip(V4));
            count.take(service, Family::V6, ip(V6));
        }
        let Asked::Agreed(agreed) = count.finish() else { panic!("no agreement") };
        assert_eq!((agreed.ipv4, agreed.ipv6), (V4.parse().ok(), V6.parse().ok()));
        assert_eq!(agreed.by, ["a".to_owned(), "b".to_owned()].into());
    }

    #[test]
    fn only_a_public_address_is_an_answer() {
        assert_eq!(parse(b" 93.184.216.34\n"), ip(V4));
        assert_eq!(parse(b"::ffff:93.184.216.34"), ip(V4));
        for (junk, why) in [
            ("", "no address"),
            ("<html>", "no address"),
            ("10.0.0.1", "no public address"),
            ("127.0.0.1", "no public address"),
            ("fe80::1", "no public address"),
        ] {
            assert!(parse(junk.as_bytes()).unwrap_err().contains(why), "{junk}");
        }
        assert!(parse(&[0xff, 0xfe]).unwrap_err().contains("no address"));
    }
}
