//! Taking a run over: its history is fetched from the peer that gives it away, and with it every large document.

use super::WorkflowActor;
use super::definitions::{Definitions, limits};
use super::parts::{NotDone, fetch};
use super::stored::Reader;
use crate::workflow::logic::Stored;
use crate::workflow::records::{Export, MAX_EXPORT};
use futures::StreamExt;
use meshwork_kit::Ctx;
use meshwork_proto::PeerId;
use meshwork_proto::store::StoreError;
use meshwork_proto::workflow::{TakeOverRun, WorkflowError};
use std::rc::Rc;

/// Documents that are fetched at the same time.
const TOGETHER: usize = 8;

impl WorkflowActor {
    pub(super) fn fetch_run(&mut self, from: PeerId, what: TakeOverRun, ctx: &mut Ctx<'_, Self>) {
        let (reader, definitions) = (self.reader(ctx), Rc::clone(&self.definitions));
        let fetched = async move {
            let result = fetch_run(&reader, &definitions, &from, &what).await;
            (from, what, result)
        };
        ctx.spawn_then(fetched, |actor, (from, what, result), ctx| {
            actor.step(ctx, |state, turn| state.fetched_incoming(turn, &what, &from, result));
        });
    }
}

async fn fetch_run(
    reader: &Reader,
    definitions: &Definitions,
    from: &PeerId,
    what: &TakeOverRun,
) -> Result<Stored, WorkflowError> {
    if what.len > MAX_EXPORT {
        return Err(WorkflowError::TooLarge { what: "history", len: what.len, max: MAX_EXPORT });
    }
    let later = |not_done: NotDone| WorkflowError::Unavailable(not_done.error.to_string());
    fetch(reader, from, what.history, what.len).await.map_err(later)?;
    let document = reader.artifact(what.history, what.len, MAX_EXPORT).await?;
    let wrong = |error: StoreError| WorkflowError::InvalidArgument(error.to_string());
    let export = Export::decode(&document).map_err(wrong)?;
    let fetches = futures::stream::iter(export.artifacts()).map(|(cid, len)| fetch(reader, from, cid, len));
    let mut fetches = fetches.buffer_unordered(TOGETHER);
    while let Some(fetched) = fetches.next().await {
        fetched.map_err(later)?;
    }
    let Export { header, events } = export;
    let workflow = reader.definition(definitions, &header, limits(&reader.shared.options)).await;
    // The definition is at fault, not what the store has: it will not be taken next time either.
    let workflow = workflow.map_err(|error| match error {
        error @ StoreError::Corrupt(_) => wrong(error),
        error => error.into(),
    })?;
    Ok(Stored { header, workflow, events })
}
