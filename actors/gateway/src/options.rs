//! What can be set about the gateway, with the defaults.

use crate::error::GatewayError;
use crate::tools::OWN_CATEGORIES;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Largest JSON document in bytes, as payload and as result: the most that a queue can be set to take.
pub(crate) const MAX_DOCUMENT: usize = 64 * 1024 * 1024;
/// Largest message of MCP in bytes: the largest document, with room for what is around it.
pub(crate) const MAX_MESSAGE: usize = 96 * 1024 * 1024;
/// Most upstream servers of one node.
const MAX_UPSTREAMS: usize = 256;
/// Longest name of an upstream server: it is the beginning of its tools' names, which have at most 64 characters.
const MAX_UPSTREAM_NAME: usize = 32;

/// What can be set about the gateway.
#[derive(Debug, Clone, Default)]
pub struct GatewayOptions {
    /// The HTTP endpoint.
    pub http: HttpOptions,
    /// How much is served at the same time.
    pub limits: ServeLimits,
    /// How large documents of workflows may be.
    pub workflows: WorkflowLimits,
    /// Upstream MCP servers to run or to connect to.
    pub upstreams: Vec<UpstreamOptions>,
    /// Environment that every upstream process starts with, before its own `env`: what the node hands on of its own
    /// environment (`PATH`, `HOME`, `LANG`, ...). Nothing else is inherited, so that no secret of the node reaches a tool.
    pub base_env: BTreeMap<String, String>,
    /// Seed of the jitter in restart delays.
    pub seed: u64,
}

/// How large documents of workflows may be: larger ones are refused before they are stored or fetched. What the coordinator
/// accepts is for it to say; these should be the same numbers.
#[derive(Debug, Clone, Copy)]
pub struct WorkflowLimits {
    /// Largest definition in bytes, as canonical JSON.
    pub definition_bytes: u64,
    /// Largest inputs of a run in bytes, as canonical JSON.
    pub inputs_bytes: u64,
}

impl Default for WorkflowLimits {
    fn default() -> Self {
        Self { definition_bytes: 1024 * 1024, inputs_bytes: 1024 * 1024 }
    }
}

/// The HTTP endpoint.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Values of the `Host` header that are answered, with or without port; others are refused, which stops DNS
    /// rebinding. Empty: all.
    pub allowed_hosts: Vec<String>,
    /// Values of the `Origin` header that are answered (`scheme://host:port`, `:*` for any port); a request without the
    /// header is answered, one with another value is refused.
    pub allowed_origins: Vec<String>,
    /// Largest body of a request in bytes. It must have room for the largest payload and for what is around it.
    pub max_body_bytes: usize,
    /// Most sessions of clients of the older era; above it the one that was not used for longest is closed.
    pub max_sessions: usize,
    /// A session is closed when it was not used for so long.
    pub session_idle: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        let loopback = ["localhost", "127.0.0.1", "[::1]"];
        Self {
            allowed_hosts: vec!["localhost".into(), "127.0.0.1".into(), "::1".into()],
            allowed_origins: loopback.iter().map(|host| format!("http://{host}:*")).collect(),
            max_body_bytes: MAX_MESSAGE,
            max_sessions: 1024,
            session_idle: Duration::from_secs(300),
        }
    }
}

/// How many requests are served at the same time; more are refused as `busy`.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// Requests that wait to be taken up, of every kind.
    pub queued: usize,
    /// Requests that are answered at once: submits, renewals, reports, reads.
    pub short: usize,
    /// Requests that may take long: claims and reads that wait, tool calls. They have their own limit, so that waiters
    /// never keep a lease from being renewed.
    pub long: usize,
    /// Calls to upstream servers that wait to be taken up.
    pub upstream_queued: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self { queued: 1024, short: 1024, long: 8192, upstream_queued: 1024 }
    }
}

/// One upstream MCP server: a command to run (stdio) or an address (Streamable HTTP).
#[derive(Debug, Clone)]
pub struct UpstreamOptions {
    /// Its name: letters, digits, `-` and `_`, at most 32; its tools are called `<name>__<tool>`.
    pub name: String,
    /// Program and arguments; empty when there is an address.
    pub command: Vec<String>,
    /// Address of its MCP endpoint (`http://` or `https://`).
    pub url: Option<String>,
    /// Environment of the process, over the base environment.
    pub env: BTreeMap<String, String>,
    /// Working directory of the process.
    pub cwd: Option<PathBuf>,
    /// HTTP headers sent with every request, such as `authorization`.
    pub headers: BTreeMap<String, String>,
    /// How long starting, the handshake and the first list of tools may take together.
    pub startup_timeout: Duration,
    /// How long one call may take at most.
    pub call_timeout: Duration,
    /// Calls under way at the same time; more wait.
    pub concurrency: u32,
    /// Only these tools (names as the server has them); none = all.
    pub tools: Option<BTreeSet<String>>,
}

