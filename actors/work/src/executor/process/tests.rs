//! Process tools for real: what they get, how they end, and that nothing of them is left.

use super::*;
use crate::executor::sandbox::{SUBCOMMAND, support};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// Longer than any of these tests may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The example that is this crate's launcher: cargo builds it with the tests, beside their directory.
fn launcher() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let launcher = tests.parent().and_then(Path::parent).unwrap().join("examples/sandbox_launcher");
    assert!(launcher.is_file(), "{} is missing: run the tests with all targets", launcher.display());
    launcher
}

struct Bench {
    processes: Processes,
    options: ExecutorOptions,
    stop: Stop,
    sink: ProgressSink,
    task: Option<TaskTag>,
    dir: TempDir,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let scratch = dir.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    Bench {
        processes: Processes {
            spawner: Spawner::start(Handle::current()).unwrap(),
            metrics: Metrics::register(&prometheus::Registry::new()).unwrap(),
        },
        options: ExecutorOptions {
            launcher: Some(launcher()),
            scratch_dir: Some(scratch),
            kill_grace_s: 0.3,
            ..ExecutorOptions::default()
        },
        stop: Stop::new(),
        sink: ProgressSink::new(None),
        task: None,
        dir,
    }
}

impl Bench {
    fn with_grace(mut self, seconds: f64) -> Self {
        self.options.kill_grace_s = seconds;
        self
    }

    async fn run(&self, tool: &ProcessTool, arguments: &str) -> Ended<Vec<u8>> {
        let call = ProcessCall {
            tool,
            arguments: arguments.as_bytes(),
            task: self.task,
            timeout: tool.timeout(),
            stop: &self.stop,
            sink: &self.sink,
        };
        tokio::time::timeout(PATIENCE, self.processes.run(call, &self.options)).await.unwrap()
    }

