//! The tools that are code of the node: `echo`, `sleep` and `cid`. All accept fields they do not know.
//!
//! - `echo` gives back its arguments object.
//! - `sleep {seconds}` waits so long and then gives back its arguments object.
//! - `cid {value}` gives `{"cid", "bytes"}`: the content id and length of the value's canonical JSON
//!   (`mcpp-jcs-v1`); `cid {path}` of the bytes of a file below one of the directories the node's owner named,
//!   read in pieces; if none is named no file is read. Exactly one of the two is needed.

use super::options::ExecutorOptions;
use super::progress::clip;
use meshwork_proto::canonical;
use meshwork_proto::cid::CidHasher;
use meshwork_proto::executor::{ToolError, ToolInfo, ToolKind};
use meshwork_proto::{Cid, Json};
use nix::fcntl::OFlag;
use serde_json::{Map, Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes of a file that are read at once.
const PIECE: usize = 256 * 1024;
/// Bytes of a path that an error repeats.
const SHOWN_PATH: usize = 500;
/// Longest sleep, in seconds: a hundred years, which the run limit ends much earlier.
const LONGEST_SLEEP: f64 = 3.2e9;

/// A built-in tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BuiltIn {
    Echo,
    Sleep,
    Cid,
}

/// All of them.
pub(super) const ALL: [BuiltIn; 3] = [BuiltIn::Cid, BuiltIn::Echo, BuiltIn::Sleep];
/// Their names: configured tools cannot have them.
pub(super) const NAMES: [&str; 3] = ["cid", "echo", "sleep"];

impl BuiltIn {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Sleep => "sleep",
            Self::Cid => "cid",
        }
    }

    /// As others see it; `slots` calls may run at the same time.
    pub(super) fn info(self, slots: u32) -> ToolInfo {
        let (description, input, output) = match self {
            Self::Echo => ("Gives back its arguments.", json!({"type": "object"}), json!({"type": "object"})),
            Self::Sleep => (
                "Waits and then gives back its arguments.",
                json!({
                    "type": "object",
                    "properties": {"seconds": {"type": "number", "minimum": 0, "description": "How long to wait."}},
                    "required": ["seconds"],
                }),
                json!({"type": "object"}),
            ),
            Self::Cid => (
                "Gives the content id (CIDv1, raw, sha2-256) of a JSON value in its canonical form, or of a file on \
                 the node that runs it, below a directory that its option executor.cid_paths names. Give either value \
                 or path.",
                json!({
                    "type": "object",
                    "properties": {
                        "value": {"description": "Any JSON value."},
                        "path": {"type": "string", "description": "A file on the node that runs the tool, below a directory it lets this tool read."},
                    },
                }),
                json!({
                    "type": "object",
                    "properties": {"cid": {"type": "string"}, "bytes": {"type": "integer"}},
                    "required": ["cid", "bytes"],
                }),
            ),
        };
        ToolInfo {
            name: self.name().to_owned(),
            category: "built_in".to_owned(),
            description: description.to_owned(),
            kind: ToolKind::BuiltIn,
            input_schema: Json::from_value(&input),
            output_schema: Some(Json::from_value(&output)),
            annotations: Some(Json::from_value(
                &json!({"readOnlyHint": true, "idempotentHint": true, "openWorldHint": false}),
            )),
            concurrency: slots,
        }
    }

    /// Runs it. Dropping the future ends it, also in the middle of a file.
    pub(super) async fn run(
        self,
        arguments: Map<String, Value>,
        options: &ExecutorOptions,
    ) -> Result<Value, ToolError> {
        match self {
            Self::Echo => {}
            Self::Sleep => tokio::time::sleep(sleep_time(&arguments)?).await,
            Self::Cid => return cid(arguments, options).await,
        }
        Ok(Value::Object(arguments))
    }
}

fn wrong(tool: BuiltIn, problem: impl Into<String>) -> ToolError {
    ToolError::Arguments { tool: tool.name().to_owned(), problem: problem.into() }
}

fn sleep_time(arguments: &Map<String, Value>) -> Result<Duration, ToolError> {
    let seconds = arguments.get("seconds").and_then(Value::as_f64);
    let fits = seconds.filter(|seconds| (0.0..=LONGEST_SLEEP).contains(seconds));
    let time = fits.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| {
        wrong(BuiltIn::Sleep, "seconds must be a number that is not negative, such as {\"seconds\": 1.5}")
    })
}

