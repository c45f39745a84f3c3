//! Workflows within workflows: found by name, read once, and made to stand alone.
//!
//! A sub-workflow runs by itself, perhaps at another peer, so its definition must be complete. What it uses by name of
//! the definitions around it is put under its own `workflows`.

use super::problems::At;
use super::step::check_text;
use super::{Limits, Workflow, read};
use crate::workflow::expression::{clip, nearest};
use meshwork_proto::workflow::Problem;
use meshwork_proto::{Cid, Json, canonical};
use serde_json::{Map, Value};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most bytes of all definitions of sub-workflows together, as they are sent.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A sub-workflow that was read.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) workflow: Arc<Workflow>,
    pub(super) definition: Json,
    pub(super) cid: Cid,
}

/// What all workflows of one document share while they are read.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    bytes_left: Cell<usize>,
    /// The named workflows that are being read, each because the one before runs it.
    reading: RefCell<Vec<String>>,
}

impl Shared {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, bytes_left: Cell::new(MAX_BYTES), reading: RefCell::default() }
    }
}

/// Definitions by name.
type Documents<'d> = BTreeMap<&'d str, &'d Value>;

/// The named workflows that a definition can use: its own, and those of the definitions around it.
pub(super) struct Library<'d, 'o> {
    own: BTreeMap<&'d str, Named<'d>>,
    outer: Option<&'o Library<'d, 'o>>,
    /// How many workflows are around the one that it belongs to.
    depth: u8,
    shared: &'o Shared,
    /// What the definition uses from around it.
    taken: RefCell<Documents<'d>>,
}

struct Named<'d> {
    document: &'d Value,
    state: RefCell<State<'d>>,
}

enum State<'d> {
    /// Nobody asked for it yet.
    Unread,
    /// Whoever asks now is run by it.
    Reading,
    /// With what it takes from around it.
    Right(Part, Documents<'d>),
    /// With what is wrong, until that is told.
    Wrong(Vec<Problem>),
}

impl<'d, 'o> Library<'d, 'o> {
    /// That of a definition.
    pub(super) fn new(
        document: &'d Value,
        outer: Option<&'o Library<'d, 'o>>,
        depth: u8,
        shared: &'o Shared,
    ) -> Self {
        let named = |(name, document): (&'d String, &'d Value)| {
            (name.as_str(), Named { document, state: RefCell::new(State::Unread) })
        };
        let own = document.get("workflows").and_then(Value::as_object).into_iter().flatten().map(named);
        Self { own: own.collect(), outer, depth, shared, taken: RefCell::default() }
    }

    /// What the definition uses from around it.
    pub(super) fn taken(&self) -> Documents<'d> {
        self.taken.borrow().clone()
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Reads all of its own, used or not, and tells what is wrong with them.
    pub(super) fn read_all(&self, at: &mut At<'_>) {
        for (name, named) in &self.own {
            if let Err(problem) = check_text(name) {
                at.add(format_args!("workflows.{}", clip(name)), problem);
            }
            self.read_own(name, named);
            if let State::Wrong(problems) = &mut *named.state.borrow_mut() {
                at.add_within(&format!("workflows.{name}"), std::mem::take(problems));
            }
        }
    }

    /// The workflow of a name; none if it is wrong, which is told where it stands.
    pub(super) fn find(&self, name: &str) -> Result<Option<Part>, String> {
        let Some((name, named)) = self.own.get_key_value(name) else {
            let Some(outer) = self.outer else { return Err(self.unknown(name)) };
            let part = outer.find(name)?;
            if let Some((name, named)) = outer.named(name) {
                if let State::Right(_, taken) = &*named.state.borrow() {
                    self.take(taken.clone())?;
                }
                self.take(Documents::from([(name, named.document)]))?;
            }
            return Ok(part);
        };
        if matches!(*named.state.borrow(), State::Reading) {
            let reading = self.shared.reading.borrow();
            let circle: Vec<&str> =
                reading.iter().map(String::as_str).skip_while(|other| other != name).chain([*name]).collect();
            return Err(format!("workflows run each other without end: {}", circle.join(" -> ")));
        }
        self.read_own(name, named);
        let (part, taken) = match &*named.state.borrow() {
            State::Right(part, taken) => (part.clone(), taken.clone()),
            State::Unread | State::Reading | State::Wrong(_) => return Ok(None),
        };
        self.take(taken)?;
        Ok(Some(part))
    }

