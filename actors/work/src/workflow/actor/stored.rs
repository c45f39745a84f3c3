//! What the store has of runs: documents, and whole runs.

use super::Shared;
use super::definitions::{ANY, Definitions};
use super::store::{READ_WITHIN, read_many, read_range, unanswered};
use crate::workflow::definition::{Limits, Workflow};
use crate::workflow::logic::Run;
use crate::workflow::logic::doc::Doc;
use crate::workflow::records::{
    EventRecord, HeaderRecord, event_key, event_range, header_key, read, read_event_key, read_some,
};
use bytes::{Bytes, BytesMut};
use meshwork_kit::AskError;
use meshwork_proto::artifact::{ARTIFACT_CHUNK, ArtifactError, PutArtifact, ReadArtifact};
use meshwork_proto::store::{Family, ReadKey, StoreError};
use meshwork_proto::task::{INLINE_LIMIT, Payload};
use meshwork_proto::{Cid, Coded, ErrorCode, Json, MeshError, RunId};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Longest wait for the artifact store.
const ARTIFACT_WITHIN: Duration = Duration::from_secs(30);
/// Events read at a time: each may hold a document of the longest that travels.
pub(super) const EVENTS: u32 = 256;
/// Events whose documents are read at a time.
pub(super) const DOCUMENTS: usize = 500;

/// Reads runs and their documents.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) shared: Arc<Shared>,
    pub(super) runtime: Handle,
}

impl Reader {
    /// An artifact of this node.
    ///
    /// # Errors
    /// When it is not there, or larger than `max` bytes.
    pub(super) async fn artifact(&self, cid: Cid, len: u64, max: u64) -> Result<Bytes, ArtifactError> {
        if len > max {
            return Err(ArtifactError::TooLarge { len, max });
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        // Not all at once: nothing of it may be there.
        let mut whole = BytesMut::with_capacity(len.min(ARTIFACT_CHUNK));
        while whole.len() < len {
            let max_len = u32::try_from(ARTIFACT_CHUNK.min(len - whole.len())).unwrap_or(u32::MAX);
            let request = ReadArtifact { cid, offset: whole.len() as u64, max_len };
            let piece = self.shared.deps.read_artifact.ask(request, ARTIFACT_WITHIN).await;
            let piece = piece.map_err(|error| ArtifactError::Store(unanswered(&error)))??;
            if piece.bytes.is_empty() {
                return Err(ArtifactError::Unknown(cid));
            }
            whole.extend_from_slice(&piece.bytes);
        }
        Ok(whole.freeze())
    }

    /// The document of a payload.
    ///
    /// # Errors
    /// As [`Reader::artifact`].
    pub(super) async fn payload(&self, payload: &Payload, max: u64) -> Result<Json, ArtifactError> {
        match payload {
            Payload::Inline(json) => Ok(json.clone()),
            Payload::Stored { cid, len } => self.artifact(*cid, *len, max).await.map(Json::from_checked),
        }
    }

    /// Puts a document where it belongs: small ones travel, large ones are artifacts.
    ///
    /// # Errors
    /// When the store does not take it.
    pub(super) async fn keep(&self, document: Bytes) -> Result<Payload, ArtifactError> {
        if document.len() <= INLINE_LIMIT {
            return Ok(Payload::Inline(Json::from_checked(document)));
        }
        let len = document.len() as u64;
        let put = self.shared.deps.put_artifact.ask(PutArtifact(document), ARTIFACT_WITHIN).await;
        let cid = put.map_err(|error| ArtifactError::Store(unanswered(&error)))??;
        Ok(Payload::Stored { cid, len })
    }

    /// A document of a run, wherever it is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn document(&self, run: RunId, doc: &Doc) -> Result<Json, MeshError> {
        let payload = match doc {
            Doc::Inline(json) => return Ok(json.clone()),
            Doc::Stored { cid, len } => Payload::Stored { cid: *cid, len: *len },
            Doc::Event { seq, .. } => self.event_payload(run, *seq).await?,
            Doc::Header { .. } => {
                self.header(run).await.map_err(told)?.map(|header| header.inputs).ok_or_else(|| lost(run))?
            }
        };
        let max = self.shared.options.max_output_bytes.max(self.shared.options.max_inputs_bytes);
        self.payload(&payload, max).await.map_err(|error| MeshError::from_coded(&error))
    }

