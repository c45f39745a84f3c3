//! Bounds that hold, deadlines, and what becomes of messages.

use super::actors::{Break, Degrading, Hold, Inc, Script, Urgent, Victim, Way};
use crate::testing::{probe, reply, world};
use crate::{AskError, Port, TellError, channel_port, mailbox};
use meshwork_proto::{Coded, ErrorCode};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// How many of 80 000 tells from 8 threads are accepted; each thread and each tell has a clone of its own.
fn accepted(port: &Port<Inc>) -> usize {
    std::thread::scope(|scope| {
        let tell_all = || (0..10_000).filter(|_| port.clone().tell(Inc).is_ok()).count();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(tell_all)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

#[test]
fn a_full_mailbox_refuses_whatever_the_number_of_threads_and_clones() {
    let mailbox = mailbox::<Victim<Degrading>>();
    let port = mailbox.port::<Inc>(100);
    assert_eq!(accepted(&port), 100);
    assert_eq!(port.tell(Inc), Err(TellError::Full { message: "inc", capacity: 100 }));
    assert_eq!((port.depth(), port.capacity(), port.is_closed()), (100, 100, false));
    drop(mailbox);
    assert_eq!(port.tell(Inc), Err(TellError::Closed { message: "inc" }));
    assert_eq!(port.depth(), 0);
}

#[test]
fn a_full_inbox_refuses_and_serves_a_plain_thread() {
    let (port, mut inbox) = channel_port::<Inc>(64);
    assert_eq!(accepted(&port), 64);
    let server = std::thread::spawn(move || {
        let mut served = 0;
        while let Some(envelope) = inbox.blocking_recv() {
            let (Inc, reply) = envelope.into_parts();
            assert!(!reply.is_wanted(), "a tell wants no answer");
            served += 1;
        }
        served
    });
    drop(port);
    assert_eq!(server.join().unwrap(), 64, "what was accepted is served after the last port is gone");
}

#[test]
fn an_ask_that_timed_out_counts_until_it_is_taken_up_and_is_then_skipped() {
    world(|world| async move {
        let script = Script::new();
        let mailbox = mailbox::<Victim>();
        let port = mailbox.port::<Inc>(4);
        for _ in 0..4 {
            let asked = port.ask(Inc, 10 * MS).await;
            assert_eq!(asked, Err(AskError::Timeout { message: "inc", within: 10 * MS }));
        }
        assert_eq!(port.depth(), 4, "nobody has taken them up");
        let asked = port.ask(Inc, 10 * MS).await;
        assert_eq!(asked, Err(AskError::Full { message: "inc", capacity: 4, within: 10 * MS }));
        let waiting = port.clone();
        let waiting = actix_rt::spawn(async move { waiting.ask(Inc, SECOND).await });
        world.settle().await;
        world.start(mailbox, Victim::again(&script));
        assert_eq!(waiting.await.unwrap(), Ok(1), "it waited for a place");
        assert_eq!(script.handled.load(SeqCst), 1, "nobody waited for the other four any more");
        assert_eq!(port.depth(), 0);
    });
}

#[test]
fn waiting_for_a_place_and_for_the_answer_share_one_deadline() {
    world(|world| async move {
        let (port, mut server) = probe::<Inc>(1);
        let begin = tokio::time::Instant::now();
        port.tell(Inc).unwrap();
        let (asked, ()) = tokio::join!(port.ask(Inc, 100 * MS), async {
            world.advance(60 * MS).await;
            let _told = server.next().await;
            let (_, mut reply) = server.next().await;
            reply.abandoned().await;
            assert!(reply.is_abandoned());
        });
        assert_eq!(asked, Err(AskError::Timeout { message: "inc", within: 100 * MS }));
        assert_eq!(begin.elapsed(), 100 * MS);
        port.tell(Inc).unwrap();
        let asked = port.try_ask(Inc, SECOND).await;
        assert!(matches!(asked, Err(AskError::Full { .. })), "{asked:?}");
        assert_eq!(begin.elapsed(), 100 * MS, "try_ask does not wait for a place");
        assert_eq!(port.ask(Inc, Duration::ZERO).await.unwrap_err().code(), ErrorCode::Busy);
    });
}

#[test]
fn an_urgent_message_gets_in_while_the_port_for_work_is_full() {
    world(|world| async move {
        let mailbox = mailbox::<Victim>();
        let (work, urgent) = (mailbox.port::<Inc>(3), mailbox.port::<Urgent>(1));
        assert_eq!((0..10).filter(|_| work.tell(Inc).is_ok()).count(), 3);
        let asked = actix_rt::spawn(async move { urgent.ask(Urgent, SECOND).await });
        world.settle().await;
        world.start(mailbox, Victim::again(&Script::new()));
        assert_eq!(asked.await.unwrap(), Ok(4), "in the order in which they came");
    });
}

#[test]
fn a_port_that_bounds_work_in_flight_counts_until_the_answer() {
    world(|world| async move {
        let mailbox = mailbox::<Victim>();
        let (queue, work) = (mailbox.port::<Hold>(2), mailbox.port_in_flight::<Hold>(2));
        let breaks = mailbox.port::<Break>(1);
        world.start(mailbox, Victim::again(&Script::new()));
        for _ in 0..5 {
            queue.tell(Hold).unwrap();
            world.settle().await;
        }
        assert_eq!(queue.depth(), 0, "all were taken up");
        work.tell(Hold).unwrap();
        assert_eq!(work.ask(Hold, MS).await.unwrap_err().code(), ErrorCode::Timeout);
        assert_eq!(work.depth(), 2, "both are being worked on, also the one whose asker has gone");
        assert!(matches!(work.tell(Hold), Err(TellError::Full { .. })));
        breaks.tell(Break(Way::Fail)).unwrap();
        world.settle().await;
        assert_eq!(work.depth(), 0, "the replies were dropped with the state");
        world.allow_failures();
    });
}

#[test]
fn an_inbox_frees_the_permit_when_its_owner_wants() {
    world(|world| async move {
        let (port, mut inbox) = channel_port::<Inc>(1);
        port.tell(Inc).unwrap();
        let (_, _, permit) = inbox.recv().await.unwrap().into_parts_with_permit();
        assert!(port.tell(Inc).is_err(), "work in flight counts");
        drop(permit);
        port.tell(Inc).unwrap();
        let _ = inbox.try_recv().unwrap().into_parts();
        assert_eq!(port.depth(), 0, "taken up is enough");

        let gone = port.ask(Inc, MS).await;
        assert_eq!(gone.unwrap_err().code(), ErrorCode::Timeout);
        assert_eq!((inbox.len(), port.depth()), (1, 1));
        assert!(inbox.try_recv().is_none(), "nobody waits for it any more");
        assert_eq!((inbox.is_empty(), port.depth()), (true, 0));

        let asked = port.clone();
        let asked = actix_rt::spawn(async move { asked.ask(Inc, SECOND).await });
        world.settle().await;
        drop(inbox);
        assert_eq!(asked.await.unwrap(), Err(AskError::Closed { message: "inc" }));
        assert_eq!(port.ask(Inc, SECOND).await, Err(AskError::Closed { message: "inc" }));
        assert!(port.is_closed());
    });
}

#[test]
fn a_closed_inbox_still_gives_out_what_it_accepted() {
    let (port, mut inbox) = channel_port::<Inc>(2);
    port.tell(Inc).unwrap();
    inbox.close();
    assert_eq!(port.tell(Inc), Err(TellError::Closed { message: "inc" }));
    assert!(inbox.blocking_recv().is_some());
    assert!(inbox.blocking_recv().is_none());
}

#[test]
fn a_reply_that_is_dropped_unanswered_ends_the_ask() {
    world(|_| async move {
        let (port, mut server) = probe::<Inc>(1);
        let (asked, ()) = tokio::join!(port.ask(Inc, SECOND), async {
            let (_, reply) = server.next().await;
            assert!(reply.is_wanted() && !reply.is_abandoned());
            drop(reply);
        });
        assert_eq!(asked, Err(AskError::Closed { message: "inc" }));
        server.expect_silence(SECOND).await;
        assert!(server.try_next().is_none());
        server.reply_with(|Inc| 7);
        assert_eq!(port.ask(Inc, SECOND).await, Ok(7));
    });
}

#[tokio::test(start_paused = true)]
async fn the_reply_of_a_tell_is_never_abandoned() {
    let (port, mut inbox) = channel_port::<Inc>(1);
    port.tell(Inc).unwrap();
    let (_, mut told) = inbox.recv().await.unwrap().into_parts();
    assert!(!told.is_abandoned());
    assert!(tokio::time::timeout(SECOND, told.abandoned()).await.is_err());
    told.send(1);
    let (asked, answer) = reply();
    asked.send("yes");
    assert_eq!(answer.await, Ok("yes"));
}

#[test]
fn errors_say_what_and_have_stable_codes() {
    let full = AskError::Full { message: "inc", capacity: 4, within: SECOND };
    assert_eq!(full.to_string(), "inc: no place became free within 1s, all 4 are taken; try again later");
    let all: [(&dyn Coded, _); 5] = [
        (&full, ErrorCode::Busy),
        (&AskError::Closed { message: "inc" }, ErrorCode::Unavailable),
        (&AskError::Timeout { message: "inc", within: SECOND }, ErrorCode::Timeout),
        (&TellError::Full { message: "inc", capacity: 4 }, ErrorCode::Busy),
        (&TellError::Closed { message: "inc" }, ErrorCode::Unavailable),
    ];
    for (error, code) in all {
        assert_eq!(error.code(), code);
        assert!(error.to_string().starts_with("inc: "));
    }
}

#[test]
fn metrics_show_the_depth_now_and_the_outcome_of_each_message() {
    /// A request of this test alone: metrics belong to the process.
    struct Measured(bool);
    super::actors::requests! { Measured = "measured" -> u8, }
    let registry = prometheus::Registry::new();
    crate::metrics::register(&registry).unwrap();
    assert!(crate::metrics::register(&registry).is_err(), "not twice in one registry");
    let shown = || prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let count = |outcome: &str, n: u32| {
        let line = format!(
            "meshwork_actor_messages_total{{actor=\"tasks\",message=\"measured\",outcome=\"{outcome}\"}} {n}\n"
        );
        assert!(shown().contains(&line), "{line}{}", shown());
    };
    world(|_| async {
        let here = tokio::runtime::Handle::current();
        let port = crate::serve_port(1, &here, |Measured(fine)| async move {
            assert!(fine, "not fine");
            1
        });
        port.tell(Measured(true)).unwrap();
        assert!(shown().contains("meshwork_actor_queue_depth{actor=\"tasks\",message=\"measured\"} 1\n"));
        assert!(port.tell(Measured(true)).is_err());
        assert_eq!(port.ask(Measured(true), SECOND).await, Ok(1));
        assert_eq!(port.ask(Measured(false), SECOND).await, Err(AskError::Closed { message: "measured" }));
    });
    for (outcome, n) in [("handled", 2), ("full", 1), ("panicked", 1), ("abandoned", 0), ("closed", 0)] {
        count(outcome, n);
    }
    let seconds = "meshwork_actor_handler_seconds_count{actor=\"tasks\",message=\"measured\"} 3\n";
    assert!(shown().contains(seconds), "{}", shown());
    assert!(
        !shown().contains("meshwork_actor_queue_depth{actor=\"tasks\",message=\"measured\"}"),
        "port is gone"
    );
}
