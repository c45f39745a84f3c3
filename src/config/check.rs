//! The rules: for one value, and for values that depend on one another.

mod membership;

use super::environment::PREFIX;
use super::problem::Problem;
use super::schema::Kind;
use super::types::{NodeConfig, UpstreamConfig};
use crate::yaml::Data;
use meshwork_gateway::OWN_CATEGORIES;
use meshwork_network::trust::MeshSecret;
use meshwork_proto::invite::Invitation;
use meshwork_proto::{PeerId, task};
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Names that the node's own tools have.
const BUILT_IN_TOOLS: [&str; 3] = ["cid", "echo", "sleep"];
/// Longest name of an upstream server, in characters.
const MAX_UPSTREAM_NAME: usize = 32;
/// Protocols with which a multiaddress can begin.
const MULTIADDRESS_STARTS: [&str; 6] = ["/ip4/", "/ip6/", "/dns/", "/dns4/", "/dns6/", "/dnsaddr/"];

/// Checks one value.
///
/// # Errors
/// A reason of its own, or none when "is X: expected Y" says it all.
pub(super) fn scalar(kind: &Kind, data: &Data) -> Result<Value, Option<String>> {
    match (kind, data) {
        (Kind::Whole { min, max }, Data::Whole(whole)) => match u64::try_from(*whole) {
            Ok(number) if (min..=max).contains(&&number) => Ok(Value::from(number)),
            _ => Err(None),
        },
        (Kind::Number { min, max }, Data::Whole(_) | Data::Float(_)) => {
            let number = match data {
                Data::Whole(whole) => *whole as f64,
                Data::Float(float) => *float,
                _ => f64::NAN,
            };
            if (*min..=*max).contains(&number) { Ok(shortest(number)) } else { Err(None) }
        }
        (Kind::Switch, Data::Bool(value)) => Ok(Value::from(*value)),
        (kind, Data::Text(text)) => self::text(kind, text).map(Value::from),
        _ => Err(None),
    }
}

/// The number as a person writes it: 30, not 30.0.
fn shortest(number: f64) -> Value {
    // Numbers of the configuration are far below 2^53, up to which every whole number is exact.
    if number.fract() == 0.0 {
        format!("{number}").parse::<i64>().map_or_else(|_| Value::from(number), Value::from)
    } else {
        Value::from(number)
    }
}

fn text(kind: &Kind, text: &str) -> Result<String, Option<String>> {
    let ok = match kind {
        Kind::Text => true,
        Kind::Path => !text.is_empty() && !text.contains('\0'),
        Kind::AbsolutePath => text.starts_with('/') && !text.contains('\0'),
        Kind::SocketAddress => text.parse::<SocketAddr>().is_ok(),
        Kind::Url => {
            ["http://", "https://"].iter().any(|start| text.len() > start.len() && text.starts_with(start))
        }
        Kind::Multiaddress => is_multiaddress(text),
        Kind::PeerId => text.parse::<PeerId>().is_ok(),
        Kind::Invitation => return invitation(text),
        Kind::Choice(words) => words.contains(&text),
        Kind::Name => is_name(text),
        Kind::NodeName => is_node_name(text),
        Kind::DnsName => is_dns_name(text),
        Kind::Namespace => is_namespace(text),
        Kind::Repository => is_repository(text),
        _ => false,
    };
    if ok { Ok(text.to_owned()) } else { Err(None) }
}

/// A light check: the network reads it in full when it starts.
fn is_multiaddress(text: &str) -> bool {
    MULTIADDRESS_STARTS.iter().any(|start| text.starts_with(start))
        && !text.contains(char::is_whitespace)
        && text.split('/').skip(1).all(|part| !part.is_empty())
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Whether a text can be the name of a node in a registry that others share: it becomes a part of file names and marks.
pub(super) fn is_node_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        && !text.bytes().all(|byte| byte == b'.')
}

/// Names of services (`_meshwork._tcp.example.org`) have underscores too.
fn is_dns_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn is_namespace(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.chars().any(char::is_control) && text.trim() == text
}

fn is_repository(text: &str) -> bool {
    text.split_once('/').is_some_and(|(owner, name)| is_node_name(owner) && is_node_name(name))
}

fn invitation(text: &str) -> Result<String, Option<String>> {
    match Invitation::parse(text) {
        Ok(_) => Ok(text.trim().to_owned()),
        Err(error) => Err(Some(format!("cannot be used: {error}"))),
    }
}

/// Checks what depends on more than one value. `place` names the place of a path.
pub(super) fn together(config: &NodeConfig, place: impl Fn(&str) -> String) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |path: String, message: String| {
        problems.push(Problem { place: place(&path), key: Some(path), message });
    };
    if Some(config.server.http) == config.server.admin_http && config.server.http.port() != 0 {
        let message = "is the address of server.http: leave it out to serve both there".into();
        wrong("server.admin_http".into(), message);
    }
    remote_http(config, &mut wrong);
    if let Some(secret) = &config.p2p.mesh_secret
        && let Err(error) = MeshSecret::parse(secret.expose())
    {
        wrong("p2p.mesh_secret".into(), format!("cannot be used: {error}"));
    }
    let queue = &config.p2p.taskqueue;
    if queue.backoff_s > queue.backoff_max_s {
        let message = format!(
            "is {}: expected at most p2p.taskqueue.backoff_max_s, {}",
            queue.backoff_s, queue.backoff_max_s
        );
        wrong("p2p.taskqueue.backoff_s".into(), message);
    }
    if config.store.artifact_max_mb > config.store.artifact_quota_mb {
        let message = format!(
            "is {}: expected at most store.artifact_quota_mb, {}",
            config.store.artifact_max_mb, config.store.artifact_quota_mb
        );
        wrong("store.artifact_max_mb".into(), message);
    }
    membership::together(&config.p2p, &mut wrong);
    labels(&config.executor.labels, &mut wrong);
    tools(config, &mut wrong);
    upstreams(config, &mut wrong);
    problems
}

