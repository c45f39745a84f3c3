//! Nodes as processes, and the little that talking to them needs: JSON-RPC over HTTP, waiting for a condition.

pub(crate) mod mortal;

use serde_json::{Value, json};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// How long anything here may take before a test says that it never happened.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_meshwork")
}

/// An HTTP client for anything a node serves.
pub(crate) fn http_client() -> reqwest::Client {
    // The only error is that there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(PATIENCE + PATIENCE).tcp_nodelay(true).build().unwrap()
}

/// What a node may be started with beside its arguments.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Around<'a> {
    /// Variables of its environment.
    pub(crate) env: &'a [(&'a str, &'a str)],
    /// Where it listens for peers; a free port of loopback if none.
    pub(crate) listen: Option<&'a str>,
}

/// A node process; killed when dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) ready: Value,
    pub(crate) dir: PathBuf,
    http: reqwest::Client,
}

impl Node {
    /// Starts a node on loopback in `dir` and waits for its ready line.
    pub(crate) async fn start<S: AsRef<OsStr>>(dir: &Path, args: &[S]) -> Self {
        match Self::try_start(dir, args).await {
            Ok(node) => node,
            Err(log) => panic!("node in {} did not become ready:\n{log}", dir.display()),
        }
    }

    /// Like [`Node::start`], with an environment and an address of its own.
    pub(crate) async fn start_with<S: AsRef<OsStr>>(dir: &Path, args: &[S], around: Around<'_>) -> Self {
        match Self::try_start_with(dir, args, around).await {
            Ok(node) => node,
            Err(log) => panic!("node in {} did not become ready:\n{log}", dir.display()),
        }
    }

    /// Like [`Node::start`]; gives the log when the process ends or says nothing.
    pub(crate) async fn try_start<S: AsRef<OsStr>>(dir: &Path, args: &[S]) -> Result<Self, String> {
        Self::try_start_with(dir, args, Around::default()).await
    }

    async fn try_start_with<S: AsRef<OsStr>>(
        dir: &Path,
        args: &[S],
        around: Around<'_>,
    ) -> Result<Self, String> {
        std::fs::create_dir_all(dir).unwrap();
        let log_path = dir.join("node.log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&log_path).unwrap();
        // A test that starts a node again where clients wait for it says where that is.
        let given = args.iter().any(|arg| arg.as_ref() == "--http");
        let http: &[&str] = if given { &[] } else { &["--http", "127.0.0.1:0"] };
        let mut child = Command::new(binary())
            .args(["run", "--json", "--data-dir"])
            .arg(dir)
            .args(http)
            .args(["--listen", around.listen.unwrap_or("/ip4/127.0.0.1/tcp/0")])
            .args(args)
            // Nodes of other tests on this machine must not be found.
            .env("MESHWORK_P2P__DISCOVERY__MDNS", "off")
            .envs(around.env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let line = tokio::time::timeout(PATIENCE, BufReader::new(stdout).lines().next_line()).await;
        let said = std::fs::read_to_string(&log_path).unwrap_or_default();
        let Ok(Ok(Some(line))) = line else { return Err(said) };
        let ready: Value =
            serde_json::from_str(&line).map_err(|error| format!("{error} in {line:?}\n{said}"))?;
        let http = http_client();
        Ok(Self { child, ready, dir: dir.to_owned(), http })
    }

    pub(crate) fn peer_id(&self) -> &str {
        self.ready["peer_id"].as_str().unwrap()
    }

    pub(crate) fn mcp_url(&self) -> &str {
        self.ready["mcp_url"].as_str().unwrap()
    }

    /// A dialable address with the peer id.
    pub(crate) fn address(&self) -> String {
        self.ready["listen"][0].as_str().unwrap().to_owned()
    }

    /// The same address without the peer id: where another process can listen after this one.
    pub(crate) fn place(&self) -> String {
        self.address().split("/p2p/").next().unwrap().to_owned()
    }

    /// Ends it with SIGTERM, and checks that it ends well.
    pub(crate) async fn stop(&mut self) {
        self.terminate();
        assert_eq!(self.wait().await, Some(0), "{}", self.log());
    }

    /// Ends it with SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits until the process has ended by itself and gives its exit code.
    pub(crate) async fn wait(&mut self) -> Option<i32> {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("process ends").unwrap().code()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("node.log")).unwrap_or_default()
    }

    /// One stateless MCP request (2026-07-28); gives the JSON-RPC response.
    pub(crate) async fn mcp(&self, method: &str, mut params: Value) -> Result<Value, reqwest::Error> {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "meshwork-tests", "version": "1"},
        });
        let mut request = self
            .http
            .post(self.mcp_url())
            .header("Accept", "application/json, text/event-stream")
            .header("MCP-Protocol-Version", "2026-07-28")
            .header("Mcp-Method", method);
        if let Some(name) = params["name"].as_str() {
            request = request.header("Mcp-Name", name);
        }
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let text = request.json(&body).send().await?.text().await?;
        Ok(parse_response(&text))
    }

    /// Calls a tool; `Err` is the tool's structured error (or the protocol's).
    pub(crate) async fn tool(&self, name: &str, arguments: Value) -> Result<Value, Value> {
        let response = self
            .mcp("tools/call", json!({"name": name, "arguments": arguments}))
            .await
            .map_err(|error| json!({"code": "http", "message": error.to_string()}))?;
        if let Some(error) = response.get("error") {
            return Err(error.clone());
        }
        let result = &response["result"];
        let structured = result["structuredContent"].clone();
        if result["isError"] == json!(true) { Err(structured["error"].clone()) } else { Ok(structured) }
    }

    /// A tool of the task queue by the last part of its name; panics on an error.
    pub(crate) async fn queue(&self, tool: &str, arguments: Value) -> Value {
        match self.tool(&format!("p2p_taskqueue_{tool}"), arguments.clone()).await {
            Ok(value) => value,
            Err(error) => panic!("{tool} {arguments} gave {error}"),
        }
    }

    /// The same, for an error; panics on success.
    pub(crate) async fn queue_error(&self, tool: &str, arguments: Value) -> Value {
        match self.tool(&format!("p2p_taskqueue_{tool}"), arguments.clone()).await {
            Ok(value) => panic!("{tool} {arguments} should have failed but gave {value}"),
            Err(error) => error,
        }
    }

    /// Submits a task and gives its id.
    pub(crate) async fn submit(&self, task_type: &str, payload: Value) -> String {
        let submitted = self.queue("submit", json!({"task_type": task_type, "payload": payload})).await;
        submitted["task_id"].as_str().unwrap().to_owned()
    }

    /// Waits for the end of a task and gives its result record.
    pub(crate) async fn result(&self, task_id: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let result = self.queue("get_result", json!({"task_id": task_id, "wait_s": 10})).await;
            if ["completed", "failed", "cancelled"].contains(&result["status"].as_str().unwrap()) {
                return result;
            }
            assert!(Instant::now() < deadline, "task {task_id} never ended: {result}");
        }
    }

    /// A page beside MCP, such as `/health/ready`: status code and body.
    pub(crate) async fn page(&self, path: &str) -> (u16, String) {
        let url = format!("{}{path}", self.ready["admin_url"].as_str().unwrap());
        let response = self.http.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The command line as a client of this node: exit code, standard output, standard error.
    pub(crate) async fn cli(&self, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(binary())
            .args(args)
            .env("MESHWORK_URL", self.mcp_url())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }
}

