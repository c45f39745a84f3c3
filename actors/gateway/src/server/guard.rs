//! Which requests are answered at all: those whose `Host` and `Origin` are allowed. A page in a browser on this machine
//! can reach this address, and DNS rebinding makes it look like one of its own; neither can choose these two headers.

use crate::options::HttpOptions;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// The allowed hosts and origins.
#[derive(Debug)]
struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// The routes, answered only for allowed hosts and origins; others get 403.
pub(crate) fn guarded(options: &HttpOptions, routes: Router) -> Router {
    let guard = Guard { hosts: options.allowed_hosts.clone(), origins: options.allowed_origins.clone() };
    routes.layer(from_fn_with_state(Arc::new(guard), check))
}

async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.refusal(request.uri(), request.headers()) {
        Some(reason) => (StatusCode::FORBIDDEN, reason).into_response(),
        None => next.run(request).await,
    }
}

impl Guard {
    fn refusal(&self, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
        if !self.allows_host(uri, headers) {
            return Some("Forbidden: Host header is not allowed");
        }
        match headers.get(header::ORIGIN) {
            Some(origin) if !origin.to_str().is_ok_and(|origin| self.allows_origin(origin)) => {
                Some("Forbidden: Origin header is not allowed")
            }
            _ => None,
        }
    }

    fn allows_host(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        if self.hosts.is_empty() {
            return true;
        }
        let given = match headers.get(header::HOST) {
            Some(host) => host.to_str().ok().and_then(|host| Authority::try_from(host).ok()),
            None => uri.authority().cloned(),
        };
        given.is_some_and(|given| {
            let (given_host, given_port) = (bare(given.host()), given.port_u16());
            self.hosts.iter().any(|allowed| {
                // An address of IPv6 without brackets is a host, and no authority.
                let (host, port) = match Authority::try_from(allowed.trim()) {
                    Ok(allowed) => (bare(allowed.host()), allowed.port_u16()),
                    Err(_) => (bare(allowed.trim()), None),
                };
                !host.is_empty() && host == given_host && (port.is_none() || port == given_port)
            })
        })
    }

    fn allows_origin(&self, given: &str) -> bool {
        if given.trim().eq_ignore_ascii_case("null") {
            return self.origins.iter().any(|allowed| allowed.trim().eq_ignore_ascii_case("null"));
        }
        let Some(given) = origin(given) else {
            return false;
        };
        self.origins.iter().any(|allowed| {
            let allowed = allowed.trim();
            origin(allowed.strip_suffix(":*").unwrap_or(allowed)).is_some_and(|(scheme, host, port)| {
                let same_port = port.is_none() || port == given.2.or_else(|| default_port(&scheme));
                same_port && scheme == given.0 && host == given.1
            })
        })
    }
}

/// Scheme, host and port of an origin.
fn origin(text: &str) -> Option<(String, String, Option<u16>)> {
    let uri = Uri::try_from(text.trim()).ok()?;
    let authority = uri.authority()?;
    Some((uri.scheme_str()?.to_ascii_lowercase(), bare(authority.host()), authority.port_u16()))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn bare(host: &str) -> String {
    host.trim_matches(['[', ']']).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(options: &HttpOptions, name: header::HeaderName, value: &str) -> bool {
        let guard = Guard { hosts: options.allowed_hosts.clone(), origins: options.allowed_origins.clone() };
        let mut headers = HeaderMap::from_iter([(header::HOST, "localhost:1".parse().unwrap())]);
        headers.insert(name, value.parse().unwrap());
        guard.refusal(&Uri::from_static("/status"), &headers).is_none()
    }

    #[test]
    fn only_this_machine_is_allowed_if_nothing_else_is_said() {
        let options = HttpOptions::default();
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"] {
            assert!(answered(&options, header::HOST, host), "{host}");
        }
        for host in ["evil.com", "localhost.evil.com", "127.0.0.2", ""] {
            assert!(!answered(&options, header::HOST, host), "{host}");
        }
        assert!(answered(&options, header::ORIGIN, "http://[::1]:8000"));
        for origin in ["http://evil.com", "https://localhost:1", "null", "nonsense"] {
            assert!(!answered(&options, header::ORIGIN, origin), "{origin}");
        }
    }

    #[test]
    fn ports_count_where_they_are_given() {
        let options = HttpOptions {
            allowed_hosts: vec!["localhost".into(), "mesh:80".into()],
            allowed_origins: vec!["https://mesh:443".into(), "null".into()],
            ..HttpOptions::default()
        };
        assert!(answered(&options, header::HOST, "mesh:80") && !answered(&options, header::HOST, "mesh:81"));
        assert!(answered(&options, header::ORIGIN, "https://mesh"));
        assert!(!answered(&options, header::ORIGIN, "https://mesh:444"));
        assert!(answered(&options, header::ORIGIN, "null"));
    }
}
