//! The coordinator is told of ends: it may be slow, and a tell may be lost, but nothing grows without bound.

use super::{ENDS, Scene, ask, task};
use crate::queue::actor::MAX_UNTOLD;
use meshwork_kit::testing;
use meshwork_proto::queue::{Cancel, SubmitStep, WatchTask};
use meshwork_proto::task::TaskStatus;
use std::time::Duration;

#[test]
fn a_coordinator_that_does_not_get_on_is_told_of_every_end_later_in_order() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        let mut ids = Vec::new();
        for _ in 0..10 {
            let id = ask(&scene.ports.submit_step, SubmitStep(task("echo"))).await.unwrap().id;
            ask(&scene.ports.cancel, Cancel { id, reason: None }).await.unwrap();
            ids.push(id);
        }
        world.advance(Duration::from_secs(5)).await;
        assert_eq!(scene.status().ends_waiting, 10 - ENDS);
        for id in &ids {
            assert_eq!(scene.ends.next().await.0.id, *id);
        }
        world.advance(Duration::from_secs(1)).await;
        assert_eq!(scene.status().ends_waiting, 0);
        assert_eq!(
            ask(&scene.ports.watch, WatchTask { id: ids[3] }).await.unwrap().status,
            TaskStatus::Cancelled
        );
        assert_eq!(scene.ends.next().await.0.id, ids[3], "of a finished one it is told at once");
        scene.ends.expect_silence(Duration::from_secs(5)).await;
    });
}

#[test]
fn ends_beyond_what_is_kept_are_dropped_and_counted() {
    testing::world(|world| async move {
        let mut scene = Scene::start(&world);
        for _ in 0..ENDS + MAX_UNTOLD + 3 {
            let id = ask(&scene.ports.submit_step, SubmitStep(task("echo"))).await.unwrap().id;
            ask(&scene.ports.cancel, Cancel { id, reason: None }).await.unwrap();
        }
        world.advance(Duration::from_secs(1)).await;
        assert_eq!(scene.status().ends_waiting, MAX_UNTOLD);
        let text = prometheus::TextEncoder::new().encode_to_string(&scene.registry.gather()).unwrap();
        assert!(text.contains("meshwork_queue_ends_dropped_total 3\n"), "{text}");
        for _ in 0..ENDS + MAX_UNTOLD {
            scene.ends.next().await;
        }
        scene.ends.expect_silence(Duration::from_secs(1)).await;
    });
}