    async fn done(&self, tool: &ProcessTool) -> String {
        match self.run(tool, "{}").await {
            Ended::Done(bytes) => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn failed(&self, tool: &ProcessTool) -> ToolError {
        match self.run(tool, "{}").await {
            Ended::Failed(error) => error,
            other => panic!("{other:?}"),
        }
    }

    /// A file in a directory that tools cannot see unless they are allowed to.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn sh(script: &str) -> ProcessTool {
    ProcessTool { timeout_s: 30.0, ..ProcessTool::new("test", ["sh", "-c", script]) }
}

/// Waits for something that must become true.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what} never came true");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether this process lives; one that has ended and that nobody has waited for does not.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with(['Z', 'X'])))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_come_on_standard_input_and_the_result_is_standard_output() {
    let arguments = format!(r#"{{"text":"{}"}}"#, "x".repeat(300_000));
    let ended = bench().run(&ProcessTool::new("cat", ["cat"]), &arguments).await;
    assert_eq!(ended, Ended::Done(arguments.into_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_does_not_read_its_arguments_is_no_failure() {
    let ended = bench().run(&sh("exec 0<&-; echo 1"), &"x".repeat(1_000_000)).await;
    assert_eq!(ended, Ended::Done(b"1\n".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_says_how_and_shows_the_end_of_standard_error() {
    let bench = bench();
    let exit = bench.failed(&sh("echo first >&2; echo no such word >&2; exit 3")).await.to_string();
    assert!(exit.contains("exit status 3") && exit.contains("no such word"), "{exit}");
    let signal = bench.failed(&sh("kill -SEGV $$")).await;
    assert!(matches!(&signal, ToolError::Crashed { how, .. } if how.contains("SIGSEGV")), "{signal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_hangs_is_killed_even_if_it_ignores_the_polite_signal() {
    let bench = bench();
    let pids = bench.file("pids", "");
    for trap in ["", "trap '' TERM;"] {
        let script = format!("{trap} echo $$ > {}; while :; do sleep 0.1; done", pids.display());
        let tool = ProcessTool { timeout_s: 1.0, write_paths: vec![pids.clone()], ..sh(&script) };
        assert_eq!(bench.failed(&tool).await, ToolError::Timeout { tool: "test".into(), after_ms: 1_000 });
        assert!(!lives(&read(&pids)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_may_clean_up_after_the_polite_signal() {
    let bench = bench().with_grace(30.0);
    let mark = bench.file("mark", "");
    let path = mark.display();
    let script =
        format!("trap 'echo clean > {path}; exit 0' TERM; echo up > {path}; while :; do sleep 0.05; done");
    let tool = ProcessTool { write_paths: vec![mark.clone()], ..sh(&script) };
    let stop = async {
        eventually("started", || read(&mark) == "up\n").await;
        bench.stop.request(StopReason::Cancelled);
    };
    let (ended, ()) = tokio::join!(bench.run(&tool, "{}"), stop);
    assert_eq!((ended, read(&mark).as_str()), (Ended::Stopped(StopReason::Cancelled), "clean\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_lost_lease_there_is_no_time_to_clean_up() {
    let bench = bench().with_grace(60.0);
    let mark = bench.file("mark", "");
    let script = format!("trap '' TERM; echo up > {}; while :; do sleep 0.05; done", mark.display());
    let tool = ProcessTool { write_paths: vec![mark.clone()], ..sh(&script) };
    let stop = async {
        eventually("started", || read(&mark) == "up\n").await;
        // Being cancelled already does not help.
        bench.stop.request(StopReason::Cancelled);
        tokio::time::sleep(Duration::from_millis(50)).await;
        bench.stop.request(StopReason::Lost);
        Instant::now()
    };
    let (ended, stopped) = tokio::join!(bench.run(&tool, "{}"), stop);
    assert_eq!(ended, Ended::Stopped(StopReason::Lost));
    assert!(stopped.elapsed() < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_output_is_cut_and_its_writer_killed() {
    let tool = ProcessTool { output_bytes: 100_000, ..sh("yes") };
    let error = bench().failed(&tool).await;
    assert!(
        matches!(&error, ToolError::Output { problem, .. } if problem.contains("100000 bytes") && problem.contains("output_kb")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_logging_is_read_and_forgotten() {
    let bench = bench();
    let tool = sh("yes 0123456789 | head -c 22000000 >&2; echo 1");
    assert_eq!(bench.done(&tool).await, "1\n");
    assert!(bench.sink.take_news().unwrap().log.iter().all(|line| line == "0123456789"));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_processor_time_are_limited() {
    let dd = |memory_bytes| ProcessTool {
        memory_bytes,
        ..ProcessTool::new("dd", ["dd", "if=/dev/zero", "of=/dev/null", "bs=512M", "count=1"])
    };
    let bench = bench();
    assert!(matches!(bench.failed(&dd(Some(64 << 20))).await, ToolError::Crashed { .. }));
    assert_eq!(bench.done(&dd(None)).await, "");
    let spin = ProcessTool { cpu_s: Some(1), ..sh("while :; do :; done") };
    let error = bench.failed(&spin).await.to_string();
    assert!(error.contains("SIGXCPU") && error.contains("1 s of CPU"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_what_is_configured_and_nothing_else() {
    let task = TaskTag {
        id: meshwork_proto::TaskId::from_bytes([7; 16]),
        attempt: 2,
        fence: meshwork_proto::Fence(9),
    };
    let bench = Bench { task: Some(task), ..bench() };
    let mut tool = ProcessTool::new("env", ["env"]);
    tool.env.insert("GIVEN".into(), "yes".into());
    let text = bench.done(&tool).await;
    let mut names: Vec<_> = text.lines().filter_map(|line| line.split_once('=')).collect();
    names.sort_unstable();
    let own: Vec<_> = names.iter().filter(|(name, _)| !["HOME", "TMPDIR"].contains(name)).copied().collect();
    assert_eq!(
        own,
        [
            ("GIVEN", "yes"),
            ("MESHWORK_ATTEMPT", "2"),
            ("MESHWORK_FENCE", "9"),
            ("MESHWORK_TASK_ID", task.id.to_string().as_str()),
            ("PATH", PATH),
        ]
    );
    assert_eq!(names.len(), own.len() + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_working_directory_is_private_empty_writable_and_removed() {
    let bench = bench();
    let text =
        bench.done(&sh("pwd; ls -A | wc -l; stat -c %a .; echo x > file && cat file; stat -c %a file")).await;
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let [dir, rest @ ..] = lines.as_slice() else { panic!("{text}") };
    assert_eq!(rest, ["0", "700", "x", "600"]);
    assert!(Path::new(dir).starts_with(bench.options.scratch_dir.as_ref().unwrap()));
    eventually("removed", || !Path::new(dir).exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grandchildren_are_killed_with_the_tool() {
    let bench = bench();
    let pids = bench.file("pids", "");
    let script = format!("(sleep 1000 & echo $! > {}; wait) & wait", pids.display());
    let tool = ProcessTool { write_paths: vec![pids.clone()], ..sh(&script) };
    let stop = async {
        eventually("started", || read(&pids).ends_with('\n')).await;
        assert!(lives(&read(&pids)));
        bench.stop.request(StopReason::Cancelled);
    };
    let (ended, ()) = tokio::join!(bench.run(&tool, "{}"), stop);
    assert_eq!(ended, Ended::Stopped(StopReason::Cancelled));
    eventually("grandchild ended", || !lives(&read(&pids))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tool_leaves_running_ends_with_it_and_does_not_hold_up_the_result() {
    let bench = bench();
    let pids = bench.file("pids", "");
    let tool = ProcessTool {
        write_paths: vec![pids.clone()],
        ..sh(&format!("sleep 1000 & echo $! > {}; echo 1", pids.display()))
    };
    assert_eq!(bench.done(&tool).await, "1\n");
    eventually("left-over ended", || !lives(&read(&pids))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_takes_its_processes_along() {
    let bench = bench();
    let pids = bench.file("pids", "");
    let script = format!("sleep 1000 & echo $! > {}; wait", pids.display());
    let tool = ProcessTool { write_paths: vec![pids.clone()], ..sh(&script) };
    tokio::select! {
        ended = bench.run(&tool, "{}") => panic!("{ended:?}"),
        () = eventually("started", || read(&pids).ends_with('\n')) => {}
    }
    eventually("ended", || !lives(&read(&pids))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_and_log_lines_reach_the_sink() {
    let bench = bench();
    bench.done(&sh(r#"echo hello >&2; echo '{"progress": 2, "total": 4}' >&2; echo 1"#)).await;
    let news = bench.sink.take_news().unwrap();
    assert_eq!((news.done, news.total, news.log), (2.0, Some(4.0), vec!["hello".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_is_unavailable_and_says_why() {
    let bench = bench();
    for command in ["no-such-program-at-all", "/no/such/program"] {
        let error = bench.failed(&ProcessTool::new("gone", [command])).await;
        assert!(
            matches!(&error, ToolError::Unavailable { problem, .. } if problem.contains("cannot be run")),
            "{error}"
        );
    }
    let no_launcher = ExecutorOptions { launcher: Some("/no/such/launcher".into()), ..bench.options.clone() };
    let bench = Bench { options: no_launcher, ..bench };
    let error = bench.failed(&sh("echo 1")).await.to_string();
    assert!(error.contains("launcher cannot be started"), "{error}");
}

/// Whether the kernel can enforce what these tests are about; says so loudly if not.
fn has_landlock(least: u32) -> bool {
    let version = support().landlock.unwrap_or(0);
    if version < least {
        let problem =
            format!("this kernel has Landlock {version}, the test needs {least}: nothing was tested");
        // Set where every test must run: there one that does not is a failure.
        let required = std::env::var_os("MESHWORK_REQUIRE_NET").is_some_and(|value| value == "1");
        assert!(!required, "MESHWORK_REQUIRE_NET is 1, but {problem}");
        eprintln!("SKIPPED: {problem}");
    }
    version >= least
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_out_of_reach_unless_they_are_allowed() {
    if !has_landlock(1) {
        return;
    }
    let bench = bench();
    let secret = bench.file("secret", "42");
    let (show, change) = (format!("cat {}", secret.display()), format!("echo 7 > {}", secret.display()));
    let denied = bench.failed(&sh(&show)).await.to_string();
    assert!(denied.contains("denied"), "{denied}");
    let readable = |script: &str| ProcessTool { read_paths: vec![secret.clone()], ..sh(script) };
    assert_eq!(bench.done(&readable(&show)).await, "42");
    assert!(matches!(bench.failed(&readable(&change)).await, ToolError::Crashed { .. }));
    let writable = ProcessTool { write_paths: vec![secret.clone()], ..sh(&change) };
    assert_eq!(bench.done(&writable).await, "");
    assert_eq!(read(&secret), "7\n");
    let missing = ProcessTool { read_paths: vec!["/no/such/path".into()], ..sh("echo 1") };
    assert!(matches!(bench.failed(&missing).await, ToolError::Unavailable { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_can_neither_be_read_nor_signalled() {
    if !has_landlock(6) {
        return;
    }
    let bench = bench();
    let read = bench.failed(&sh("cat /proc/$PPID/environ")).await.to_string();
    assert!(read.contains("denied"), "{read}");
    let signal = bench.failed(&sh("kill -0 $PPID")).await.to_string();
    assert!(signal.contains("not permitted"), "{signal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_privileges_cannot_be_had() {
    let text = bench().done(&ProcessTool::new("grep", ["grep", "NoNewPrivs", "/proc/self/status"])).await;
    assert_eq!(text.split_whitespace().last(), Some("1"));
}

/// A shell that stands for the node starts a tool through the launcher.
fn shell_node(script: &str) -> std::process::Child {
    let script = script
        .replace("SPEC", r#"'{"parent":'"$NODE"',"memory_bytes":null,"cpu_s":null,"read":[],"write":[]}'"#)
        .replace("LAUNCHER", &format!("{} {SUBCOMMAND} --", launcher().display()));
    let mut node = std::process::Command::new("sh");
    node.args(["-c", &script]).stdout(Stdio::piped()).stderr(Stdio::piped());
    node.spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_dies_with_its_node() {
    use std::io::{BufRead, BufReader};
    let mut node = shell_node("NODE=$$; MESHWORK_SANDBOX=SPEC LAUNCHER sleep 1000 & echo $!; wait");
    let mut pid = String::new();
    BufReader::new(node.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    let comm = format!("/proc/{}/comm", pid.trim());
    eventually("tool runs", || read(Path::new(&comm)) == "sleep\n").await;
    node.kill().unwrap();
    node.wait().unwrap();
    eventually("tool ended", || !lives(&pid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_does_not_start_when_its_node_has_died_already() {
    let node = shell_node("NODE=1; MESHWORK_SANDBOX=SPEC LAUNCHER echo ran");
    let output = node.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(sandbox::FAILED)));
    assert_eq!(output.stdout, b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with(sandbox::MARK) && said.contains("has gone"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_outlive_the_threads_that_asked_for_them() {
    let bench = Arc::new(bench());
    let (inner, runtime) = (Arc::clone(&bench), Handle::current());
    // The asking thread ends right after the start; a tool bound to it would be killed then.
    let call = std::thread::spawn(move || {
        let mut call = Box::pin(async move { inner.run(&sh("sleep 0.5; echo alive"), "{}").await });
        let _guard = runtime.enter();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        call
    });
    let call = call.join().unwrap();
    assert_eq!(call.await, Ended::Done(b"alive\n".to_vec()));
}
