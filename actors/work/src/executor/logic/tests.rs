//! Slot accounting: the rules one by one, and all of them over random sequences.

use super::*;
use proptest::prelude::*;

fn peer(n: u8) -> Source {
    let mut digest = [n; 34];
    digest[0] = 0x12;
    digest[1] = 0x20;
    Source::Peer(base58(&digest).parse().unwrap())
}

/// Just enough base58 to make valid peer ids.
fn base58(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut digits: Vec<u32> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += *digit << 8;
            *digit = carry % 58;
            carry /= 58;
        }
        while carry > 0 {
            digits.push(carry % 58);
            carry /= 58;
        }
    }
    digits.iter().rev().map(|digit| char::from(DIGITS[*digit as usize])).collect()
}

fn slots(total: u32, tools: &[(&str, u32)]) -> Slots {
    let mut slots = Slots::new(total);
    slots.set_tools(tools.iter().copied());
    slots
}

fn reserve(slots: &mut Slots, source: Source) -> Option<Lot> {
    let ticket = slots.wait(source);
    let lot = slots.reserve(ticket);
    slots.stop_waiting(ticket);
    lot
}

#[test]
fn the_own_queue_may_have_all_and_a_peer_half() {
    let mut all = slots(8, &[("echo", 8), ("grep", 3)]);
    let lot = reserve(&mut all, peer(1)).unwrap();
    assert_eq!((lot.credits, lot.rooms["echo"], lot.rooms["grep"]), (4, 4, 2));
    let rest = reserve(&mut all, Source::Local).unwrap();
    assert_eq!((rest.credits, rest.rooms["echo"], rest.rooms["grep"]), (4, 4, 1));
    assert_eq!(reserve(&mut all, Source::Local), None);
    all.give_back(lot);
    all.give_back(rest);
    assert_eq!(all.counts().free(), 8);
}

#[test]
fn what_a_claim_did_not_use_is_free_at_once_and_what_it_used_runs() {
    let mut all = slots(4, &[("echo", 4)]);
    let mut lot = reserve(&mut all, Source::Local).unwrap();
    assert!(all.start_reserved(&mut lot, "echo"));
    assert!(!all.start_reserved(&mut lot, "other"));
    all.give_back(lot);
    assert_eq!(all.counts(), Counts { total: 4, running: 1, reserved: 0 });
    all.end("echo");
    assert_eq!(all.counts().free(), 4);
}

#[test]
fn the_own_queue_comes_first_and_peers_in_their_order() {
    let mut all = slots(1, &[("echo", 1)]);
    all.start("echo").unwrap();
    let (first, second, own) = (all.wait(peer(1)), all.wait(peer(2)), all.wait(Source::Local));
    all.end("echo");
    assert_eq!(all.reserve(first), None);
    let lot = all.reserve(own).unwrap();
    all.stop_waiting(own);
    all.give_back(lot);
    assert_eq!(all.reserve(second), None);
    assert!(all.reserve(first).is_some());
}

#[test]
fn a_direct_call_is_told_whether_it_is_worth_waiting() {
    let mut all = slots(4, &[("one", 1), ("many", 9)]);
    let lot = reserve(&mut all, Source::Local).unwrap();
    assert_eq!(all.start("one"), Err(Refusal::Reserved { limit: 1 }));
    all.give_back(lot);
    all.start("one").unwrap();
    assert_eq!(all.start("one"), Err(Refusal::Busy { limit: 1 }));
    for _ in 0..3 {
        all.start("many").unwrap();
    }
    assert_eq!(all.start("many"), Err(Refusal::Busy { limit: 4 }));
    all.drain();
    assert_eq!(all.start("one"), Err(Refusal::Draining));
}

#[test]
fn credits_never_exceed_what_the_tools_have_room_for() {
    let mut all = slots(100, &[("a", 1), ("b", 2)]);
    assert_eq!(reserve(&mut all, Source::Local).unwrap().credits, 3);
    assert_eq!(reserve(&mut all, Source::Local), None);
}