async fn cid(mut arguments: Map<String, Value>, options: &ExecutorOptions) -> Result<Value, ToolError> {
    let (cid, bytes) = match (arguments.remove("value"), arguments.remove("path")) {
        (Some(value), None) => in_background(move || cid_of_value(&value)).await??,
        (None, Some(Value::String(path))) => {
            cid_of_file(PathBuf::from(path), options.file_roots.clone()).await?
        }
        (None, Some(_)) => return Err(wrong(BuiltIn::Cid, "path must be a string")),
        (Some(_), Some(_)) => return Err(wrong(BuiltIn::Cid, "give either value or path, not both")),
        (None, None) => return Err(wrong(BuiltIn::Cid, "give a value (any JSON) or the path of a file")),
    };
    Ok(json!({"cid": cid.to_string(), "bytes": bytes}))
}

fn cid_of_value(value: &Value) -> Result<(Cid, u64), ToolError> {
    let bytes = canonical::to_canonical(value)
        .map_err(|error| wrong(BuiltIn::Cid, format!("value has no canonical form: {error}")))?;
    Ok((Cid::of(&bytes), bytes.len() as u64))
}

async fn cid_of_file(path: PathBuf, roots: Vec<PathBuf>) -> Result<(Cid, u64), ToolError> {
    // Reading goes on in the blocking pool when this future is dropped: the flag ends it there.
    let given_up = GivenUp(Arc::new(AtomicBool::new(false)));
    let flag = Arc::clone(&given_up.0);
    in_background(move || {
        let file = open(&path, &roots)?;
        hash(file, &flag).map_err(|error| failed(&path, &error))
    })
    .await?
}

struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn open(path: &Path, roots: &[PathBuf]) -> Result<File, ToolError> {
    if roots.is_empty() {
        let problem =
            "this node lets the tool read no file: name directories in its option executor.cid_paths";
        return Err(wrong(BuiltIn::Cid, problem));
    }
    let shown = clip(&path.display().to_string(), SHOWN_PATH);
    let outside = || {
        let problem = format!(
            "path {shown} is not below a directory that this node lets the tool read (option executor.cid_paths)"
        );
        wrong(BuiltIn::Cid, problem)
    };
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) if seems_inside(path, roots) => return Err(failed(path, &error)),
        // Which files exist elsewhere is none of the caller's business.
        Err(_) => return Err(outside()),
    };
    if !roots.iter().any(|root| root.canonicalize().is_ok_and(|root| real.starts_with(root))) {
        return Err(outside());
    }
    // Opening a pipe would otherwise wait for somebody who writes into it.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&real);
    let file = file.map_err(|error| failed(path, &error))?;
    match file.metadata() {
        Ok(meta) if meta.is_file() => Ok(file),
        Ok(_) => Err(wrong(BuiltIn::Cid, format!("path {shown} is not a regular file"))),
        Err(error) => Err(failed(path, &error)),
    }
}

/// By its text alone, for a path that leads to no file.
fn seems_inside(path: &Path, roots: &[PathBuf]) -> bool {
    let goes_up = path.components().any(|part| part == Component::ParentDir);
    !goes_up && roots.iter().any(|root| path.starts_with(root))
}

fn hash(mut file: File, given_up: &AtomicBool) -> io::Result<(Cid, u64)> {
    let mut hasher = CidHasher::new();
    let mut piece = vec![0_u8; PIECE];
    let mut total = 0_u64;
    loop {
        if given_up.load(Ordering::Relaxed) {
            return Err(io::Error::other("given up"));
        }
        let read = match file.read(&mut piece) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if read == 0 {
            return Ok((hasher.finish(), total));
        }
        hasher.update(piece.get(..read).unwrap_or_default());
        total += read as u64;
    }
}

fn failed(path: &Path, error: &io::Error) -> ToolError {
    ToolError::Failed {
        tool: BuiltIn::Cid.name().to_owned(),
        message: format!("{} cannot be read: {error}", clip(&path.display().to_string(), SHOWN_PATH)),
        mcp_result: None,
    }
}

