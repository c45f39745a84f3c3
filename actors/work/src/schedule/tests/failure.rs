//! Starts that cannot be made, and a store that fails.

use super::bench::{Bench, HOUR, busy, every, forbidden};
use crate::schedule::logic::{Failure, Note};
use meshwork_proto::ErrorCode;
use meshwork_proto::MeshError;
use meshwork_proto::schedule::{AddSchedule, Missed};
use meshwork_proto::store::StoreError;

#[test]
fn a_start_that_cannot_be_made_now_is_tried_again_under_the_same_key() {
    let mut bench = Bench::new();
    bench.add(every(HOUR));
    bench.outside.refusals.extend([busy(), busy(), busy()]);
    bench.advance(HOUR);
    assert_eq!(bench.dues(), Vec::<u64>::new());
    bench.advance(10_000);
    assert_eq!(bench.dues(), [HOUR]);
    let view = bench.tick();
    assert_eq!((view.starts, view.last.len(), view.skipped), (1, 1, 0));
    assert!(view.last[0].at > view.last[0].due);
}

#[test]
fn after_some_tries_the_error_is_kept_and_the_next_time_comes() {
    let mut bench = Bench::new();
    bench.add(every(HOUR));
    bench.outside.refusals.extend(std::iter::repeat_n(busy(), 6));
    bench.advance(HOUR + 120_000);
    assert!(bench.outside.refusals.is_empty(), "six tries");
    let view = bench.tick();
    assert_eq!(view.last[0].error.as_ref().unwrap().code, ErrorCode::QueueFull);
    assert_eq!((view.starts, view.last[0].task), (0, None));
    assert!(bench.notes.iter().any(|note| matches!(note, Note::Failed { name, .. } if name == "tick")));
    bench.advance(HOUR);
    assert_eq!(bench.dues(), [2 * HOUR]);
}

#[test]
fn times_that_pass_during_the_tries_are_dealt_with_by_the_rule() {
    for (missed, expected) in [(Missed::Once, vec![1000, 2000, 3000]), (Missed::All, vec![1000, 2000, 3000])]
    {
        let mut bench = Bench::new();
        bench.add(AddSchedule { missed, ..every(1000) });
        bench.outside.refusals.push_back(busy());
        bench.advance(1000);
        bench.advance(2000);
        assert_eq!(bench.dues(), expected, "{missed:?}");
    }
}

#[test]
fn a_lasting_refusal_is_kept_at_once() {
    let mut bench = Bench::new();
    bench.add(every(10_000));
    let message = "x".repeat(10_000);
    bench
        .outside
        .refusals
        .push_back(Failure { error: MeshError { message, ..forbidden().error }, again: false });
    bench.advance(20_000);
    let view = bench.tick();
    assert_eq!((view.starts, view.last.len()), (1, 2));
    assert_eq!(view.last[1].error.as_ref().unwrap().message.len(), 500, "bounded");
    assert_eq!(bench.dues(), [20_000]);
}

#[test]
fn while_the_node_drains_a_start_waits_and_is_made_after_the_next_start_of_the_node() {
    let mut bench = Bench::new();
    bench.add(every(HOUR));
    let draining = Failure { error: MeshError::new(ErrorCode::Draining, "node is draining"), again: true };
    bench.outside.refusals.extend(std::iter::repeat_n(draining, 1000));
    bench.advance(HOUR + 300_000);
    assert!(bench.outside.refusals.len() > 980, "it does not ask all the time");
    assert_eq!(bench.tick().last, []);
    bench.outside.refusals.clear();
    bench.down(60_000);
    assert_eq!(bench.dues(), [HOUR]);
}

#[test]
fn a_database_error_ends_the_state_and_the_next_one_makes_the_same_start() {
    let mut bench = Bench::new();
    bench.add(every(10_000));
    bench.auto = false;
    bench.advance(10_000);
    bench.step();
    bench.step();
    assert_eq!(bench.outside.created.len(), 1, "it was made");
    bench.refuse_commit(StoreError::Database("io error".into()));
    assert_eq!(bench.fatal, Some(StoreError::Database("io error".into())));
    assert_eq!(bench.state.next_due(), None);
    assert!(bench.try_add(every(5000)).is_err(), "the shell builds another state");
    assert!(bench.pending.is_empty(), "and nothing of this one gets to the store");
    bench.auto = true;
    bench.restart();
    let view = bench.tick();
    assert_eq!((bench.outside.created.len(), view.starts, view.last.len()), (1, 1, 1));
}