/// JSON, or the last JSON message of an event stream.
fn parse_response(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| {
        let last = text
            .lines()
            .rev()
            .filter_map(|line| line.strip_prefix("data:"))
            .find(|data| !data.trim().is_empty());
        last.and_then(|data| serde_json::from_str(data.trim()).ok())
            .unwrap_or_else(|| json!({"error": {"code": "http", "message": text}}))
    })
}

/// Runs the binary to its end: exit code, standard output, standard error.
pub(crate) async fn run_cli(args: &[&str]) -> (i32, String, String) {
    let output =
        Command::new(binary()).args(args).env("NO_COLOR", "1").stdin(Stdio::null()).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Asks again and again until the answer satisfies, at most [`PATIENCE`] long.
pub(crate) async fn eventually<F, Fut, T>(what: &str, ask: F) -> T
where
    F: Fn() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Two nodes that trust each other: the second joined the first by invitation. Each has extra arguments.
pub(crate) async fn pair(dir: &Path, first: &[&str], second: &[&str]) -> (Node, Node) {
    let a = Node::start(&dir.join("a"), first).await;
    let invitation = invitation(&a).await;
    let mut args = vec!["--join", invitation.as_str()];
    args.extend_from_slice(second);
    let b = Node::start(&dir.join("b"), &args).await;
    connected(&a, &b).await;
    (a, b)
}

/// What `meshwork invite` prints for a running node.
pub(crate) async fn invitation(node: &Node) -> String {
    let (code, out, err) = run_cli(&["invite", "--data-dir", node.dir.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{err}");
    out.trim().to_owned()
}

/// Waits until both see each other as connected.
pub(crate) async fn connected(a: &Node, b: &Node) {
    for (one, other) in [(a, b), (b, a)] {
        eventually("peers see each other", || async {
            let found = one.queue("discover_peers", json!({})).await;
            let peers = found["peers"].as_array().unwrap();
            peers
                .iter()
                .any(|peer| peer["peer_id"] == other.peer_id() && peer["connected"] == json!(true))
                .then_some(())
        })
        .await;
    }
}

/// Writes a configuration file and gives its path as text.
pub(crate) fn config(dir: &Path, name: &str, text: &str) -> String {
    std::fs::create_dir_all(dir).unwrap();
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}
