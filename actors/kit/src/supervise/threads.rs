//! The named threads that actors run on.
//!
//! Each is an actix system of its own on a thread of our making: actix's arbiters cannot be named, and neither panics
//! nor `top` would say whose thread it is.

use super::{SupervisionError, ThreadClass};
use actix::prelude::{ArbiterHandle, System};
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;

/// How often a thread that should end is looked at.
const JOIN_POLL: Duration = Duration::from_millis(2);

/// A thread that runs actors.
#[derive(Debug)]
pub(super) struct NamedThread {
    class: ThreadClass,
    system: System,
    running: JoinHandle<()>,
}

/// One thread per class.
#[derive(Debug)]
pub(super) struct Threads(Vec<NamedThread>);

impl Threads {
    pub(super) fn start() -> Result<Self, SupervisionError> {
        let mut threads = Self(Vec::new());
        for class in ThreadClass::ALL {
            let thread = NamedThread::start(class)
                .map_err(|source| SupervisionError::Thread { thread: class.thread_name(), source })?;
            threads.0.push(thread);
        }
        Ok(threads)
    }

    pub(super) fn arbiter(&self, class: ThreadClass) -> Option<ArbiterHandle> {
        self.0.iter().find(|thread| thread.class == class).map(|thread| thread.system.arbiter().clone())
    }

    /// Hands the threads to whoever ends them; no actor can be started afterwards.
    pub(super) fn take(&mut self) -> Vec<NamedThread> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.iter().for_each(NamedThread::ask_to_end);
    }
}

impl NamedThread {
    fn start(class: ThreadClass) -> io::Result<Self> {
        let (ready, started) = sync_channel(1);
        let running =
            std::thread::Builder::new().name(class.thread_name().to_owned()).spawn(move || live(&ready))?;
        let system =
            started.recv().map_err(|_| io::Error::other("the thread ended while it was starting"))??;
        Ok(Self { class, system, running })
    }

    pub(super) fn ask_to_end(&self) {
        self.system.stop();
    }

    /// Waits for its end; its name if it did not come in time.
    pub(super) async fn join(self, within: Duration) -> Result<(), &'static str> {
        let deadline = Instant::now() + within;
        while !self.running.is_finished() {
            if Instant::now() >= deadline {
                return Err(self.class.thread_name());
            }
            tokio::time::sleep(JOIN_POLL).await;
        }
        if self.running.join().is_err() {
            tracing::error!(thread = self.class.thread_name(), "the thread ended with a panic");
        }
        Ok(())
    }
}

/// The thread's whole life.
fn live(ready: &SyncSender<io::Result<System>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // The starter waits for it; if it has gone, there is nobody to tell.
            let _ = ready.send(Err(error));
            return;
        }
    };
    let runner = System::with_tokio_rt(move || runtime);
    if ready.send(Ok(System::current())).is_err() {
        return;
    }
    if let Err(error) = runner.run() {
        tracing::error!("the system of an actor thread ended with an error: {error}");
    }
}
