//! Watching the file with the mesh secrets: a running node takes a change of it without a restart.
//!
//! The file is looked at every few seconds instead of being subscribed to: secrets that Kubernetes mounts are swapped by
//! a link two folders above, which a subscription to the file does not see.

use meshwork_kit::Port;
use meshwork_network::trust::MeshSecrets;
use meshwork_proto::transport::SetSecrets;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};

/// Pause between looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long the network may take to note a change.
const WITHIN: Duration = Duration::from_secs(5);

/// What tells a file that was changed: length, and when its content, its mode or its owner were changed last. A file that
/// was refused because others could read it is looked at again once that is put right.
type Mark = Option<(u64, i64, i64)>;

/// Watches the file as long as the network is there.
pub(super) fn watch(runtime: &Handle, file: PathBuf, secrets: Port<SetSecrets>) {
    runtime.spawn(async move {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Nothing has been seen yet: the first look also catches what changed since the node read it at its start.
        let mut seen: Option<Mark> = None;
        while !secrets.is_closed() {
            looks.tick().await;
            let now = mark(&file).await;
            if seen == Some(now) {
                continue;
            }
            if now.is_some() {
                // What did not reach the network is tried again at the next look.
                if !take(&file, &secrets).await {
                    continue;
                }
                seen = Some(now);
            } else {
                seen = Some(now);
                tracing::warn!(file = %file.display(), "the file with the mesh secret is gone: what it said stays in force");
            }
        }
    });
}

async fn mark(file: &Path) -> Mark {
    let found = tokio::fs::metadata(file).await.ok()?;
    Some((found.len(), found.ctime(), found.ctime_nsec()))
}

/// Reads the file and hands its secrets to the network; a file that cannot be used changes nothing. Whether that is done
/// with.
async fn take(file: &Path, port: &Port<SetSecrets>) -> bool {
    let path = file.to_owned();
    let read = tokio::task::spawn_blocking(move || MeshSecrets::load(&path)).await;
    let secrets = match read {
        Ok(Ok(secrets)) => secrets,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the changed file with the mesh secret is not used");
            return true;
        }
        Err(error) => {
            tracing::warn!(%error, "the changed file with the mesh secret was not read");
            return false;
        }
    };
    let secrets = secrets.iter().map(|secret| secret.expose().to_vec()).collect();
    match port.ask(SetSecrets { secrets }, WITHIN).await {
        Ok(Ok(set)) if set.changed => {
            tracing::info!(asked_again = set.asked_again, "the mesh secrets were changed");
        }
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "mesh secrets"),
        Err(error) => {
            tracing::warn!(%error, "the mesh secrets were not changed, and it is tried again");
            return false;
        }
    }
    true
}
