//! Contacts in a file: a multiaddress per line with `#` comments, or the JSON of the Python nodes (the announce file, an
//! entry of a registry, a registry in a single file), or a JSON list; a directory is a registry with one file per node.

use super::places::{MAX_ENTRIES, Reading};
use crate::address::Address;
use crate::clip::clip;
use crate::sources::entry::{Entry, MAX_ENTRY};
use serde_json::Value;
use std::io::Read;
use std::path::Path;

/// Largest file that is read, in bytes.
const MAX_FILE: usize = 1024 * 1024;

/// Reads a file or directory.
///
/// # Errors
/// Why it cannot be read as a whole.
pub(super) fn read(path: &Path) -> Result<Reading, String> {
    let seen = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if seen.is_dir() {
        return read_directory(path);
    }
    if !seen.is_file() {
        // A pipe would be waited for.
        return Err("it is no regular file".into());
    }
    parse(&load(path, MAX_FILE)?)
}

fn load(path: &Path, max: usize) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > max {
        return Err(format!("it is larger than {max} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is no text".into())
}

fn read_directory(path: &Path) -> Result<Reading, String> {
    let mut reading = Reading::default();
    let files = std::fs::read_dir(path).map_err(|error| error.to_string())?;
    for file in files.take(MAX_ENTRIES * 4) {
        let path = file.map_err(|error| error.to_string())?.path();
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let regular = std::fs::symlink_metadata(&path).is_ok_and(|seen| seen.is_file());
        if !(regular && name.starts_with("peer_") && name.ends_with(".json")) {
            continue;
        }
        let name = clip(&name, 80);
        match load(&path, MAX_ENTRY).and_then(|text| json(&text)) {
            Ok(value) => add_value(&mut reading, &value, &name),
            Err(problem) => reading.skip("", &name, problem),
        }
    }
    Ok(reading)
}

/// Reads the text of a file.
fn parse(text: &str) -> Result<Reading, String> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with(['{', '[']) {
        return Ok(from_json(&json(text)?));
    }
    let mut reading = Reading::default();
    for (line, number) in text.lines().zip(1..) {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if !entry.is_empty() {
            reading.add(entry, &format!("line {number}"));
        }
    }
    Ok(reading)
}

fn json(text: &str) -> Result<Value, String> {
    // The parser's words say where it stopped, and nothing of what stands there.
    serde_json::from_str(text).map_err(|error| format!("it is no JSON (line {})", error.line()))
}

fn from_json(value: &Value) -> Reading {
    let mut reading = Reading::default();
    match (value, value.get("peers")) {
        (_, Some(Value::Object(peers))) => {
            for (entry, number) in peers.values().zip(1..) {
                add_value(&mut reading, entry, &format!("entry {number}"));
            }
        }
        (_, Some(Value::Array(list))) | (Value::Array(list), _) => {
            for (entry, number) in list.iter().zip(1..) {
                add_value(&mut reading, entry, &format!("entry {number}"));
            }
        }
        _ => add_value(&mut reading, value, "the entry"),
    }
    reading
}