    /// The document that came with an event.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn event_payload(&self, run: RunId, seq: u64) -> Result<Payload, MeshError> {
        let mut payloads = self.event_payloads(run, &[seq]).await?;
        payloads.pop().flatten().ok_or_else(|| lost(run))
    }

    /// The documents that came with events.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) async fn event_payloads(
        &self,
        run: RunId,
        seqs: &[u64],
    ) -> Result<Vec<Option<Payload>>, MeshError> {
        let mut payloads = Vec::with_capacity(seqs.len());
        for some in seqs.chunks(DOCUMENTS) {
            let keys = some.iter().map(|seq| event_key(run, *seq)).collect();
            for value in read_many(&self.shared.deps.read_keys, keys).await.map_err(told)? {
                let record = read_some::<EventRecord>(value.as_ref()).map_err(told)?;
                payloads.push(record.and_then(|record| record.event.payload().cloned()));
            }
        }
        Ok(payloads)
    }

    pub(super) async fn header(&self, run: RunId) -> Result<Option<HeaderRecord>, StoreError> {
        let key = ReadKey { family: Family::Workflows, key: header_key(run) };
        let value = self.shared.deps.read_key.ask(key, READ_WITHIN).await;
        let value = value.unwrap_or_else(|error| Err(unanswered(&error)))?;
        read_some(value.as_ref())
    }

    /// What happened in a run, from its first event on.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn events(&self, run: RunId) -> Result<Vec<(u64, EventRecord)>, StoreError> {
        let mut events = Vec::new();
        self.each_event(run, |seq, event| events.push((seq, event))).await?;
        Ok(events)
    }

    /// Gives each event of a run, in their order. Only a page of them is in memory at a time.
    async fn each_event(&self, run: RunId, mut take: impl FnMut(u64, EventRecord)) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let page = read_range(&self.shared.deps.scan, event_range(run, after, EVENTS)).await?;
            for (key, value) in &page {
                if let Some(seq) = read_event_key(key) {
                    take(seq, read(value)?);
                    after = seq;
                }
            }
            if page.len() < EVENTS as usize {
                return Ok(());
            }
        }
    }

    /// The definition of a run, ready to be run.
    ///
    /// # Errors
    /// When it cannot be read, or is none for this version of meshwork.
    pub(super) async fn definition(
        &self,
        definitions: &Definitions,
        header: &HeaderRecord,
        limits: Limits,
    ) -> Result<Arc<Workflow>, StoreError> {
        if let Some(workflow) = definitions.get(&header.definition_cid) {
            return Ok(workflow);
        }
        let document = self.payload(&header.definition, u64::MAX).await.map_err(|error| match error {
            ArtifactError::Store(error) => error,
            other => StoreError::Corrupt(format!("definition of workflow {}: {other}", header.name)),
        })?;
        definitions.compile_stored(&self.runtime, header.definition_cid, document, limits).await
    }

    /// A run as its events have made it; none if there is none with this id.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn run(
        &self,
        definitions: &Definitions,
        id: RunId,
    ) -> Result<Option<Box<Run>>, StoreError> {
        let Some(header) = self.header(id).await? else { return Ok(None) };
        let workflow = self.definition(definitions, &header, ANY).await?;
        let mut run = Box::new(Run::new(id, &header, workflow));
        self.each_event(id, |seq, event| run.apply(seq, &event)).await?;
        Ok(Some(run))
    }
}

fn told(error: StoreError) -> MeshError {
    MeshError::new(error.code(), error.to_string())
}

fn lost(run: RunId) -> MeshError {
    MeshError::new(
        ErrorCode::Corrupt,
        format!("a document of workflow run {run} is not in the store any more"),
    )
}

/// A port did not answer.
pub(super) fn unasked(error: &AskError) -> MeshError {
    MeshError::new(error.code(), error.to_string())
}
