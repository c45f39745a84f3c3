//! Watching a run: a live tree on a terminal, a line for each change elsewhere, one document with `--json`.

use super::tree;
use crate::cli::input;
use crate::client::{NodeClient, RunStatus, RunWatcher, Seen};
use crate::output::{Exit, Failure, Live, Output, counted, duration};
use meshwork_proto::ErrorCode;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

/// How often the tree is drawn again, so that its times go on.
const REDRAW: Duration = Duration::from_millis(500);

/// How a run is watched.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub(crate) struct WatchOptions {
    /// Watch at most so long; the run goes on [default: until it is finished]
    #[arg(long, value_name = "TIME", value_parser = input::seconds)]
    pub(crate) timeout: Option<f64>,
    /// Ctrl-C cancels the run instead of only ending the watching
    #[arg(long)]
    pub(crate) cancel_on_interrupt: bool,
}

/// Why the watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Finished,
    Interrupted,
    TimedOut,
}

/// Watches a run to its end and reports it: its output on standard output, or why there is none.
pub(super) async fn watch(
    client: &NodeClient,
    id: &str,
    peer: Option<&str>,
    options: &WatchOptions,
    output: Output,
) -> Result<(), Failure> {
    let mut display = Display::new(output);
    let ended = follow(client, id, peer, options, &mut display).await?;
    display.end();
    match ended {
        Ended::Finished => {}
        Ended::Interrupted => output.note(format!("the run goes on: {}", how_to_go_on(id, peer))),
        Ended::TimedOut => output.note(format!("it is not finished yet: {}", how_to_go_on(id, peer))),
    }
    match &display.run {
        Some(run) => report(run, output),
        None => Err(Failure::Shown(Exit::Timeout)),
    }
}

/// The commands that watch a run and give it up.
fn how_to_go_on(id: &str, peer: Option<&str>) -> String {
    let peer = peer.map(|peer| format!(" --peer {peer}")).unwrap_or_default();
    format!(
        "`meshwork workflow status {id} --watch{peer}` watches it, `meshwork workflow cancel {id}{peer}` gives it up"
    )
}