/// An address as text, or an object with a peer's id and address.
fn add_value(reading: &mut Reading, value: &Value, place: &str) {
    if let Value::String(entry) = value {
        return reading.add(entry, place);
    }
    match Entry::read(value) {
        Ok(entry) => {
            for text in &entry.addresses {
                match text.parse::<Address>() {
                    // The id beside the address is as good as one in it.
                    Ok(address) => {
                        reading.add_address(Address { peer: Some(entry.peer.clone()), ..address });
                    }
                    Err(problem) => reading.skip(text, place, problem.into()),
                }
            }
        }
        Err(problem) => match value.get("multiaddr").and_then(Value::as_str) {
            // Without an id it is still an address.
            Some(address) if value.get("peer_id").is_none_or(Value::is_null) => reading.add(address, place),
            _ => reading.skip("", place, problem),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const A: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    const B: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";

    fn at(ip: &str, peer: &str) -> String {
        format!("/ip4/{ip}/tcp/9710/p2p/{peer}")
    }

    fn addresses(text: &str) -> Vec<String> {
        parse(text).unwrap().found().into_iter().flat_map(|contact| contact.addresses).collect()
    }

    #[test]
    fn a_line_is_an_address_and_a_comment_is_none() {
        let text = format!("# the mesh\n\n{}  # first\n/ip4/198.51.100.9/tcp/1\r\n", at("198.51.100.7", A));
        assert_eq!(addresses(&text), [at("198.51.100.7", A), "/ip4/198.51.100.9/tcp/1".into()]);
    }

    #[test]
    fn the_announce_file_of_a_python_node_is_read() {
        let text = json!({"peer_id": A, "multiaddr": at("198.51.100.7", A)}).to_string();
        assert_eq!(addresses(&text), [at("198.51.100.7", A)]);
        let without = json!({"peer_id": A, "multiaddr": "/ip4/198.51.100.7/tcp/9710"}).to_string();
        assert_eq!(addresses(&without), [at("198.51.100.7", A)]);
    }

    #[test]
    fn a_registry_in_a_single_file_and_lists_are_read() {
        let one = json!({"peer_id": A, "multiaddr": at("198.51.100.7", A), "last_seen": 1_700_000_000.5});
        let two = json!({"multiaddr": at("198.51.100.8", B)});
        let both = [at("198.51.100.7", A), at("198.51.100.8", B)];
        assert_eq!(addresses(&json!({"peers": {"a": one, "b": two}, "last_cleanup": 1.0}).to_string()), both);
        assert_eq!(addresses(&json!({"peers": [one, two]}).to_string()), both);
        assert_eq!(addresses(&json!([one, at("198.51.100.8", B)]).to_string()), both);
    }

    #[test]
    fn a_directory_with_a_file_per_node_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(directory.path().join(name), text).unwrap();
        write("peer_one.json", json!({"peer_id": A, "multiaddr": at("198.51.100.7", A)}).to_string());
        write("peer_two.json", "{".into());
        write("notes.txt", "nothing".into());
        let reading = read(directory.path()).unwrap();
        assert_eq!(reading.found().len(), 1);
        assert_eq!(reading.skipped.len(), 1);
        assert_eq!(reading.skipped[0].entry, "peer_two.json");
    }

    #[test]
    fn what_else_is_in_a_file_is_not_told() {
        let reading = parse("root:$6$secret:19000:0\n/ip4/1.2.3/tcp/1\n").unwrap();
        let told = format!("{:?}", reading.skipped);
        assert!(
            !told.contains("secret") && told.contains("line 1") && told.contains("/ip4/1.2.3/tcp/1"),
            "{told}"
        );
    }

    #[test]
    fn a_file_that_is_too_large_is_missing_or_is_no_file_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peers");
        assert!(read(&path).is_err());
        std::fs::write(&path, "#".repeat(MAX_FILE + 1)).unwrap();
        assert!(read(&path).unwrap_err().contains("larger"));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read(&path).unwrap_err().contains("no text"));
        assert!(read(Path::new("/dev/null")).unwrap_err().contains("no regular file"));
        assert!(parse("{\"peers\": ").unwrap_err().contains("no JSON"));
    }

    #[test]
    fn ten_thousand_entries_are_bounded_and_the_rest_is_told() {
        let text: String = (0..10_000).map(|n| format!("/ip4/198.51.100.7/tcp/{}\n", n + 1)).collect();
        let (found, skipped) = parse(&text).unwrap().into_parts();
        assert_eq!(found.len(), MAX_ENTRIES);
        assert!(skipped.last().unwrap().entry.contains("9744 further"), "{skipped:?}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\PC\n]{0,80}") {
            let _ = parse(&text);
            let _ = parse(&format!("{{\"peers\": {{\"x\": {text}}}}}"));
        }
    }
}
