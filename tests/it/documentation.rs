//! The documentation says what the program does: lists in it are compared with the real ones.

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
