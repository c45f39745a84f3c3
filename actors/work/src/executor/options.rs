//! What the executor is told at its start: slots, limits and the process tools of this node.

use super::sandbox;
use meshwork_proto::{Coded, ErrorCode, Json};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Largest result a tool may give when nothing else is configured, in bytes.
pub const DEFAULT_OUTPUT_BYTES: u64 = 1024 * 1024;
/// Largest result a process tool may be allowed, and largest payload a task may have, in bytes.
pub const MAX_PAYLOAD_BYTES: u64 = 64 * 1024 * 1024;
/// Calls of one process tool that run at the same time when nothing else is configured.
pub const DEFAULT_PROCESS_CONCURRENCY: u32 = 4;
/// Longest run of any tool that may be configured, in seconds (30 days).
const LONGEST_RUN_S: f64 = 30.0 * 24.0 * 3600.0;
const MAX_SLOTS: u32 = 10_000;
const MAX_PROCESS_TOOLS: usize = 1_000;
const MAX_NAME: usize = meshwork_proto::task::MAX_NAME;

/// Options of the executor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutorOptions {
    /// Calls that run at the same time, of all tools together; none = twice the number of cores, at least 4; 0 = this node
    /// runs nothing itself.
    pub slots: Option<u32>,
    /// Longest run of any tool, in seconds; a task's own `timeout_s` may only shorten it.
    pub max_run_s: f64,
    /// How long a process may take to end after SIGTERM before it is killed, in seconds.
    pub kill_grace_s: f64,
    /// Largest task payload that is loaded, in bytes.
    pub max_input_bytes: u64,
    /// Directories below which the built-in tool `cid` may read files; empty = it reads no file.
    pub file_roots: Vec<PathBuf>,
    /// Process tools.
    pub tools: Vec<ProcessTool>,
    /// The program that prepares the sandbox and becomes the tool: the node's own binary unless set.
    #[serde(skip)]
    pub launcher: Option<PathBuf>,
    /// Where private working directories are made; none = the system's directory for temporary files. Directories
    /// that a killed node left behind in it are removed at start, so each node needs its own.
    #[serde(skip)]
    pub scratch_dir: Option<PathBuf>,
}

impl Default for ExecutorOptions {
    fn default() -> Self {
        Self {
            slots: None,
            max_run_s: 3600.0,
            kill_grace_s: 2.0,
            max_input_bytes: MAX_PAYLOAD_BYTES,
            file_roots: Vec::new(),
            tools: Vec::new(),
            launcher: None,
            scratch_dir: None,
        }
    }
}

/// A tool that is a command: it reads its arguments, one JSON object, from standard input, and writes its result, one
/// JSON document, to standard output. Whatever it writes to standard error is its log; a line that is an object such as
/// `{"progress": 3, "total": 10, "message": "reading"}` reports progress.
///
/// It runs in a private, empty working directory (also its `HOME` and `TMPDIR`) that is removed afterwards, with a
/// cleared environment: `PATH`, `HOME`, `TMPDIR`, what [`ProcessTool::env`] says, and for a task `MESHWORK_TASK_ID`,
/// `MESHWORK_ATTEMPT` and `MESHWORK_FENCE`. Where the kernel has Landlock, it can open only system files, its working
/// directory, and [`ProcessTool::read_paths`] and [`ProcessTool::write_paths`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessTool {
    /// Name, unique on the node.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// Category it is listed under.
    #[serde(default = "default_category")]
    pub category: String,
    /// Program and arguments; the program is an absolute path or a name that is looked up in the tool's `PATH`.
    pub command: Vec<String>,
    /// JSON Schema of the arguments, an object.
    #[serde(default = "any_object")]
    pub input_schema: Json,
    /// JSON Schema of the result, if it is known.
    #[serde(default)]
    pub output_schema: Option<Json>,
    /// Behaviour hints of MCP (`readOnlyHint`, ...), an object.
    #[serde(default)]
    pub annotations: Option<Json>,
    /// Environment variables, beside those that every tool has.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Calls that run at the same time.
    #[serde(default = "default_concurrency")]
    pub concurrency: u32,
    /// Longest run, in seconds.
    #[serde(default = "default_timeout_s")]
    pub timeout_s: f64,
    /// Most address space of each of its processes, in bytes (`RLIMIT_AS`); none = no limit.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Most CPU time of each of its processes, in seconds (`RLIMIT_CPU`); none = no limit.
    #[serde(default)]
    pub cpu_s: Option<u64>,
    /// Largest result, in bytes; a tool that writes more is killed.
    #[serde(default = "default_output_bytes")]
    pub output_bytes: u64,
    /// Files and directories it may read and execute.
    #[serde(default)]
    pub read_paths: Vec<PathBuf>,
    /// Files and directories it may read and write.
    #[serde(default)]
    pub write_paths: Vec<PathBuf>,
}