impl UpstreamOptions {
    /// A server that is run by this command.
    #[must_use]
    pub fn command(name: impl Into<String>, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { command: command.into_iter().map(Into::into).collect(), ..Self::named(name.into()) }
    }

    /// A server at this address.
    #[must_use]
    pub fn url(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self { url: Some(url.into()), ..Self::named(name.into()) }
    }

    fn named(name: String) -> Self {
        Self {
            name,
            command: Vec::new(),
            url: None,
            env: BTreeMap::new(),
            cwd: None,
            headers: BTreeMap::new(),
            startup_timeout: Duration::from_secs(60),
            call_timeout: Duration::from_secs(600),
            concurrency: 8,
            tools: None,
        }
    }

    fn check(&self) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || self.name.len() > MAX_UPSTREAM_NAME || !self.name.chars().all(plain) {
            return Err(format!(
                "is not a usable name: expected 1 to {MAX_UPSTREAM_NAME} letters, digits, '-' and '_'"
            ));
        }
        match (&self.url, self.command.first()) {
            (Some(_), Some(_)) => return Err("has both a command and a url: expected one of them".into()),
            (None, None) => return Err("has neither a command nor a url: expected one of them".into()),
            (None, Some(program)) if program.is_empty() => {
                return Err(
                    "has an empty program: expected a command such as [\"uvx\", \"mcp-server-git\"]".into()
                );
            }
            (Some(url), None) => check_url(url)?,
            (None, Some(_)) => {}
        }
        if self.concurrency == 0 {
            return Err("concurrency is 0: expected at least 1".into());
        }
        if self.startup_timeout.is_zero() || self.call_timeout.is_zero() {
            return Err("a timeout is 0: expected more than 0 seconds".into());
        }
        crate::http_client::header_map(&self.headers).map(drop)
    }
}

fn check_url(url: &str) -> Result<(), String> {
    let problem = match reqwest::Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => return Ok(()),
        Ok(_) => "it is not an http or https address".to_owned(),
        Err(error) => error.to_string(),
    };
    let url = crate::causes::redact(url);
    Err(format!("url {url:?} cannot be used ({problem}): expected for example http://127.0.0.1:9000/mcp"))
}

impl GatewayOptions {
    /// Checks everything that can be checked without starting anything.
    ///
    /// # Errors
    /// The first upstream server that is configured wrongly.
    pub fn check(&self) -> Result<(), GatewayError> {
        let wrong =
            |name: &str, problem: String| Err(GatewayError::Upstream { name: name.to_owned(), problem });
        if self.upstreams.len() > MAX_UPSTREAMS {
            return wrong(
                "*",
                format!("{} servers are configured: at most {MAX_UPSTREAMS}", self.upstreams.len()),
            );
        }
        let mut names = BTreeSet::new();
        for upstream in &self.upstreams {
            if let Err(problem) = upstream.check() {
                return wrong(&upstream.name, problem);
            }
            if OWN_CATEGORIES.contains(&upstream.name.as_str()) {
                let problem = format!(
                    "has the name of a category of the node's own tools ({}): choose another one",
                    OWN_CATEGORIES.join(", ")
                );
                return wrong(&upstream.name, problem);
            }
            if !names.insert(upstream.name.as_str()) {
                return wrong(&upstream.name, "is configured twice: names must differ".into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(upstreams: Vec<UpstreamOptions>) -> String {
        GatewayOptions { upstreams, ..GatewayOptions::default() }.check().unwrap_err().to_string()
    }

    #[test]
    fn a_command_or_an_address_is_enough() {
        let upstreams = vec![
            UpstreamOptions::command("git", ["uvx", "mcp-server-git"]),
            UpstreamOptions::url("web", "http://127.0.0.1:9000/mcp"),
        ];
        assert!(GatewayOptions { upstreams, ..GatewayOptions::default() }.check().is_ok());
    }

    #[test]
    fn wrong_servers_are_named_with_what_would_be_right() {
        let git = || UpstreamOptions::command("git", ["git"]);
        assert!(problem(vec![git(), git()]).contains("twice"));
        assert!(
            problem(vec![UpstreamOptions { name: "peers".into(), ..git() }])
                .contains("taskqueue, peers, workflows")
        );
        assert!(problem(vec![UpstreamOptions { name: "a b".into(), ..git() }]).contains("\"a b\""));
        assert!(problem(vec![UpstreamOptions { command: vec![], ..git() }]).contains("neither"));
        assert!(problem(vec![UpstreamOptions { url: Some("http://x/".into()), ..git() }]).contains("both"));
        assert!(problem(vec![UpstreamOptions::url("web", "ftp://x/")]).contains("http or https"));
        assert!(problem(vec![UpstreamOptions { concurrency: 0, ..git() }]).contains("at least 1"));
        let headers = BTreeMap::from([("bad header".to_owned(), "x".to_owned())]);
        assert!(problem(vec![UpstreamOptions { headers, ..git() }]).contains("bad header"));
    }
}
