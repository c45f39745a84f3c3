//! The start: memory is filled with what the store holds.

use super::entry::{Start, Work};
use super::io::Turn;
use super::{Entry, Schedules};
use crate::schedule::records::{Key, ScheduleRecord, read};
use crate::schedule::timing::Times;
use bytes::Bytes;
use meshwork_proto::store::StoreError;
use meshwork_proto::{ErrorCode, MeshError, ScheduleId};
use std::time::Duration;

/// A start that had begun is made again after a crash, unless that is so long ago: the queue, or the coordinator, may
/// have forgotten that it was made, and would make another one. Then nothing is known of it, and the next start does not
/// wait for its end either.
const UNSURE_AFTER: Duration = Duration::from_secs(3600);

impl Schedules {
    /// A page of the family, in the order of its keys: progress comes before schedules. Gives the names of schedules
    /// whose times this build cannot read: they are listed, and nothing is started.
    ///
    /// # Errors
    /// When a record is damaged.
    pub(crate) fn load_page(&mut self, page: &[(Bytes, Bytes)]) -> Result<Vec<String>, StoreError> {
        let mut unreadable = Vec::new();
        for (key, value) in page {
            match Key::read(key)? {
                Key::Progress(id) => {
                    self.arriving.insert(id, read(value)?);
                }
                Key::Schedule(id) => {
                    let record: ScheduleRecord = read(value)?;
                    let missing =
                        || StoreError::Corrupt(format!("schedule {id} has no record of its progress"));
                    let progress = self.arriving.remove(&id).ok_or_else(missing)?;
                    let times = Times::read(&record.timing, record.created).unwrap_or_else(|error| {
                        unreadable.push(format!("{}: {error}", record.name));
                        Times::Never
                    });
                    self.insert(Entry::new(id, record, times, progress));
                }
            }
        }
        Ok(unreadable)
    }

    /// Everything is loaded: starts that had begun go on, and what was missed is dealt with.
    pub(crate) fn loaded(&mut self, turn: &mut Turn<'_>) {
        self.loading = false;
        self.arriving.clear();
        self.seen = turn.now;
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            self.begin_anew(turn.now, id);
            self.take_start_up_again(turn, id);
        }
        self.go_on(turn);
    }

    fn take_start_up_again(&mut self, turn: &mut Turn<'_>, id: ScheduleId) {
        let Some(begun) = self.entries.get(&id).and_then(|entry| entry.progress.begun) else { return };
        let start = Start { begun, asker: None, tries: 0 };
        if turn.now.since(begun.due) <= UNSURE_AFTER {
            return self.set_work(id, Work::Waiting { start, until: turn.now });
        }
        let text = "node stopped while this start was made, and it is too long ago to make it again: it may have been made";
        self.ended(turn, id, start, Err(MeshError::new(ErrorCode::Unavailable, text)));
    }
}
