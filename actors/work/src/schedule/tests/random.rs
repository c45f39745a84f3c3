//! Random times, clocks, crashes and requests: what holds for all of them.

use super::bench::{Bench, START, busy, every, forbidden};
use meshwork_proto::schedule::{AddSchedule, Missed, ScheduleAction};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Advance(u64),
    Down {
        ms: u64,
        steps: usize,
        unheard: bool,
    },
    /// By less than what counts as a correction.
    SetBack(u64),
    SetForward(u64),
    Control(usize),
    Refuse(bool),
    Finish,
}

fn step() -> impl Strategy<Value = Step> {
    let down = (0..200_000_u64, 0..4_usize, any::<bool>());
    prop_oneof![
        8 => (0..60_000_u64).prop_map(Step::Advance),
        3 => down.prop_map(|(ms, steps, unheard)| Step::Down { ms, steps, unheard }),
        1 => (0..600_000_u64).prop_map(Step::SetBack),
        1 => (0..600_000_u64).prop_map(Step::SetForward),
        2 => (0..3_usize).prop_map(Step::Control),
        2 => any::<bool>().prop_map(Step::Refuse),
        2 => Just(Step::Finish),
    ]
}

fn missed() -> impl Strategy<Value = Missed> {
    prop_oneof![Just(Missed::Skip), Just(Missed::Once), Just(Missed::All)]
}

fn take(bench: &mut Bench, step: Step) {
    match step {
        Step::Advance(ms) => bench.advance(ms),
        Step::Down { ms, steps, unheard } => {
            bench.auto = false;
            bench.advance(15_000);
            for _ in 0..steps {
                bench.step();
            }
            if unheard {
                bench.step_unheard();
            }
            bench.auto = true;
            bench.down(ms);
        }
        // Not before the story began.
        Step::SetBack(ms) => bench.set_clock(-i64::try_from(ms.min(bench.now.0 - START.0)).unwrap()),
        Step::SetForward(ms) => bench.set_clock(i64::try_from(ms).unwrap()),
        Step::Control(n) => {
            let action = [ScheduleAction::Pause, ScheduleAction::Resume, ScheduleAction::Trigger][n];
            // A start by hand may be refused, or wait for another one.
            bench.control_ticket(meshwork_proto::Caller::Local, "tick", action);
        }
        Step::Refuse(again) => bench.outside.refusals.push_back(if again { busy() } else { forbidden() }),
        Step::Finish => bench.outside.finish_all(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_time_is_started_twice_and_everything_that_was_made_is_recorded(
        missed in missed(),
        no_overlap in any::<bool>(),
        period in 5_000..40_000_u64,
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let mut bench = Bench::new();
        bench.add(AddSchedule { missed, no_overlap, ..every(period) });
        for step in steps {
            if bench.outside.created.len() > 120 {
                break;
            }
            take(&mut bench, step);
            prop_assert!(bench.fatal.is_none());
            let dues = bench.dues();
            prop_assert!(dues.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", dues);
            prop_assert!(dues.iter().all(|due| due % period == 0));
        }
        bench.outside.refusals.clear();
        bench.control(ScheduleAction::Resume).unwrap();
        bench.outside.finish_all();
        // Tries of what could not be made, and what the clock was set back by.
        bench.advance(40_000 + 600_000);
        let view = bench.tick();
        prop_assert_eq!(view.starts, bench.outside.created.len() as u64);
        prop_assert_eq!(bench.state.starting(), (0, 0));
        let behind = view.next.unwrap().0.saturating_sub(bench.now.0);
        prop_assert!(behind <= period + 600_000 * 40, "it goes on: {behind}");
    }
}