    /// Reads a definition that stands in a step.
    pub(super) fn read_inline(&self, document: &'d Value) -> Result<Part, Vec<Problem>> {
        let (part, taken) = self.read(document)?;
        self.take(taken).map_err(|message| vec![problem(message)])?;
        Ok(part)
    }

    /// Reads one of its own, once.
    fn read_own(&self, name: &str, named: &Named<'d>) {
        if !matches!(*named.state.borrow(), State::Unread) {
            return;
        }
        named.state.replace(State::Reading);
        self.shared.reading.borrow_mut().push(name.to_owned());
        let state = match self.read(named.document) {
            Ok((part, taken)) => State::Right(part, taken),
            Err(problems) => State::Wrong(problems),
        };
        self.shared.reading.borrow_mut().pop();
        named.state.replace(state);
    }

    /// Reads a definition one level further down, with what it takes from around it.
    fn read(&self, document: &'d Value) -> Result<(Part, Documents<'d>), Vec<Problem>> {
        let most = self.shared.limits.max_depth;
        if self.depth >= most {
            return Err(vec![problem(format!("more than {most} workflows are inside of each other"))]);
        }
        let (workflow, taken) = read::within(document, Some(self), self.depth + 1, self.shared)?;
        let definition = complete(document, &taken).map_err(|message| vec![problem(message)])?;
        let left = self.shared.bytes_left.get().checked_sub(definition.len());
        self.shared.bytes_left.set(left.unwrap_or(0));
        if left.is_none() {
            return Err(vec![problem(format!("sub-workflows have more than {MAX_BYTES} bytes together"))]);
        }
        let cid = Cid::of(&definition);
        let definition = Json::from_checked(definition.into());
        Ok((Part { workflow: Arc::new(workflow), definition, cid }, taken))
    }

    /// Notes what a part takes from around itself: from this definition, or from around that.
    fn take(&self, taken: Documents<'d>) -> Result<(), String> {
        for (name, document) in taken {
            match self.own.get(name) {
                Some(own) if std::ptr::eq(own.document, document) => {}
                Some(_) => {
                    return Err(format!("two workflows are called {name:?}: give one of them another name"));
                }
                None => {
                    self.taken.borrow_mut().insert(name, document);
                }
            }
        }
        Ok(())
    }

    fn named(&self, name: &str) -> Option<(&'d str, &Named<'d>)> {
        match self.own.get_key_value(name) {
            Some((name, named)) => Some((name, named)),
            None => self.outer.and_then(|outer| outer.named(name)),
        }
    }

    fn names(&self) -> Vec<&'d str> {
        let mut names: Vec<&str> = self.own.keys().copied().collect();
        names.extend(self.outer.map(Library::names).unwrap_or_default());
        names
    }

    /// The sentence about a name that nothing has. (Only asked of the outermost one.)
    fn unknown(&self, name: &str) -> String {
        let known = self.names();
        let known = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None if known.is_empty() => "there is nothing under workflows".to_owned(),
            None => format!("expected one of {}", known.join(", ")),
        };
        format!("there is no workflow {:?}: {known}", clip(name))
    }
}

/// The canonical bytes of a definition with what it takes from around it.
fn complete(document: &Value, taken: &BTreeMap<&str, &Value>) -> Result<Vec<u8>, String> {
    let mut whole = document.clone();
    if !taken.is_empty()
        && let Value::Object(members) = &mut whole
        && let Value::Object(named) = members.entry("workflows").or_insert_with(|| Value::Object(Map::new()))
    {
        for (name, document) in taken {
            named.insert((*name).to_owned(), (*document).clone());
        }
    }
    canonical::to_canonical(&whole).map_err(|error| format!("cannot be written as JSON: {error}"))
}

fn problem(message: String) -> Problem {
    Problem { step: None, field: "definition".to_owned(), message }
}
