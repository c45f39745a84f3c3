//! The HTTP client for upstream servers and for the bridge: pooled, without Nagle's delay.

use axum::http::{HeaderName, HeaderValue};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

/// A client for MCP at this address. Connections are kept; proxies are not asked for addresses on this machine.
pub(crate) fn http_client(url: &str) -> Result<reqwest::Client, reqwest::Error> {
    // reqwest is built without a TLS library of its own choice. A second installation is refused, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(60))
        // A redirect would carry session id and authorization to wherever the server says.
        .redirect(reqwest::redirect::Policy::none());
    let builder = if is_loopback(url) { builder.no_proxy() } else { builder };
    builder.build()
}

fn is_loopback(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The headers as the HTTP client takes them.
pub(crate) fn header_map(
    headers: &BTreeMap<String, String>,
) -> Result<HashMap<HeaderName, HeaderValue>, String> {
    let mut map = HashMap::new();
    for (name, value) in headers {
        let name = HeaderName::try_from(name.as_str())
            .map_err(|_| format!("{name:?} is not the name of an HTTP header"))?;
        // The value may be a secret: it is not repeated.
        let mut value = HeaderValue::try_from(value.as_str())
            .map_err(|_| format!("the value of HTTP header {name} has characters that no header may have"))?;
        value.set_sensitive(true);
        map.insert(name, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_are_told_from_others() {
        for here in ["http://127.0.0.1:8000/mcp", "http://localhost/mcp", "http://[::1]:80/"] {
            assert!(is_loopback(here), "{here}");
        }
        for other in ["http://192.0.2.1/mcp", "https://example.com/", "no address"] {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
