//! The same done to several things by their ids: one that fails does not keep the others from being done.

use crate::client::{Answer, ClientError};
use crate::output::{Failure, Output};
use meshwork_proto::Coded;
use serde_json::{Value, json};

/// What is said of one when it is done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Says {
    /// This member of the answer.
    Member(&'static str),
    /// This word.
    Word(&'static str),
}

/// What became of each of them.
pub(super) struct Many {
    output: Output,
    /// How JSON names the thing.
    id: &'static str,
    says: Says,
    answers: Vec<Value>,
    failures: Vec<Failure>,
    count: usize,
}

impl Many {
    /// For `count` things that JSON names by the member `id`.
    pub(super) fn new(output: Output, id: &'static str, says: Says, count: usize) -> Self {
        Self { output, id, says, answers: Vec::new(), failures: Vec::new(), count }
    }

    /// Shows what became of one.
    ///
    /// # Errors
    /// When the others would fail in the same way.
    pub(super) fn done(&mut self, id: &str, answer: Result<Answer, ClientError>) -> Result<(), Failure> {
        match answer {
            Ok(answer) if self.output.is_json() => self.answers.push(answer.0),
            Ok(answer) => {
                let said = match self.says {
                    Says::Member(name) => answer.shown(name),
                    Says::Word(word) => word.to_owned(),
                };
                self.output.line(format!("{id} {said}"))?;
            }
            // Without a node the others fail in the same way.
            Err(error) if error.is_absence() => return Err(error.into()),
            Err(error) => {
                let described = json!({"code": error.code(), "message": error.to_string()});
                self.answers.push(json!({self.id: id, "error": described}));
                if self.count > 1 {
                    self.output.note(format!("{id}: {error} ({})", error.code()));
                }
                self.failures.push(error.into());
            }
        }
        Ok(())
    }

    /// One thing gives its own answer and error, several give a list and the first error's exit code.
    ///
    /// # Errors
    /// When one of them failed.
    pub(super) fn end(self) -> Result<(), Failure> {
        let Self { output, mut answers, mut failures, count, .. } = self;
        if count == 1 {
            return match failures.pop() {
                Some(failure) => Err(failure),
                None if output.is_json() => output.json(&answers.pop()),
                None => Ok(()),
            };
        }
        if output.is_json() {
            output.json(&answers)?;
        }
        match failures.first() {
            Some(first) => Err(Failure::Shown(first.exit())),
            None => Ok(()),
        }
    }
}
