//! The README's five minutes, command by command: what it shows is what happens.

use crate::support::{Node, PATIENCE, binary};
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A command of a `console` block and the output shown under it.
struct Step {
    command: String,
    shown: Vec<String>,
}

/// The blocks of one language in a text, in order.
pub(crate) fn blocks<'a>(readme: &'a str, language: &str) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut open: Option<Vec<&str>> = None;
    for line in readme.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(fence)) if fence == language => open = Some(Vec::new()),
            (Some(_), Some("")) => found.extend(open.take()),
            (Some(lines), _) => lines.push(line),
            (None, _) => {}
        }
    }
    found
}

fn steps(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in blocks(readme, "console").concat() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.to_owned(), shown: Vec::new() }),
            (None, Some(step)) => step.shown.push(line.to_owned()),
            (None, None) => panic!("output before any command: {line}"),
        }
    }
    steps
}

/// What differs from run to run (ids, ports, ages, places in columns) becomes `#`.
fn shape(line: &str) -> String {
    let varies = |word: &str| {
        word == "-"
            || word.starts_with('…')
            || matches!(word, "us" | "ms" | "s" | "min")
            || word.chars().any(|c| c.is_ascii_digit())
    };
    // A result that is JSON has to be the same to the letter.
    if line.starts_with('{') {
        return line.to_owned();
    }
    line.split_whitespace().map(|word| if varies(word) { "#" } else { word }).collect::<Vec<_>>().join(" ")
}

fn bash(command: &str, dir: &Path, node: &Node) -> Command {
    let path = Path::new(binary()).parent().unwrap();
    let mut shell = Command::new("bash");
    shell
        .arg("-c")
        .arg(command)
        .current_dir(dir)
        .env("PATH", format!("{}:{}", path.display(), std::env::var("PATH").unwrap()))
        .env("MESHWORK_URL", node.mcp_url())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    shell
}

#[tokio::test(flavor = "multi_thread")]
async fn its_commands_do_what_it_shows() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for block in blocks(&readme, "yaml") {
        if let Some(name) = block[0].strip_prefix("# ") {
            std::fs::write(dir.path().join(name), block.join("\n")).unwrap();
        }
    }
    let one = Node::start::<&str>(&dir.path().join("one"), &[]).await;
    let steps = steps(&readme);
    assert!(steps.len() >= 6, "the README shows {} commands", steps.len());
    let mut background: Vec<Child> = Vec::new();
    for step in &steps {
        // The node that `make run` started has its data where the system says; here it is in the test's directory.
        let command = step.command.replace("meshwork invite", "meshwork invite --data-dir one");
        let happened = match command.strip_suffix('&') {
            Some(command) => {
                let mut child = bash(&format!("exec {command}"), dir.path(), &one).spawn().unwrap();
                let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
                let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
                background.push(child);
                vec![line.unwrap_or_default()]
            }
            None => {
                let output =
                    bash(&format!("{{ {command}; }} 2>&1"), dir.path(), &one).output().await.unwrap();
                String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
            }
        };
        let shapes = |lines: &[String]| lines.iter().map(|line| shape(line)).collect::<Vec<_>>();
        // Listening on all interfaces gives as many addresses as the machine has.
        let cut = |mut lines: Vec<String>| {
            lines.iter_mut().filter(|line| line.starts_with("ready")).for_each(|line| line.truncate(20));
            lines
        };
        assert_eq!(
            cut(shapes(&happened)),
            cut(shapes(&step.shown)),
            "{}\n{}",
            step.command,
            happened.join("\n")
        );
    }
}
