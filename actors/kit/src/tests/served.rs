//! Ports that serve each request in a task of its own.

use super::actors::requests;
use crate::testing::world;
use crate::{AskError, TellError, serve_port};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::runtime::Handle;

const SECOND: Duration = Duration::from_secs(1);

/// Takes so long, and panics if told so.
struct Work(Duration, bool);
requests! { Work = "work" -> usize, }

#[test]
fn work_in_flight_is_bounded_and_a_panic_ends_only_its_own_request() {
    world(|_| async {
        let running = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&running);
        let port = serve_port(3, &Handle::current(), move |Work(time, panics)| {
            let running = Arc::clone(&counter);
            async move {
                let now = running.fetch_add(1, SeqCst) + 1;
                tokio::time::sleep(time).await;
                running.fetch_sub(1, SeqCst);
                assert!(!panics, "told so");
                now
            }
        });
        let asks = (0..20).map(|n| port.ask(Work(SECOND, n % 4 == 0), 60 * SECOND));
        let answers = futures::future::join_all(asks).await;
        for (n, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(at_once) => assert!(at_once <= 3 && n % 4 != 0, "{at_once} at once"),
                Err(error) => assert!(error == AskError::Closed { message: "work" } && n % 4 == 0),
            }
        }
        assert_eq!((port.depth(), running.load(SeqCst)), (0, 0));
    });
}

#[test]
fn work_whose_asker_has_gone_still_counts() {
    world(|world| async move {
        let port = serve_port(1, &Handle::current(), |Work(time, _)| async move {
            tokio::time::sleep(time).await;
            0
        });
        assert!(port.ask(Work(10 * SECOND, false), SECOND).await.is_err());
        let refused = TellError::Full { message: "work", capacity: 1 };
        assert_eq!(port.tell(Work(SECOND, false)), Err(refused));
        world.advance(10 * SECOND).await;
        assert_eq!(port.tell(Work(SECOND, false)), Ok(()));
        assert!(!port.is_closed());
    });
}

#[test]
fn a_closure_that_panics_before_it_makes_a_future_is_caught_too() {
    world(|_| async {
        let port = serve_port(1, &Handle::current(), |Work(_, panics)| {
            assert!(!panics, "at once");
            std::future::ready(1)
        });
        let broken = port.ask(Work(SECOND, true), SECOND).await;
        assert_eq!(broken, Err(AskError::Closed { message: "work" }));
        assert_eq!(port.ask(Work(SECOND, false), SECOND).await, Ok(1));
    });
}

#[test]
fn requests_to_a_runtime_that_is_gone_are_answered_closed() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let port = serve_port(1, runtime.handle(), |Work(..)| std::future::ready(1));
    drop(runtime);
    world(|_| async move {
        let asked = port.ask(Work(SECOND, false), SECOND).await;
        assert_eq!(asked, Err(AskError::Closed { message: "work" }));
        assert_eq!(port.depth(), 0);
    });
}