/// There is no login on HTTP: an address that others reach has to be wanted.
fn remote_http(config: &NodeConfig, wrong: &mut impl FnMut(String, String)) {
    if config.server.allow_remote {
        return;
    }
    let addresses =
        [("server.http", Some(config.server.http)), ("server.admin_http", config.server.admin_http)];
    for (path, address) in addresses {
        let Some(address) = address.filter(|address| !address.ip().to_canonical().is_loopback()) else {
            continue;
        };
        let message = format!(
            "is {address}, which other machines can reach, and there is no login: whoever reaches it has all rights; \
             take an address of loopback such as 127.0.0.1:{}, or set server.allow_remote to true \
             (--set server.allow_remote=true) if only those reach it who may do everything",
            address.port()
        );
        wrong(path.into(), message);
    }
}

fn labels(labels: &[String], wrong: &mut impl FnMut(String, String)) {
    if let Some(label) = labels.iter().find(|label| label.is_empty() || label.len() > task::MAX_NAME) {
        let message = format!("has the label {label:?}: expected 1 to {} bytes", task::MAX_NAME);
        wrong("executor.labels".into(), message);
    }
}

fn tools(config: &NodeConfig, wrong: &mut impl FnMut(String, String)) {
    let mut seen = BTreeSet::from(BUILT_IN_TOOLS);
    for (index, tool) in config.executor.tools.iter().enumerate() {
        let path = format!("executor.tools[{index}]");
        if !seen.insert(&tool.name) {
            let message = if BUILT_IN_TOOLS.contains(&tool.name.as_str()) {
                format!("is {:?}, a tool that every node has: choose another name", tool.name)
            } else {
                format!("is {:?} a second time: each tool needs a name of its own", tool.name)
            };
            wrong(format!("{path}.name"), message);
        }
        match tool.command.first() {
            // Found on PATH, or exactly there.
            Some(program) if program.starts_with('/') || !(program.is_empty() || program.contains('/')) => {}
            Some(program) => {
                let message = format!("starts with {program:?}: expected an absolute path or a plain name");
                wrong(format!("{path}.command"), message);
            }
            None => {
                wrong(
                    format!("{path}.command"),
                    "names no program: expected [program, argument, ...]".into(),
                );
            }
        }
        if let Some(name) = tool.env.keys().find(|name| name.starts_with(PREFIX)) {
            let message = format!("has the variable {name}: names with {PREFIX} are set by the node");
            wrong(format!("{path}.env"), message);
        }
    }
}

fn upstreams(config: &NodeConfig, wrong: &mut impl FnMut(String, String)) {
    let mut seen = BTreeSet::new();
    for (index, upstream) in config.upstreams.iter().enumerate() {
        let path = format!("upstreams[{index}]");
        if !seen.insert(&upstream.name) {
            let message =
                format!("is {:?} a second time: each server needs a name of its own", upstream.name);
            wrong(format!("{path}.name"), message);
        }
        if OWN_CATEGORIES.contains(&upstream.name.as_str()) {
            let message = format!(
                "is {:?}, a category of the node's own tools: choose another name, for the tools of the server would not be found",
                upstream.name
            );
            wrong(format!("{path}.name"), message);
        }
        if upstream.name.len() > MAX_UPSTREAM_NAME {
            let message = format!(
                "is {:?}: expected at most {MAX_UPSTREAM_NAME} characters, since the names of its tools begin with it",
                upstream.name
            );
            wrong(format!("{path}.name"), message);
        }
        let has_program = upstream.command.first().is_some_and(|program| !program.is_empty());
        match (has_program, &upstream.url) {
            (true, Some(_)) => {
                wrong(format!("{path}.url"), "and command exclude one another: give one of them".into())
            }
            (false, None) => wrong(
                format!("{path}.command"),
                "is missing: give the program of the server, or its url".into(),
            ),
            (false, Some(_)) if !upstream.env.is_empty() => {
                wrong(format!("{path}.env"), "has no effect on a server that is reached by its url".into());
            }
            _ => {}
        }
        headers(upstream, &path, wrong);
    }
}

/// The values are secret and never quoted.
fn headers(upstream: &UpstreamConfig, path: &str, wrong: &mut impl FnMut(String, String)) {
    if !upstream.headers.is_empty() && upstream.url.is_none() {
        wrong(format!("{path}.headers"), "has no effect on a server that is started by its command".into());
    }
    for (name, value) in &upstream.headers {
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            let message =
                format!("has the name {name:?}: expected the name of an HTTP header, such as X-Api-Key");
            wrong(format!("{path}.headers"), message);
        } else if HeaderValue::from_str(value.expose()).is_err() {
            let message =
                format!("has a value of {name} that no HTTP header can have: expected one line of text");
            wrong(format!("{path}.headers"), message);
        }
    }
}
