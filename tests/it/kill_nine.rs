//! `kill -9` at any moment: no acknowledged task is lost and none is completed twice.
//!
//! Three nodes: an owner without slots and two workers with one process tool, which appends `task attempt fence` to a
//! file. A client submits without pause and logs what was acknowledged, while owner and workers are killed at random
//! moments and started again. At the end every acknowledged task must be completed, every completed task must stand in
//! the file with the fence it completed with, and fences and attempts must only have grown.

use crate::support::{Node, PATIENCE, config, invitation};
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, RwLock};
use tokio::time::Instant;

const KILLS: usize = 50;
/// The seed of the moments; printed, and taken from the environment to repeat a run.
const SEED_VARIABLE: &str = "MESHWORK_KILL_SEED";

/// A node that is killed and started again in the same directory with the same addresses.
struct Mortal {
    node: RwLock<Option<Node>>,
    dir: PathBuf,
    args: Vec<String>,
}

impl Mortal {
    async fn start(dir: PathBuf, args: Vec<String>) -> Self {
        let node = Node::start(&dir, &args).await;
        Self { node: RwLock::new(Some(node)), dir, args }
    }

    async fn kill_and_restart(&self) {
        let mut node = self.node.write().await;
        if let Some(mut node) = node.take() {
            node.kill().await;
        }
        *node = Some(Node::start(&self.dir, &self.args).await);
    }

    /// Calls a tool; none when the node is away or died during the call.
    async fn try_tool(&self, tool: &str, arguments: Value) -> Option<Result<Value, Value>> {
        let node = self.node.read().await;
        let answer = node.as_ref()?.tool(&format!("p2p_taskqueue_{tool}"), arguments).await;
        match answer {
            Err(error) if error["code"] == "http" || error["code"] == "unavailable" => None,
            answer => Some(answer),
        }
    }
}

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
        match owner.try_tool("submit", arguments).await {
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
    let seed = std::env::var(SEED_VARIABLE)
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    eprintln!("{SEED_VARIABLE}={seed}");
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let ran = dir.path().join("ran");
    std::fs::write(&ran, "").unwrap();
    let (owner, workers) = start_mesh(dir.path(), &ran).await;

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

async fn start_mesh(dir: &Path, ran: &Path) -> (Arc<Mortal>, Vec<Mortal>) {
    let owner_file =
        config(dir, "owner.yaml", "executor:\n  slots: 0\np2p:\n  taskqueue:\n    max_lease_losses: 100\n");
    let worker_file = config(
        dir,
        "worker.yaml",
        &format!(
            "executor:
  slots: 4
  tools:
    - name: append
      description: Notes that it ran
      concurrency: 4
      command: [/bin/sh, -c, 'echo \"$MESHWORK_TASK_ID $MESHWORK_ATTEMPT $MESHWORK_FENCE\" >> {ran}; cat']
      write_paths: [{dir}]
",
            ran = ran.display(),
            dir = dir.display(),
        ),
    );
    // A fixed port, so that the workers find the owner again after its death.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let owner =
        Mortal::start(dir.join("owner"), vec!["--config".into(), owner_file, "--listen".into(), listen])
            .await;
    let invitation = invitation(owner.node.read().await.as_ref().unwrap()).await;
    let mut workers = Vec::new();
    for name in ["one", "two"] {
        let args = vec!["--config".into(), worker_file.clone(), "--join".into(), invitation.clone()];
        workers.push(Mortal::start(dir.join(name), args).await);
    }
    (Arc::new(owner), workers)
}

/// Waits until every acknowledged task has ended and gives its record.
async fn all_finished(owner: &Mortal, acknowledged: &BTreeMap<u64, String>) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE * 3;
    let mut records = Vec::new();
    for (number, id) in acknowledged {
        loop {
            let result = owner.try_tool("get_result", json!({"task_id": id, "wait_s": 10})).await;
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
        records.push(owner.try_tool("task_status", json!({"task_id": id})).await.unwrap().unwrap());
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
