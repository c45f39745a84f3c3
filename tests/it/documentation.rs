//! The documentation says what the program does: lists in it are compared with the real ones, and configurations in it
//! are loaded.

use crate::readme::blocks;
use crate::support::{config, run_cli};
use meshwork_proto::ErrorCode;
use std::collections::BTreeSet;

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn every_error_code_is_documented_with_whether_to_try_again() {
    let text = read("docs/errors.md");
    let documented: BTreeSet<(String, bool)> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let code = cells.next()?.trim().trim_end_matches('`').to_owned();
            Some((code, cells.next()?.trim() == "yes"))
        })
        .collect();
    let real: BTreeSet<(String, bool)> =
        ErrorCode::ALL.iter().map(|code| (code.as_str().to_owned(), code.is_transient())).collect();
    assert_eq!(documented, real);
}

/// What stands where a person puts the id of a node of theirs.
const SOME_ID: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

#[tokio::test(flavor = "multi_thread")]
async fn every_configuration_of_the_page_on_membership_can_be_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let text = read("docs/membership.md");
    let examples = blocks(&text, "yaml");
    assert!(examples.len() >= 7, "the page shows {} configurations", examples.len());
    for (n, lines) in examples.iter().enumerate() {
        let example = lines.join("\n").replace("12D3KooW...", SOME_ID);
        let file = config(dir.path(), &format!("example-{n}.yaml"), &example);
        let (code, out, err) = run_cli(&["config", "check", &file]).await;
        assert_eq!(code, 0, "{example}\n{out}{err}");
    }
}