#[test]
fn a_tool_that_goes_away_is_not_offered_but_its_calls_end_in_order() {
    let mut all = slots(4, &[("gone", 2), ("stays", 2)]);
    all.start("gone").unwrap();
    all.set_tools([("stays", 2)].into_iter());
    assert!(!all.open_tools().tools.contains_key("gone"));
    assert_eq!(all.start("gone"), Err(Refusal::Busy { limit: 0 }));
    all.end("gone");
    assert_eq!(all.counts().free(), 4);
    assert!(!all.tools.contains_key("gone"));
}

#[test]
fn it_says_when_there_is_more_to_offer_than_before() {
    let mut all = slots(4, &[("one", 1), ("many", 4)]);
    all.start("one").unwrap();
    let without = all.open_tools();
    assert!(!without.tools.contains_key("one") && !all.opens_more_than(&without));
    assert!(all.end("one"), "a tool that was full has room again");
    assert!(all.opens_more_than(&without));
    let everything = all.open_tools();
    all.start("many").unwrap();
    assert!(!all.end("many"), "nothing is possible that was not before");
    assert!(!all.opens_more_than(&everything));
    all.set_tools([("one", 1), ("many", 4), ("new", 1)].into_iter());
    assert!(all.opens_more_than(&everything));
}

#[test]
fn draining_reserves_nothing() {
    let mut all = slots(4, &[("echo", 4)]);
    all.drain();
    assert_eq!(reserve(&mut all, Source::Local), None);
    assert!(all.open_tools().tools.is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Reserve(u8),
    GiveBack(usize),
    StartReserved(usize, u8),
    Start(u8),
    End(usize),
    Tools(Vec<u32>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4_u8).prop_map(Step::Reserve),
        (0..4_usize).prop_map(Step::GiveBack),
        (0..4_usize, 0..4_u8).prop_map(|(lot, tool)| Step::StartReserved(lot, tool)),
        (0..4_u8).prop_map(Step::Start),
        (0..8_usize).prop_map(Step::End),
        proptest::collection::vec(1..5_u32, 0..4).prop_map(Step::Tools),
    ]
}

proptest! {
    #[test]
    fn no_sequence_breaks_a_limit_or_loses_a_place(total in 1..9_u32, steps in proptest::collection::vec(step(), 0..200)) {
        let mut all = slots(total, &[("t0", 2), ("t1", 1), ("t2", 9)]);
        let (mut lots, mut running): (Vec<Lot>, Vec<String>) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Reserve(0) => lots.extend(reserve(&mut all, Source::Local)),
                Step::Reserve(n) => lots.extend(reserve(&mut all, peer(n))),
                Step::GiveBack(n) if n < lots.len() => _ = all.give_back(lots.swap_remove(n)),
                Step::StartReserved(n, tool) if n < lots.len() => {
                    let tool = format!("t{tool}");
                    if all.start_reserved(&mut lots[n], &tool) {
                        running.push(tool);
                    }
                }
                Step::Start(tool) => {
                    let tool = format!("t{tool}");
                    if all.start(&tool).is_ok() {
                        running.push(tool);
                    }
                }
                Step::End(n) if n < running.len() => _ = all.end(&running.swap_remove(n)),
                Step::Tools(limits) => {
                    let names: Vec<_> = (0..limits.len()).map(|n| format!("t{n}")).collect();
                    all.set_tools(names.iter().map(String::as_str).zip(limits));
                }
                _ => {}
            }
            let counts = all.counts();
            prop_assert_eq!(counts.running as usize, running.len());
            prop_assert_eq!(counts.reserved, lots.iter().map(|lot| lot.credits).sum::<u32>());
            prop_assert!(counts.running + counts.reserved <= total);
            for (name, tool) in &all.tools {
                prop_assert_eq!(tool.running as usize, running.iter().filter(|run| *run == name).count());
                prop_assert!(!tool.gone || !tool.is_unused());
            }
        }
        lots.into_iter().for_each(|lot| _ = all.give_back(lot));
        running.iter().for_each(|tool| _ = all.end(tool));
        prop_assert_eq!(all.counts(), Counts { total, running: 0, reserved: 0 });
        prop_assert!(all.tools.values().all(ToolSlots::is_unused));
    }
}