fn default_category() -> String {
    "process".into()
}

fn any_object() -> Json {
    Json::from_value(&serde_json::json!({"type": "object"}))
}

const fn default_concurrency() -> u32 {
    DEFAULT_PROCESS_CONCURRENCY
}

const fn default_timeout_s() -> f64 {
    300.0
}

const fn default_output_bytes() -> u64 {
    DEFAULT_OUTPUT_BYTES
}

/// An option that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} {problem}")]
pub struct OptionsError {
    /// Which option.
    pub option: String,
    /// What is wrong with its value and what would be right.
    pub problem: String,
}

impl Coded for OptionsError {
    fn code(&self) -> ErrorCode {
        ErrorCode::Config
    }
}

impl ProcessTool {
    /// A tool with this name and command, and defaults for everything else.
    #[must_use]
    pub fn new(name: impl Into<String>, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            category: default_category(),
            command: command.into_iter().map(Into::into).collect(),
            input_schema: any_object(),
            output_schema: None,
            annotations: None,
            env: BTreeMap::new(),
            concurrency: default_concurrency(),
            timeout_s: default_timeout_s(),
            memory_bytes: None,
            cpu_s: None,
            output_bytes: default_output_bytes(),
            read_paths: Vec::new(),
            write_paths: Vec::new(),
        }
    }

    /// The longest run.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        seconds(self.timeout_s)
    }

    fn check(&self) -> Result<(), OptionsError> {
        let wrong = |option: &str, problem: String| {
            let name = super::progress::clip(&self.name, 80);
            Err(OptionsError { option: format!("tool {name:?}: {option}"), problem })
        };
        if self.name.is_empty() || self.name.len() > MAX_NAME || self.name.chars().any(char::is_control) {
            return wrong("name", "is not a name: expected 1 to 200 visible characters".into());
        }
        match self.command.first() {
            Some(program) if program.starts_with('/') || (!program.is_empty() && !program.contains('/')) => {}
            Some(program) => {
                return wrong(
                    "command",
                    format!("starts with {program:?}: expected an absolute path or a plain name"),
                );
            }
            None => return wrong("command", "is empty: expected a program and its arguments".into()),
        }
        if self.command.iter().chain(self.env.values()).any(|text| text.contains('\0')) {
            return wrong("command and env", "must not contain NUL characters".into());
        }
        if let Some(name) = self.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            return wrong(
                "env",
                format!("has the variable {name:?}: a name must not be empty or contain '='"),
            );
        }
        if let Some(name) = self.env.keys().find(|name| name.starts_with("MESHWORK_")) {
            return wrong(
                "env",
                format!("has the variable {name:?}: names with MESHWORK_ are set by the node"),
            );
        }
        if !self.input_schema.parse().is_ok_and(|schema| schema.is_object()) {
            return wrong("input_schema", "is not a JSON object".into());
        }
        if self.concurrency == 0 || self.concurrency > MAX_SLOTS {
            return wrong("concurrency", format!("is {}: expected 1 to {MAX_SLOTS}", self.concurrency));
        }
        if !is_time(self.timeout_s) {
            return wrong(
                "timeout_s",
                format!("is {}: expected more than 0 and at most {LONGEST_RUN_S}", self.timeout_s),
            );
        }
        if self.output_bytes == 0 || self.output_bytes > MAX_PAYLOAD_BYTES {
            return wrong(
                "output_bytes",
                format!("is {}: expected 1 to {MAX_PAYLOAD_BYTES}", self.output_bytes),
            );
        }
        self.check_limits()
    }

    fn check_limits(&self) -> Result<(), OptionsError> {
        let wrong = |option: &str, problem: String| {
            Err(OptionsError { option: format!("tool {:?}: {option}", self.name), problem })
        };
        if self.memory_bytes.is_some_and(|bytes| bytes < sandbox::LEAST_MEMORY) {
            let least = sandbox::LEAST_MEMORY;
            return wrong("memory_bytes", format!("is less than the {least} bytes that any process needs"));
        }
        if self.cpu_s == Some(0) {
            return wrong("cpu_s", "is 0: expected at least 1".into());
        }
        let relative = self.read_paths.iter().chain(&self.write_paths).find(|path| !path.is_absolute());
        match relative {
            Some(path) => wrong(
                "read_paths and write_paths",
                format!("have {}: expected absolute paths", path.display()),
            ),
            None => Ok(()),
        }
    }
}