async fn follow(
    client: &NodeClient,
    id: &str,
    peer: Option<&str>,
    options: &WatchOptions,
    display: &mut Display,
) -> Result<Ended, Failure> {
    let mut interrupts = signal(SignalKind::interrupt())
        .map_err(|error| Failure::internal(format!("Ctrl-C cannot be heard: {error}")))?;
    let deadline = options.timeout.map(|timeout| Instant::now() + input::duration(timeout));
    let mut ticks = tokio::time::interval(REDRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watcher = RunWatcher::new(client, id, peer);
    let mut cancel_first = options.cancel_on_interrupt;
    loop {
        let seen = {
            let next = watcher.next();
            tokio::pin!(next);
            loop {
                tokio::select! {
                    seen = &mut next => break Some(seen?),
                    _ = ticks.tick() => display.redraw(),
                    _ = interrupts.recv() => break None,
                    () = reached(deadline) => return Ok(Ended::TimedOut),
                }
            }
        };
        match seen {
            Some(Seen::Run(run)) => {
                let finished = run.is_finished();
                display.show(*run);
                if finished {
                    return Ok(Ended::Finished);
                }
            }
            Some(Seen::NodeAway(error)) => display.away(&error.to_string()),
            None if std::mem::take(&mut cancel_first) => {
                display.say("cancelling; Ctrl-C once more ends the watching");
                cancel(client, id, peer, &mut interrupts).await?;
            }
            None => return Ok(Ended::Interrupted),
        }
    }
}

/// Gives the run up, unless somebody is too impatient even for that.
async fn cancel(
    client: &NodeClient,
    id: &str,
    peer: Option<&str>,
    interrupts: &mut Signal,
) -> Result<(), Failure> {
    tokio::select! {
        cancelled = client.cancel_run(id, Some("interrupted by Ctrl-C"), false, peer) => {
            cancelled?;
            Ok(())
        }
        _ = interrupts.recv() => {
            Err(Failure::new(ErrorCode::Timeout, format!("run {id} may not be cancelled: the node had not answered yet")))
        }
    }
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// What a person sees of the run.
struct Display {
    output: Output,
    live: Live,
    /// As it was last seen.
    run: Option<RunStatus>,
    /// States and attempts of the steps that were told of, where nothing can be drawn again.
    told: BTreeMap<String, (String, u64)>,
    is_away: bool,
}

impl Display {
    fn new(output: Output) -> Self {
        Self { output, live: output.live(), run: None, told: BTreeMap::new(), is_away: false }
    }

    fn show(&mut self, run: RunStatus) {
        if std::mem::take(&mut self.is_away) {
            self.say("the node is back");
        }
        if !self.live.is_visible() && !self.output.is_json() {
            self.tell(&run);
        }
        self.run = Some(run);
        self.redraw();
    }

    /// What changed, in lines: that the run is finished comes last.
    fn tell(&mut self, run: &RunStatus) {
        let changed = self.run.as_ref().is_none_or(|before| before.state != run.state);
        if changed && !run.is_finished() {
            self.output.note(summary(run));
        }
        for line in tree::changes(&mut self.told, &run.steps, super::now()) {
            self.output.note(line);
        }
        if changed && run.is_finished() {
            self.output.note(summary(run));
        }
    }

    /// The node does not answer: said once.
    fn away(&mut self, error: &str) {
        if !std::mem::replace(&mut self.is_away, true) {
            self.say(&format!("{error}; trying again"));
        }
    }

    /// Says something beside the tree, above it.
    fn say(&self, text: &str) {
        self.live.above(|| self.output.note(text));
    }

    fn redraw(&self) {
        let Some(run) = self.run.as_ref().filter(|_| self.live.is_visible()) else { return };
        let lines = tree::lines(run, super::now(), self.live.is_coloured(), Some(self.live.lines()));
        self.live.draw(lines.iter().map(String::as_str));
    }

    /// What stays on the screen: the whole tree, whatever the terminal has room for.
    fn end(&self) {
        if !self.live.is_visible() {
            return;
        }
        self.live.erase();
        if let Some(run) = &self.run {
            for line in tree::lines(run, super::now(), self.live.is_coloured(), None) {
                self.output.note(line);
            }
        }
    }
}

/// The run in a line.
fn summary(run: &RunStatus) -> String {
    let mut line = format!("run {} {}", run.id, run.state);
    if let (Some(started), Some(finished)) = (run.json.number("started"), run.json.number("finished")) {
        line.push_str(&format!(" after {}", duration((finished - started).max(0.0))));
    } else {
        line.push_str(&format!(" ({})", counted(run.steps.len() as u64, "step")));
    }
    line
}

/// Shows how a run ended: its output on standard output, or the error; unfinished ones count as a timeout.
pub(super) fn report(run: &RunStatus, output: Output) -> Result<(), Failure> {
    let exit = if run.is_completed() {
        Exit::Ok
    } else if run.is_finished() {
        Exit::TaskFailed
    } else {
        Exit::Timeout
    };
    if output.is_json() {
        output.json(&run.json.0)?;
    }
    match exit {
        Exit::Ok if output.is_json() => Ok(()),
        Exit::Ok => {
            if let Some(hint) = run.json.text("hint").filter(|_| run.output.is_null()) {
                output.note(hint);
            }
            output.json(&run.output)
        }
        Exit::TaskFailed if !output.is_json() => Err(failed(run)),
        exit => Err(Failure::Shown(exit)),
    }
}

/// Whatever the code of its error, a run that ended without an output is a failed run.
fn failed(run: &RunStatus) -> Failure {
    let (code, reason) = match &run.error {
        Some(error) => (error.code, format!(": {}", error.message)),
        None if run.state == "cancelled" => (ErrorCode::Cancelled, String::new()),
        None => (ErrorCode::ToolFailed, String::new()),
    };
    Failure::new(code, format!("workflow run {} {}{reason}", run.id, run.state)).exiting(Exit::TaskFailed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::workflow::tree::tests::run;
    use crate::config::Environment;
    use crate::output::ColorChoice;
    use meshwork_proto::MeshError;
    use serde_json::json;

    fn quiet() -> Output {
        Output::new(true, ColorChoice::Never, &Environment::default())
    }

    #[test]
    fn the_end_of_a_run_decides_the_exit_code() {
        assert_eq!(report(&run("completed", json!([])), quiet()), Ok(()));
        let exits = ["failed", "cancelled", "running", "paused"]
            .map(|state| report(&run(state, json!([])), quiet()).unwrap_err().exit());
        assert_eq!(exits, [Exit::TaskFailed, Exit::TaskFailed, Exit::Timeout, Exit::Timeout]);
    }

    #[test]
    fn a_failed_run_keeps_the_code_of_its_error() {
        let mut run = run("failed", json!([]));
        run.error = Some(MeshError::new(ErrorCode::UnknownTool, "step a: no tool \"x\""));
        let failure = failed(&run);
        assert_eq!(failure.exit(), Exit::TaskFailed);
        let text = "error: workflow run 0193 failed: step a: no tool \"x\" (unknown_tool)";
        assert_eq!(failure.render(false).as_deref(), Some(text));
    }

    #[test]
    fn whoever_stops_watching_is_told_how_to_go_on() {
        let text = how_to_go_on("0193", Some("12D3"));
        assert!(text.contains("workflow status 0193 --watch --peer 12D3"), "{text}");
        assert!(text.contains("workflow cancel 0193 --peer 12D3"), "{text}");
        assert_eq!(summary(&run("running", json!([{"id": "a"}]))), "run 0193 running (1 step)");
    }
}
