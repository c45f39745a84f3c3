//! `kill -9` at any moment: no acknowledged task is lost and none is completed twice.
//!
//! Three nodes: an owner without slots and two workers with one process tool, which appends `task attempt fence` to a
//! file. A client submits without pause and logs what was acknowledged, while owner and workers are killed at random
//! moments and started again. At the end every acknowledged task must be completed, every completed task must stand in
//! the file with the fence it completed with, and fences and attempts must only have grown.

use crate::support::PATIENCE;
use crate::support::mortal::{Mortal, owner_and_workers, seed};
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

const KILLS: usize = 50;
/// Repeats a run.
const SEED_VARIABLE: &str = "MESHWORK_KILL_SEED";

/// Submits tasks until told to stop; gives the ids of acknowledged ones by their number.
async fn submit_without_pause(
    owner: Arc<Mortal>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeMap<u64, String>>>,
) {
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let arguments = json!({
            "task_type": "append", "payload": {"n": number}, "idempotency_key": format!("n{number}"),
            "max_attempts": 5,
        });
        // The same number again after a lost answer: the idempotency key makes that one task.
        match owner.try_tool("p2p_taskqueue_submit", arguments).await {
            Some(Ok(submitted)) => {
                acknowledged.lock().await.insert(number, submitted["task_id"].as_str().unwrap().to_owned());
                number += 1;
            }
            Some(Err(error)) => panic!("submit {number} was refused: {error}"),
            None => {}
        }
        // So that the workers keep up; the load is what the kills meet, not the point.
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_under_load_lose_no_acknowledged_task_and_complete_none_twice() {
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed(SEED_VARIABLE));
    let dir = tempfile::tempdir().unwrap();
    let ran = dir.path().join("ran");
    std::fs::write(&ran, "").unwrap();
    let script =
        format!(r#"echo "$MESHWORK_TASK_ID $MESHWORK_ATTEMPT $MESHWORK_FENCE" >> {}; cat"#, ran.display());
    let (owner, workers) = owner_and_workers(dir.path(), "append", &script).await;

    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(Mutex::new(BTreeMap::new()));
    let client = tokio::spawn(submit_without_pause(owner.clone(), stop.clone(), acknowledged.clone()));
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(rng.random_range(20..400))).await;
        let victim = if kill % 3 == 0 { &owner } else { &workers[pick(&mut rng, workers.len())] };
        victim.kill_and_restart().await;
    }
    stop.store(true, Ordering::Relaxed);
    client.await.unwrap();
    let acknowledged = acknowledged.lock().await.clone();
    assert!(acknowledged.len() > KILLS, "only {} tasks were acknowledged: no load", acknowledged.len());

    let records = all_finished(&owner, &acknowledged).await;
    check(&records, &std::fs::read_to_string(&ran).unwrap());
}

fn pick(rng: &mut impl Rng, count: usize) -> usize {
    rng.random_range(0..count)
}

/// Waits until every acknowledged task has ended and gives its record.
async fn all_finished(owner: &Mortal, acknowledged: &BTreeMap<u64, String>) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE * 3;
    let mut records = Vec::new();
    for (number, id) in acknowledged {
        loop {
            let result =
                owner.try_tool("p2p_taskqueue_get_result", json!({"task_id": id, "wait_s": 10})).await;
            match result {
                Some(Ok(result)) if result["status"] == "completed" => {
                    assert_eq!(result["result"], json!({"n": number}), "task {id}");
                    break;
                }
                Some(Ok(result)) => assert_ne!(result["status"], "failed", "task {number} ({id}): {result}"),
                Some(Err(error)) => panic!("acknowledged task {number} ({id}) is lost: {error}"),
                None => {}
            }
            assert!(Instant::now() < deadline, "task {number} ({id}) never completed");
        }
        records.push(
            owner.try_tool("p2p_taskqueue_task_status", json!({"task_id": id})).await.unwrap().unwrap(),
        );
    }
    records
}

/// The file says what really ran, the records say what was believed.
fn check(records: &[Value], ran: &str) {
    let mut by_task: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for line in ran.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [task, attempt, fence] = fields[..] else { panic!("torn line {line:?}") };
        by_task.entry(task).or_default().push((attempt.parse().unwrap(), fence.parse().unwrap()));
    }
    assert!(
        by_task.values().any(|runs| runs.len() > 1)
            || records.iter().any(|record| record["lease_losses"] != json!(0)),
        "no kill met a running task: the test shows nothing"
    );
    for record in records {
        let id = record["task_id"].as_str().unwrap();
        let runs = by_task.get(id).unwrap_or_else(|| panic!("{id} completed but never ran"));
        let fences: std::collections::BTreeSet<u64> = runs.iter().map(|(_, fence)| *fence).collect();
        assert_eq!(fences.len(), runs.len(), "{id} ran twice under one fence: {runs:?}");
        let grows = runs.windows(2).all(|pair| pair[0].1 < pair[1].1);
        assert!(grows, "fences of {id} did not grow in the order in which it ran: {runs:?}");
        let final_fence = record["fence"].as_u64().unwrap();
        assert!(
            fences.contains(&final_fence),
            "{id} completed with fence {final_fence}, which never ran: {runs:?}"
        );
        let completed = record["history"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|attempt| !attempt["ended"].is_null() && attempt["error"].is_null());
        assert!(completed.count() <= 1, "{id} completed more than once: {record}");
    }
}
