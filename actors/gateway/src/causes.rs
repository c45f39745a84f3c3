//! What went wrong, as a user may read it: the cause itself, without type names of the SDK and without secrets of a URL.

use rmcp::service::{ClientInitializeError, ServiceError};
use rmcp::transport::DynamicTransportError;
use rmcp::transport::streamable_http_client::StreamableHttpError;
use std::error::Error;

/// Why a handshake failed.
pub(crate) fn of_handshake(error: &ClientInitializeError) -> String {
    match error {
        ClientInitializeError::TransportError { error, .. } => of_transport(error),
        // The older protocol was tried last: what failed there is what is left to repair.
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => of_handshake(fallback),
        other => redact(&other.to_string()),
    }
}

/// Why a request got no answer.
pub(crate) fn of_request(error: &ServiceError) -> String {
    match error {
        ServiceError::TransportSend(error) => of_transport(error),
        other => redact(&other.to_string()),
    }
}

fn of_transport(error: &DynamicTransportError) -> String {
    match error.error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
        // It says that sending failed, to which URL, and only its causes say why.
        Some(StreamableHttpError::Client(http)) => innermost(http),
        _ => redact(&error.error.to_string()),
    }
}

fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    redact(&cause.to_string())
}

/// The text without what may be a secret in the URLs in it: user information, query and fragment.
pub(crate) fn redact(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | '`'));
        let (url, behind) = after.split_at(end.unwrap_or(after.len()));
        push_bare(&mut shown, url);
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

fn push_bare(shown: &mut String, url: &str) {
    let authority_end = url.find(['/', '?', '#']).unwrap_or(url.len());
    let (authority, path) = url.split_at(authority_end);
    shown.push_str(authority.rsplit('@').next().unwrap_or(authority));
    match path.find(['?', '#']) {
        Some(secret) => {
            shown.push_str(path.get(..secret).unwrap_or_default());
            shown.push_str("?...");
            // Punctuation behind the URL belongs to the sentence.
            let url_end = path.trim_end_matches([')', '.', ',', ';', ':', '\'', ']']).len();
            shown.push_str(path.get(url_end..).unwrap_or_default());
        }
        None => shown.push_str(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_urls_are_left_out_and_the_rest_stays() {
        let text =
            "error for url (https://me:topsecret@host:8/mcp?key=topsecret#topsecret): no, see http://x/y.";
        assert_eq!(redact(text), "error for url (https://host:8/mcp?...): no, see http://x/y.");
        assert_eq!(redact("http://topsecret@host?k=to)psecret"), "http://host?...");
        assert_eq!(redact("\"http://host?topsecret\" :// ä"), "\"http://host?...\" :// ä");
        assert_eq!(redact("nothing to hide"), "nothing to hide");
    }
}