/// Runs blocking work in the blocking pool.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ToolError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ToolError::Failed {
        tool: BuiltIn::Cid.name().to_owned(),
        message: format!("ended early: {error}"),
        mcp_result: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a node that lets the tool read every file.
    async fn run(tool: BuiltIn, arguments: Value) -> Result<Value, ToolError> {
        let options = ExecutorOptions { file_roots: vec!["/".into()], ..ExecutorOptions::default() };
        run_with(tool, arguments, &options).await
    }

    async fn run_with(
        tool: BuiltIn,
        arguments: Value,
        options: &ExecutorOptions,
    ) -> Result<Value, ToolError> {
        let Value::Object(arguments) = arguments else { panic!("not an object") };
        tool.run(arguments, options).await
    }

    #[tokio::test(start_paused = true)]
    async fn echo_and_sleep_give_back_their_arguments_with_fields_they_do_not_know() {
        let arguments = json!({"seconds": 2.5, "note": "x"});
        assert_eq!(run(BuiltIn::Echo, arguments.clone()).await, Ok(arguments.clone()));
        let before = tokio::time::Instant::now();
        assert_eq!(run(BuiltIn::Sleep, arguments.clone()).await, Ok(arguments));
        assert_eq!(before.elapsed(), Duration::from_millis(2_500));
    }

    #[tokio::test]
    async fn sleep_refuses_what_is_no_time() {
        for wrong in [json!({}), json!({"seconds": "1"}), json!({"seconds": -1}), json!({"seconds": 1e300})] {
            assert!(matches!(run(BuiltIn::Sleep, wrong).await, Err(ToolError::Arguments { .. })));
        }
    }

    #[tokio::test]
    async fn cid_names_canonical_json_so_order_and_spaces_do_not_matter() {
        let one = run(BuiltIn::Cid, json!({"value": {"b": 1.0, "a": null}, "extra": 1})).await.unwrap();
        assert_eq!(one["cid"], Cid::of(br#"{"a":null,"b":1}"#).to_string());
        assert_eq!(one["bytes"], 16);
        assert!(run(BuiltIn::Cid, json!({"value": null})).await.is_ok());
    }

    #[tokio::test]
    async fn cid_of_a_file_is_that_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        let bytes = vec![7_u8; PIECE * 2 + 1];
        std::fs::write(&path, &bytes).unwrap();
        let answer = run(BuiltIn::Cid, json!({"path": path})).await.unwrap();
        assert_eq!(answer, json!({"cid": Cid::of(&bytes).to_string(), "bytes": bytes.len()}));
    }

    #[tokio::test]
    async fn cid_refuses_what_is_neither_one_value_nor_one_regular_file() {
        let dir = tempfile::tempdir().unwrap();
        for wrong in
            [json!({}), json!({"value": 1, "path": "/x"}), json!({"path": 1}), json!({"path": dir.path()})]
        {
            assert!(matches!(run(BuiltIn::Cid, wrong).await, Err(ToolError::Arguments { .. })));
        }
        assert!(matches!(
            run(BuiltIn::Cid, json!({"path": "/dev/zero"})).await,
            Err(ToolError::Arguments { .. })
        ));
        assert!(matches!(
            run(BuiltIn::Cid, json!({"path": "/no/such"})).await,
            Err(ToolError::Failed { .. })
        ));
    }

    #[tokio::test]
    async fn files_outside_of_the_roots_are_refused_also_through_links() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(&outside, "x").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        std::fs::write(inside.join("fine"), "x").unwrap();
        let options = ExecutorOptions { file_roots: vec![inside.clone()], ..ExecutorOptions::default() };
        let path = |name: &str| json!({"path": inside.join(name)});
        assert!(run_with(BuiltIn::Cid, path("fine"), &options).await.is_ok());
        let missing = run_with(BuiltIn::Cid, path("missing"), &options).await;
        assert!(matches!(missing, Err(ToolError::Failed { .. })), "{missing:?}");
        for name in ["link", "../out", "../missing", "/no/such"] {
            let error = run_with(BuiltIn::Cid, path(name), &options).await.unwrap_err();
            assert!(matches!(error, ToolError::Arguments { .. }), "{name}: {error}");
        }
    }

    #[tokio::test]
    async fn without_roots_no_file_is_read_and_the_error_names_the_option() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        for path in [path, "/no/such".into()] {
            let error =
                run_with(BuiltIn::Cid, json!({"path": path}), &ExecutorOptions::default()).await.unwrap_err();
            assert!(error.to_string().contains("executor.cid_paths"), "{error}");
        }
    }
}
