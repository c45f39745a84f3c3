//! The example workflows of the documentation do what they say, with the tools and the configuration beside them.

use crate::support::{Node, eventually, invitation};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples")
}

fn file(name: &str) -> String {
    examples().join(name).to_str().unwrap().to_owned()
}

/// The configuration that the examples' own script writes for a folder.
fn configuration(dir: &Path, folder: &Path) -> String {
    let made = Command::new("python3").arg("-B").arg(file("configure.py")).arg(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let path = dir.join("node.yaml");
    std::fs::write(&path, &made.stdout).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A node with the tools of the examples, and the folder that they may use.
async fn playground(dir: &Path) -> (Node, PathBuf) {
    let folder = dir.join("playground");
    std::fs::create_dir_all(&folder).unwrap();
    let configuration = configuration(dir, &folder);
    (Node::start(&dir.join("node"), &["--config", &configuration]).await, folder)
}

/// Runs an example to its end and gives what `--json` printed.
async fn run(node: &Node, name: &str, inputs: &[&str]) -> (i32, Value) {
    let path = file(name);
    let mut args = vec!["--json", "workflow", "run", path.as_str()];
    for input in inputs {
        args.extend(["--input", input]);
    }
    let (code, out, err) = node.cli(&args).await;
    let said: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out:?} {err}"));
    (code, said)
}

#[track_caller]
fn git(repository: &Path, args: &[&str]) -> String {
    let author = ["-c", "user.name=Example", "-c", "user.email=example@example.org"];
    let done = Command::new("git").arg("-C").arg(repository).args(author).args(args).output().unwrap();
    assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn deduplicate_finds_the_files_that_are_the_same_and_both_nodes_hash() {
    let dir = tempfile::tempdir().unwrap();
    let (node, folder) = playground(dir.path()).await;
    let configuration = configuration(dir.path(), &folder);
    let invitation = invitation(&node).await;
    let worker =
        Node::start(&dir.path().join("worker"), &["--config", &configuration, "--join", &invitation]).await;
    for n in 0..40_u8 {
        std::fs::write(folder.join(format!("{n:02}.bin")), [n / 2; 5000]).unwrap();
    }
    std::fs::write(folder.join("alone.bin"), [1; 77]).unwrap();
    eventually("the worker claims at the first node", || async {
        let stats = node.queue("worker_stats", serde_json::json!({})).await;
        stats["workers"].to_string().contains(worker.peer_id()).then_some(())
    })
    .await;
    let (code, said) = run(&node, "deduplicate.yaml", &[&format!("folder={}", folder.display())]).await;
    assert_eq!(code, 0, "{said}");
    let output = &said["output"];
    assert_eq!(output["hashed"], 40, "the file that is alone in its size is not read: {output}");
    assert_eq!(output["groups"].as_array().unwrap().len(), 20);
    assert_eq!(output["wasted_bytes"], 20 * 5000);
    let (_, history, _) =
        node.cli(&["--json", "workflow", "history", said["workflow_id"].as_str().unwrap()]).await;
    for peer in [node.peer_id(), worker.peer_id()] {
        assert!(history.contains(peer), "{peer} hashed nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn word_count_uses_a_sub_workflow_for_each_folder_and_reads_an_unchanged_text_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let (node, folder) = playground(dir.path()).await;
    let mut folders = Vec::new();
    for name in ["one", "two"] {
        let path = folder.join(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("a.txt"), "the mesh, the whole mesh").unwrap();
        std::fs::write(path.join("b.txt"), format!("{name} mesh")).unwrap();
        folders.push(path.to_str().unwrap().to_owned());
    }
    let folders = format!("folders={}", serde_json::to_string(&folders).unwrap());
    let (code, said) = run(&node, "word-count.yaml", &[&folders, "top=2"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(said["output"]["counts"], serde_json::json!({"mesh": 6, "the": 4}), "{said}");
    let calls = counted(&node, "count_words").await;
    let (code, again) = run(&node, "word-count.yaml", &[&folders, "top=2"]).await;
    assert_eq!((code, &again["output"]), (0, &said["output"]));
    assert_eq!(counted(&node, "count_words").await, calls, "an unchanged text was read again");
}

/// Tasks of this type that the node's queue holds, finished ones included.
async fn counted(node: &Node, task_type: &str) -> usize {
    let page = node.queue("list_tasks", serde_json::json!({"task_type": task_type, "limit": 1000})).await;
    page["tasks"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn release_saga_makes_a_release_or_leaves_no_trace_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (node, folder) = playground(dir.path()).await;
    let repository = folder.join("repository");
    std::fs::create_dir_all(&repository).unwrap();
    git(&repository, &["init", "--quiet"]);
    std::fs::write(repository.join("README.md"), "hello").unwrap();
    git(&repository, &["add", "."]);
    git(&repository, &["commit", "--quiet", "-m", "first"]);
    let place = format!("repository={}", repository.display());
    let (code, said) = run(&node, "release-saga.yaml", &[&place, "version=1.2.3"]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(said["output"]["tag"], "v1.2.3");
    assert_eq!(git(&repository, &["tag"]), "v1.2.3");

    let required = r#"required=["README.md", "CHANGELOG.md"]"#;
    let (code, said) = run(&node, "release-saga.yaml", &[&place, "version=2.0.0", required]).await;
    assert_ne!(code, 0, "{said}");
    assert_eq!(said["state"], "failed");
    assert!(said["error"].to_string().contains("CHANGELOG.md"), "{said}");
    assert_eq!(git(&repository, &["tag"]), "v1.2.3", "the tag of the failed release is left over");
    assert!(!git(&repository, &["branch"]).contains("release-2.0.0"), "its branch is left over");
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_waits_for_the_signal_before_it_removes_old_archives() {
    let dir = tempfile::tempdir().unwrap();
    let (node, folder) = playground(dir.path()).await;
    let (data, into) = (folder.join("data"), folder.join("archives"));
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("a"), "a").unwrap();
    let inputs = |name: &str, more: &[&str]| {
        let mut inputs = vec![
            format!("folder={}", data.display()),
            format!("into={}", into.display()),
            format!("name={name}"),
            "keep=1".to_owned(),
        ];
        inputs.extend(more.iter().map(|one| (*one).to_owned()));
        inputs
    };
    let first = inputs("monday", &["ask=false"]);
    let first: Vec<&str> = first.iter().map(String::as_str).collect();
    let (code, said) = run(&node, "backup.yaml", &first).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(said["output"]["archive"]["files"], 1);

    let path = file("backup.yaml");
    let mut args = vec!["workflow".to_owned(), "submit".to_owned(), path];
    for input in inputs("tuesday", &[]) {
        args.extend(["--input".to_owned(), input]);
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (code, out, err) = node.cli(&args).await;
    assert_eq!(code, 0, "{err}");
    let id = out.trim();
    let status = || node.tool("p2p_workflow_status", serde_json::json!({"workflow_id": id}));
    eventually("the run waits for the signal", || async {
        let steps = status().await.unwrap()["steps"].clone();
        let waits = |step: &Value| step["id"] == "agreed" && step["state"] == "waiting";
        steps.as_array().unwrap().iter().any(waits).then_some(())
    })
    .await;
    assert!(into.join("monday.tar.gz").exists(), "nobody has agreed yet");
    let (code, _, err) = node.cli(&["workflow", "signal", id, "prune"]).await;
    assert_eq!(code, 0, "{err}");
    eventually("the run completes", || async {
        (status().await.unwrap()["state"] == "completed").then_some(())
    })
    .await;
    assert!(!into.join("monday.tar.gz").exists() && into.join("tuesday.tar.gz").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn repository_report_is_valid_and_says_which_tools_it_lacks() {
    // It needs programs from PyPI and npm: `make examples` runs it with them.
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = playground(dir.path()).await;
    let path = file("repository-report.yaml");
    let inputs = ["--input", "url=/x", "--input", "into=/y"];
    let (code, out, err) =
        node.cli(&[&["workflow", "validate", "--allow-unknown-tools", &path], &inputs[..]].concat()).await;
    assert_eq!(code, 0, "{out} {err}");
    let (code, out, err) = node.cli(&[&["workflow", "validate", &path], &inputs[..]].concat()).await;
    assert_ne!(code, 0);
    let said = format!("{out}{err}");
    for lacking in ["git__git_log", "files__search_files"] {
        assert!(said.contains(lacking), "{said}");
    }
}
