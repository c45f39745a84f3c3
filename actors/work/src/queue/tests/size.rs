//! What a queued task costs in memory.

use super::bench::{Bench, labels, task};
use crate::queue::logic::live_size;

/// B-tree entries are a little more than half full when keys come in order: about twice their size each. A task has one
/// in each of: by id (16 + 4 bytes), the line of its lane (8 + 4), the oldest first (8 + 4 + padding).
const TREES: usize = 2 * ((16 + 4) + (8 + 4) + 16);

#[test]
fn a_queued_task_takes_less_than_two_hundred_bytes() {
    assert!(live_size() + TREES < 210, "{} + {TREES}", live_size());
}

#[test]
fn tasks_of_one_kind_share_their_names() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        let mut spec = task("tool");
        spec.labels = labels(&["a", "b"]);
        spec.tenant = Some("tenant".into());
        bench.submit(spec);
    }
    assert_eq!(bench.state.shared_counts(), (2, 1));
}
