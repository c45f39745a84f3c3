//! What the executor does with each message: nothing that takes time happens on its own thread.

use super::actor::Executor;
use super::claim;
use super::drain;
use super::logic::Source;
use super::progress::ProgressSink;
use super::stop::{Stop, StopReason};
use super::tool::{Call, Ended};
use super::work::Work;
use meshwork_kit::{Ctx, Handles, Reply};
use meshwork_proto::executor::{
    CallTool, DrainExecutor, Drained, GetSlots, ListTools, SlotCounts, StopTask, ToolError, ToolInfo,
    ToolOutput, UpstreamTools, WorkSource,
};
use std::sync::Arc;
use std::time::Duration;

impl Handles<ListTools> for Executor {
    fn handle(&mut self, ListTools: ListTools, reply: Reply<Vec<ToolInfo>>, _: &mut Ctx<'_, Self>) {
        reply.send(self.work.board.list());
    }
}

impl Handles<GetSlots> for Executor {
    fn handle(&mut self, GetSlots: GetSlots, reply: Reply<SlotCounts>, _: &mut Ctx<'_, Self>) {
        let counts = self.work.board.counts();
        reply.send(SlotCounts {
            total: counts.total,
            free: counts.total.saturating_sub(counts.running),
            running: counts.running,
            labels: self.work.deps.labels.clone(),
        });
    }
}

impl Handles<CallTool> for Executor {
    fn handle(&mut self, call: CallTool, reply: Reply<Result<ToolOutput, ToolError>>, _: &mut Ctx<'_, Self>) {
        self.work.runtime.spawn(call_directly(Arc::clone(&self.work), call, reply));
    }
}

impl Handles<StopTask> for Executor {
    fn handle(&mut self, stop: StopTask, reply: Reply<()>, _: &mut Ctx<'_, Self>) {
        let reason = if stop.report { StopReason::Cancelled } else { StopReason::Lost };
        if !self.work.board.stop((stop.id, stop.fence), reason) {
            tracing::debug!(task = %stop.id, fence = %stop.fence, "asked to stop an attempt that does not run here");
        }
        reply.send(());
    }
}

impl Handles<UpstreamTools> for Executor {
    fn handle(&mut self, update: UpstreamTools, reply: Reply<()>, _: &mut Ctx<'_, Self>) {
        self.work.board.set_upstream(update);
        reply.send(());
    }
}

impl Handles<WorkSource> for Executor {
    fn handle(&mut self, source: WorkSource, reply: Reply<()>, _: &mut Ctx<'_, Self>) {
        match source {
            WorkSource::Connected(peer) => claim::connect(&self.work, Source::Peer(peer)),
            WorkSource::Lost(peer) => claim::disconnect(&self.work, &Source::Peer(peer)),
        }
        reply.send(());
    }
}

impl Handles<DrainExecutor> for Executor {
    fn handle(&mut self, request: DrainExecutor, reply: Reply<Drained>, _: &mut Ctx<'_, Self>) {
        self.work.board.drain();
        let work = Arc::clone(&self.work);
        self.work.runtime.spawn(async move {
            reply.send(drain::drain(&work, Duration::from_millis(request.deadline_ms)).await);
        });
    }
}

/// Runs a tool for somebody who waits for it: when the asker goes, the tool is stopped.
async fn call_directly(work: Arc<Work>, call: CallTool, mut reply: Reply<Result<ToolOutput, ToolError>>) {
    let stop = Stop::new();
    let mut running = std::pin::pin!(run_directly(&work, call, stop.clone()));
    let result = tokio::select! {
        biased;
        result = &mut running => result,
        () = reply.abandoned() => {
            stop.request(StopReason::AskerGone);
            running.await
        }
    };
    reply.send(result);
}

async fn run_directly(work: &Arc<Work>, call: CallTool, stop: Stop) -> Result<ToolOutput, ToolError> {
    let tool = work.board.find(&call.tool)?;
    let slot = work.board.start_direct(&call.tool).await?;
    let call = Call {
        tool,
        arguments: call.arguments,
        timeout: Some(Duration::from_millis(call.timeout_ms)),
        stop,
        sink: ProgressSink::new(None),
        task: None,
    };
    let name = call.tool.name().to_owned();
    let ended = work.tools.run(call).await;
    drop(slot);
    match ended {
        Ended::Done(output) => Ok(output),
        Ended::Failed(error) => Err(error),
        Ended::Stopped(_) => Err(ToolError::Cancelled { tool: name }),
    }
}
