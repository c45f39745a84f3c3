//! The thread that starts tool processes.
//!
//! A tool asks the kernel to be killed when its parent dies, and to the kernel the parent is the *thread* that started
//! it. Threads of the runtime come and go (those that ran blocking work end after some idle seconds), and their tools
//! would go with them. This thread lives as long as anybody may start a tool.

use std::io;
use std::process::Stdio;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Commands that wait to be started.
const QUEUE: usize = 64;

struct Job {
    command: Command,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// Starts processes; the thread ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub(in crate::executor) struct Spawner(mpsc::Sender<Job>);

impl Spawner {
    /// Starts the thread; its processes are watched by `runtime`.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub(in crate::executor) fn start(runtime: Handle) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel(QUEUE);
        std::thread::Builder::new().name("mesh-spawner".into()).spawn(move || live(&runtime, inbox))?;
        Ok(Self(jobs))
    }

    /// Starts a command with pipes for its three standard streams, in a process group of its own.
    ///
    /// # Errors
    /// What the operating system said.
    pub(super) async fn spawn(&self, mut command: Command) -> io::Result<Child> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A child that nobody waits for any more must not go on.
        command.process_group(0).kill_on_drop(true);
        let (reply, started) = oneshot::channel();
        let ended = || io::Error::other("the thread that starts processes has ended");
        self.0.send(Job { command, reply }).await.map_err(|_| ended())?;
        started.await.map_err(|_| ended())?
    }
}

fn live(runtime: &Handle, mut inbox: mpsc::Receiver<Job>) {
    let _guard = runtime.enter();
    while let Some(Job { mut command, reply }) = inbox.blocking_recv() {
        // If the asker has gone, the child is dropped here and with that killed.
        let _ = reply.send(command.spawn());
    }
}