impl ExecutorOptions {
    /// Checks every rule.
    ///
    /// # Errors
    /// The first option that makes no sense.
    pub fn check(&self) -> Result<(), OptionsError> {
        let wrong = |option: &str, problem: String| Err(OptionsError { option: option.to_owned(), problem });
        if let Some(slots) = self.slots.filter(|slots| *slots > MAX_SLOTS) {
            return wrong("slots", format!("is {slots}: expected 0 (runs nothing here) to {MAX_SLOTS}"));
        }
        if !is_time(self.max_run_s) {
            return wrong(
                "max_run_s",
                format!("is {}: expected more than 0 and at most {LONGEST_RUN_S}", self.max_run_s),
            );
        }
        if !(self.kill_grace_s.is_finite() && (0.0..=60.0).contains(&self.kill_grace_s)) {
            return wrong("kill_grace_s", format!("is {}: expected 0 to 60", self.kill_grace_s));
        }
        if self.max_input_bytes > MAX_PAYLOAD_BYTES {
            return wrong(
                "max_input_bytes",
                format!("is {}: expected at most {MAX_PAYLOAD_BYTES}", self.max_input_bytes),
            );
        }
        if self.tools.len() > MAX_PROCESS_TOOLS {
            return wrong(
                "tools",
                format!("are {}: at most {MAX_PROCESS_TOOLS} process tools", self.tools.len()),
            );
        }
        let mut names: BTreeSet<&str> = super::builtin::NAMES.into_iter().collect();
        for tool in &self.tools {
            tool.check()?;
            if !names.insert(&tool.name) {
                return wrong(
                    "tools",
                    format!("have the name {:?} twice, or it is a built-in tool's", tool.name),
                );
            }
        }
        Ok(())
    }

    /// Calls that run at the same time.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots.unwrap_or_else(|| {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            u32::try_from(cores).unwrap_or(MAX_SLOTS).saturating_mul(2).clamp(4, MAX_SLOTS)
        })
    }

    /// Longest run of any tool.
    #[must_use]
    pub fn max_run(&self) -> Duration {
        seconds(self.max_run_s)
    }

    /// Time between SIGTERM and SIGKILL.
    #[must_use]
    pub fn kill_grace(&self) -> Duration {
        seconds(self.kill_grace_s)
    }
}

fn is_time(seconds: f64) -> bool {
    seconds.is_finite() && seconds > 0.0 && seconds <= LONGEST_RUN_S
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(tool: ProcessTool) -> ExecutorOptions {
        ExecutorOptions { tools: vec![tool], ..ExecutorOptions::default() }
    }

    #[test]
    fn the_defaults_are_valid_and_there_are_at_least_four_slots() {
        assert_eq!(options(ProcessTool::new("wc", ["wc", "-c"])).check(), Ok(()));
        assert!(ExecutorOptions::default().slots() >= 4);
    }

    #[test]
    fn each_broken_rule_names_its_option() {
        type Break = fn(&mut ProcessTool);
        let breaks: [(&str, Break); 10] = [
            ("name", |tool| tool.name.clear()),
            ("tools", |tool| tool.name = "echo".into()),
            ("command", |tool| tool.command.clear()),
            ("command", |tool| tool.command = vec!["./relative".into()]),
            ("env", |tool| _ = tool.env.insert("MESHWORK_TASK_ID".into(), "x".into())),
            ("input_schema", |tool| tool.input_schema = Json::from_value(&serde_json::json!([]))),
            ("concurrency", |tool| tool.concurrency = 0),
            ("timeout_s", |tool| tool.timeout_s = f64::NAN),
            ("output_bytes", |tool| tool.output_bytes = u64::MAX),
            ("read_paths", |tool| tool.read_paths.push("relative".into())),
        ];
        for (option, breaks) in breaks {
            let mut tool = ProcessTool::new("wc", ["wc"]);
            breaks(&mut tool);
            let error = options(tool).check().unwrap_err();
            assert!(error.to_string().contains(option), "{option}: {error}");
        }
    }

    #[test]
    fn a_tool_reads_from_configuration_and_an_unknown_key_is_an_error() {
        let tool: ProcessTool =
            serde_json::from_str(r#"{"name": "wc", "command": ["wc"], "timeout_s": 2}"#).unwrap();
        assert_eq!(tool, ProcessTool { timeout_s: 2.0, ..ProcessTool::new("wc", ["wc"]) });
        assert!(
            serde_json::from_str::<ProcessTool>(r#"{"name": "wc", "command": ["wc"], "time": 2}"#).is_err()
        );
    }
}
