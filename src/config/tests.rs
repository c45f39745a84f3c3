//! The layers together: precedence, provenance, every problem with its place, secrets, and the documentation.

mod membership;

use super::schema::{Fallback, KEYS, Key, Kind, TOOL, UPSTREAM};
use super::*;
use serde_json::{Value, json};
use std::path::PathBuf;

/// A configuration file that lives as long as the test.
struct File {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.yaml");
    std::fs::write(&path, text).unwrap();
    File { _dir: dir, path }
}

fn flag(flag: &str, path: &str, values: &[&str]) -> FlagValue {
    FlagValue {
        flag: flag.into(),
        path: path.into(),
        values: values.iter().map(|text| (*text).into()).collect(),
    }
}

/// The problems of a file, each without the name of the directory.
fn problems_of(text: &str) -> Vec<String> {
    let file = file(text);
    let sources = Sources { file: Some(file.path.clone()), ..Sources::default() };
    let dir = format!("{}/", file.path.parent().unwrap().display());
    load(&sources).unwrap_err().problems.iter().map(|problem| problem.to_string().replace(&dir, "")).collect()
}

fn entry<'a>(effective: &'a Effective, key: &str) -> &'a Entry {
    effective.entries.iter().find(|entry| entry.key == key).unwrap_or_else(|| panic!("no entry {key}"))
}

#[test]
fn a_node_needs_no_configuration_at_all() {
    let environment = Environment::of([("HOME", "/home/ada")]);
    let effective = load(&Sources { environment, ..Sources::default() }).unwrap();
    assert_eq!(effective.node.server.http.to_string(), "127.0.0.1:8000");
    assert_eq!(effective.node.data_dir, PathBuf::from("/home/ada/.local/share/meshwork"));
    assert_eq!(effective.node.p2p.listen.len(), 2);
    assert_eq!(effective.node.p2p.taskqueue.max_tasks, 1_000_000);
    assert_eq!(effective.node.executor.slots, None);
    assert!(effective.entries.iter().all(|entry| entry.source == Source::Default));
}

#[test]
fn flags_go_over_the_environment_that_goes_over_the_file() {
    let file = file("server:\n  http: 127.0.0.1:1\nlog:\n  level: debug\nexecutor:\n  slots: 3\n");
    let environment =
        Environment::of([("MESHWORK_HTTP", "127.0.0.1:2"), ("MESHWORK_LOG", "warn"), ("HOME", "/h")]);
    let flags = vec![flag("--http", "server.http", &["127.0.0.1:3"])];
    let effective = load(&Sources { file: Some(file.path.clone()), environment, flags }).unwrap();
    assert_eq!(effective.node.server.http.port(), 3);
    assert_eq!(effective.node.log.level, "warn");
    assert_eq!(effective.node.executor.slots, Some(3));
    assert_eq!(entry(&effective, "server.http").source.to_string(), "flag --http");
    assert_eq!(entry(&effective, "log.level").source.to_string(), "env MESHWORK_LOG");
    let slots = entry(&effective, "executor.slots");
    assert_eq!(
        (slots.value.clone(), slots.source.to_string()),
        (json!(3), format!("file {}:6", file.path.display()))
    );
    assert_eq!(entry(&effective, "log.format").source, Source::Default);
}

#[test]
fn every_variable_has_a_long_name_and_lists_are_separated_by_commas() {
    let environment = Environment::of([
        ("MESHWORK_P2P__TASKQUEUE__LEASE_S", "12.5"),
        ("MESHWORK_EXECUTOR__LABELS", "gpu, big"),
        ("MESHWORK_UPSTREAMS", "[{name: git, command: [mcp-server-git]}]"),
    ]);
    let effective = load(&Sources { environment, ..Sources::default() }).unwrap();
    assert_eq!(effective.node.p2p.taskqueue.lease_s, 12.5);
    assert_eq!(effective.node.executor.labels, ["gpu", "big"]);
    assert_eq!(effective.node.upstreams[0].command, ["mcp-server-git"]);
    assert_eq!(entry(&effective, "upstreams[0].name").source.to_string(), "env MESHWORK_UPSTREAMS");
}

#[test]
fn all_problems_of_a_file_are_reported_together_each_at_its_place() {
    let problems = problems_of(
        "server:\n  htp: 127.0.0.1:1\n  admin_http: 8001\np2p:\n  lisen: []\n  taskqueue:\n    lease_s: soon\n    \
         max_tasks: 0\nlisten: []\nstore: yes\n",
    );
    let expected = [
        "node.yaml:2:3: server.htp is no known key: did you mean server.http?",
        "node.yaml:3:15: server.admin_http is the number 8001: expected an address as IP:PORT, such as 127.0.0.1:8000",
        "node.yaml:5:3: p2p.lisen is no known key: did you mean p2p.listen?",
        "node.yaml:7:14: p2p.taskqueue.lease_s is \"soon\": expected a number from 0.1 to 3600",
        "node.yaml:8:16: p2p.taskqueue.max_tasks is the number 0: expected a whole number from 1 to 1000000000",
        "node.yaml:9:1: listen is no known key: did you mean p2p.listen?",
        "node.yaml:10:8: store is \"yes\": expected a section with keys of its own",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn problems_inside_lists_of_sections_are_found_too() {
    let problems = problems_of(
        "executor:\n  tools:\n    - name: a b\n      comand: [x]\n    - name: resize\n      command: [resize]\n      \
         env: {SIZE: 3}\n      input_schema: {type: array}\nupstreams:\n  - just text\n",
    );
    let expected = [
        "node.yaml:3:13: executor.tools[0].name is \"a b\": expected a name of at most 64 letters, digits, _ or -",
        "node.yaml:4:7: executor.tools[0].comand is no known key: did you mean command?",
        "node.yaml:3:7: executor.tools[0] has no command: expected a list, each item a text",
        "node.yaml:7:19: executor.tools[1].env.SIZE has a value that is no text: put it in quotes",
    ];
    assert_eq!(problems[..4], expected);
    assert!(
        problems[4].starts_with("node.yaml:8:21: executor.tools[1].input_schema is no schema of an object"),
        "{problems:?}"
    );
    assert!(problems[5].starts_with("node.yaml:10:5: upstreams[0] is \"just text\""), "{problems:?}");
}

#[test]
fn values_that_do_not_fit_together_are_reported_where_one_of_them_stands() {
    let problems = problems_of(
        "executor:\n  tools:\n    - {name: echo, command: [x]}\n    - {name: twice, command: [x]}\n    \
         - {name: twice, command: [x]}\nupstreams:\n  - {name: git, command: [x], url: 'http://localhost'}\n  - {name: none}\n",
    );
    let expected = [
        "node.yaml:3: executor.tools[0].name is \"echo\", a tool that every node has: choose another name",
        "node.yaml:5: executor.tools[2].name is \"twice\" a second time: each tool needs a name of its own",
        "node.yaml:7: upstreams[0].url and command exclude one another: give one of them",
        "node.yaml:7: upstreams[1].command is missing: give the program of the server, or its url",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn a_tool_must_not_depend_on_where_the_node_was_started() {
    let problems = problems_of(
        "executor:\n  tools:\n    - {name: a, command: [./a]}\n    - {name: b, command: [b], env: {MESHWORK_X: y}}\n",
    );
    let expected = [
        "node.yaml:3: executor.tools[0].command starts with \"./a\": expected an absolute path or a plain name",
        "node.yaml:4: executor.tools[1].env has the variable MESHWORK_X: names with MESHWORK_ are set by the node",
    ];
    assert_eq!(problems, expected);
    let problems = problems_of("executor:\n  tools: [{name: a, command: [a], read_paths: [data]}]\n");
    assert!(problems[0].contains("expected a path that begins with /"), "{problems:?}");
}

#[test]
fn a_file_that_is_no_yaml_or_not_there_is_one_clear_problem() {
    let problems = problems_of("server: {http: [\n");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("is no YAML"), "{problems:?}");
    let missing = Sources { file: Some("/nowhere/node.yaml".into()), ..Sources::default() };
    let text = load(&missing).unwrap_err().to_string();
    assert!(text.contains("/nowhere/node.yaml") && text.contains("cannot be read"), "{text}");
}

#[test]
fn a_misspelt_variable_is_an_error_when_it_is_surely_ours_and_a_warning_otherwise() {
    let environment = Environment::of([("MESHWORK_SERVER__HTPP", "127.0.0.1:1")]);
    let text = load(&Sources { environment, ..Sources::default() }).unwrap_err().to_string();
    assert!(text.contains("did you mean MESHWORK_SERVER__HTTP?"), "{text}");
    let environment =
        Environment::of([("MESHWORK_LISTN", "x"), ("MESHWORK_URL", "x"), ("MESHWORK_TASK_ID", "x")]);
    let warnings = load(&Sources { environment, ..Sources::default() }).unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("MESHWORK_LISTEN?"), "{warnings:?}");
}

#[test]
fn the_same_key_by_two_variables_is_ambiguous() {
    let environment =
        Environment::of([("MESHWORK_HTTP", "127.0.0.1:1"), ("MESHWORK_SERVER__HTTP", "127.0.0.1:2")]);
    let text = load(&Sources { environment, ..Sources::default() }).unwrap_err().to_string();
    assert!(text.contains("MESHWORK_SERVER__HTTP both set server.http"), "{text}");
}

#[test]
fn http_that_others_reach_has_to_be_allowed() {
    let set = |values: &[(&str, &str)]| {
        let flags = values.iter().map(|(path, value)| flag("--set", path, &[value])).collect();
        load(&Sources { flags, ..Sources::default() })
    };
    let remote = ("server.http", "0.0.0.0:8000");
    let text = set(&[remote, ("server.admin_http", "[::]:9000")]).unwrap_err().to_string();
    assert!(text.contains("server.http is 0.0.0.0:8000") && text.contains("server.admin_http is"), "{text}");
    assert!(text.contains("--set server.allow_remote=true"), "{text}");
    assert!(set(&[remote, ("server.allow_remote", "true")]).unwrap().node.server.allow_remote);
    assert!(set(&[("server.http", "[::1]:8000")]).is_ok());
    let text = set(&[("server.allow_remote", "yes")]).unwrap_err().to_string();
    assert!(text.contains("expected true or false"), "{text}");
}

#[test]
fn a_mesh_secret_that_a_node_would_refuse_is_a_problem_of_the_configuration() {
    let problems = problems_of("p2p:\n  mesh_secret: short\n");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("node.yaml:2: p2p.mesh_secret cannot be used"), "{problems:?}");
    assert!(problems[0].contains("5 bytes: expected 16 to 1024"), "{problems:?}");
}

#[test]
fn headers_of_an_mcp_server_are_secret_and_need_its_url() {
    let file = file("upstreams:\n  - {name: a, url: 'http://localhost', headers: {X-Key: top-secret}}\n");
    let effective = load(&Sources { file: Some(file.path.clone()), ..Sources::default() }).unwrap();
    assert_eq!(effective.node.upstreams[0].headers["X-Key"].expose(), "top-secret");
    assert!(!format!("{effective:?}").contains("top-secret"));
    let problems = problems_of(
        "upstreams:\n  - {name: a, command: [x], headers: {X-Key: k}}\n  \
         - {name: b, url: 'http://localhost', headers: {'not a name': k, X-Key: \"top\\nsecret\"}}\n",
    );
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(!problems.join(" ").contains("secret"), "{problems:?}");
}

#[test]
fn a_key_given_twice_is_told_with_both_lines() {
    let problems = problems_of("log: {}\nserver: {}\nlog: {}\n");
    assert_eq!(problems, ["node.yaml:3:1: gives the key \"log\" twice: in line 1 and in line 3"]);
}

#[test]
fn secrets_are_never_shown() {
    let file = file(
        "p2p:\n  mesh_secret: top-secret-value-1\nupstreams:\n  - name: git\n    command: [x]\n    env: {TOKEN: top-secret-value-2}\n",
    );
    let effective = load(&Sources { file: Some(file.path.clone()), ..Sources::default() }).unwrap();
    assert_eq!(effective.node.p2p.mesh_secret.as_ref().unwrap().expose(), "top-secret-value-1");
    assert_eq!(effective.node.upstreams[0].env["TOKEN"].expose(), "top-secret-value-2");
    for shown in [
        format!("{effective:?}"),
        serde_json::to_string(&effective.entries).unwrap(),
        json!(effective.node).to_string(),
    ] {
        assert!(!shown.contains("top-secret"), "{shown}");
    }
    assert_eq!(entry(&effective, "p2p.mesh_secret").value, json!("<hidden>"));
    assert_eq!(entry(&effective, "upstreams[0].env").value, json!({"TOKEN": "<hidden>"}));
    assert_eq!(entry(&effective, "p2p.join").value, Value::Null);
}

#[test]
fn a_wrong_secret_is_reported_without_being_quoted() {
    let problems = problems_of(
        "p2p:\n  join: top-secret-invitation\n  mesh_secret: [top-secret]\nupstreams:\n  - {name: x, command: [x], env: top-secret}\n",
    );
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(!problems.join("\n").contains("top-secret"), "{problems:?}");
}

#[test]
fn the_last_layer_that_says_how_the_secret_is_given_wins() {
    let file = file("p2p:\n  mesh_secret_file: /etc/secret\n");
    let environment = Environment::of([("MESHWORK_MESH_SECRET", "sixteen-characters")]);
    let effective =
        load(&Sources { file: Some(file.path.clone()), environment, ..Sources::default() }).unwrap();
    assert_eq!(effective.node.p2p.mesh_secret_file, None);
    assert!(effective.node.p2p.mesh_secret.is_some());
    let both = problems_of("p2p:\n  mesh_secret: sixteen-characters\n  mesh_secret_file: /etc/secret\n");
    assert_eq!(both.len(), 1);
    assert!(both[0].contains("p2p.mesh_secret both say what the mesh secret is"), "{both:?}");
}

#[test]
fn an_invitation_is_checked_and_read() {
    let invitation = meshwork_proto::invite::Invitation {
        peer: "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap(),
        addresses: vec!["/ip4/192.0.2.7/tcp/4001".into()],
        secret: b"sixteen-characters".to_vec(),
    };
    let text = invitation.to_text().unwrap();
    let flags = vec![flag("--join", "p2p.join", &[&text])];
    let effective = load(&Sources { flags, ..Sources::default() }).unwrap();
    assert_eq!(effective.node.p2p.invitation(), Some(invitation));
    let flags = vec![flag("--join", "p2p.join", &[&text[..text.len() - 2]])];
    let error = load(&Sources { flags, ..Sources::default() }).unwrap_err().to_string();
    assert!(error.contains("--join: p2p.join cannot be used: invitation is damaged"), "{error}");
}

#[test]
fn a_later_list_replaces_the_earlier_one_and_an_empty_section_is_no_error() {
    let file = file("p2p:\nexecutor:\n  labels: [a, b]\n  tools:\n    - {name: t, command: [x]}\n");
    let flags = vec![
        flag("--label", "executor.labels", &["c"]),
        flag("--set executor.tools", "executor.tools", &["[]"]),
    ];
    let effective = load(&Sources { file: Some(file.path.clone()), flags, ..Sources::default() }).unwrap();
    assert_eq!(effective.node.executor.labels, ["c"]);
    assert!(effective.node.executor.tools.is_empty());
    assert_eq!(entry(&effective, "executor.tools").source.to_string(), "flag --set executor.tools");
}

#[test]
fn several_values_of_a_flag_are_a_list() {
    let flags =
        vec![flag("--listen", "p2p.listen", &["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"])];
    let effective = load(&Sources { flags, ..Sources::default() }).unwrap();
    assert_eq!(effective.node.p2p.listen.len(), 2);
    let flags = vec![flag("--allow", "p2p.allow", &["nobody"]), flag("--set p2p.lisen", "p2p.lisen", &["x"])];
    let problems = load(&Sources { flags, ..Sources::default() }).unwrap_err().problems;
    assert_eq!(problems.len(), 2);
    assert_eq!(problems[0].place, "--allow");
    assert!(problems[1].to_string().contains("did you mean p2p.listen?"), "{problems:?}");
}

/// Leaf paths of a JSON document; lists count as leaves.
fn leaves(prefix: &str, value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                leaves(&path, value, into);
            }
        }
        _ => into.push(prefix.to_owned()),
    }
}

fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    names
}

#[test]
fn the_table_of_keys_and_the_types_are_the_same() {
    let effective = load(&Sources::default()).unwrap();
    let mut typed = Vec::new();
    leaves("", &json!(effective.node), &mut typed);
    assert_eq!(sorted(typed), sorted(KEYS.iter().map(|key| key.path.to_owned())));

    let tool = file("executor:\n  tools: [{name: t, command: [x]}]\nupstreams: [{name: u, command: [x]}]\n");
    let node = load(&Sources { file: Some(tool.path.clone()), ..Sources::default() }).unwrap().node;
    for (value, keys) in [(json!(node.executor.tools[0]), TOOL), (json!(node.upstreams[0]), UPSTREAM)] {
        let typed = sorted(value.as_object().unwrap().keys().cloned());
        assert_eq!(typed, sorted(keys.iter().map(|key| key.path.to_owned())));
    }
}

#[test]
fn every_default_is_a_valid_value_and_no_variable_stands_for_two_keys() {
    for key in KEYS.iter().chain(TOOL).chain(UPSTREAM) {
        let has_default = matches!(key.default, Fallback::Value(_) | Fallback::Unset);
        assert_eq!(decode::default_value(key).is_some(), has_default, "{}", key.path);
        assert!(!key.meaning.is_empty() && !key.meaning.contains('|'), "{}", key.path);
    }
    let mut names: Vec<String> = KEYS.iter().map(Key::variable).collect();
    names.extend(KEYS.iter().filter_map(|key| key.short.map(str::to_owned)));
    names.extend(KEYS.iter().flat_map(|key| key.foreign).map(|name| (*name).to_owned()));
    names.sort();
    names.dedup();
    let twice = KEYS.iter().filter(|key| key.short.is_some_and(|short| short == key.variable())).count();
    let foreign: usize = KEYS.iter().map(|key| key.foreign.len()).sum();
    let short = KEYS.iter().filter(|key| key.short.is_some()).count();
    assert_eq!(names.len(), KEYS.len() + short + foreign - twice);
}

#[test]
fn limits_of_workflows_are_checked_where_they_stand() {
    let problems =
        problems_of("workflows:\n  max_running: 0\n  keep_days: soon\nschedules: {max_count: 3}\n");
    let expected = [
        "node.yaml:2:16: workflows.max_running is the number 0: expected a whole number from 1 to 1000000",
        "node.yaml:3:14: workflows.keep_days is \"soon\": expected a number from 0 to 3650",
        "node.yaml:4:13: schedules.max_count is no known key",
    ];
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems.iter().zip(expected).all(|(problem, start)| problem.starts_with(start)), "{problems:?}");
}

/// The row of the documentation for a key.
fn row(key: &Key) -> String {
    let default = match key.default {
        Fallback::Value("") => "empty".to_owned(),
        Fallback::Value(text) => format!("`{text}`"),
        Fallback::Unset => "unset".to_owned(),
        Fallback::Computed => "see below".to_owned(),
        Fallback::Required => "required".to_owned(),
    };
    format!("| `{}` | {default} | {} |", key.path, key.meaning)
}

/// The tables of `docs/configuration.md`, made from the keys.
fn documented() -> String {
    let table = |keys: &[Key]| {
        let rows: Vec<String> = keys.iter().map(row).collect();
        format!("| key | default | meaning |\n|---|---|---|\n{}\n", rows.join("\n"))
    };
    let short: Vec<String> = KEYS
        .iter()
        .flat_map(|key| {
            let names = key.short.into_iter().chain(key.foreign.iter().copied());
            names.map(|name| format!("| `{name}` | `{}` |", key.path))
        })
        .collect();
    [
        format!("## Keys\n\n{}", table(KEYS)),
        format!("## One tool: `executor.tools[]`\n\n{}", table(TOOL)),
        format!("## One MCP server: `upstreams[]`\n\n{}", table(UPSTREAM)),
        format!("## Short variables\n\n| variable | key |\n|---|---|\n{}\n", short.join("\n")),
    ]
    .join("\n")
}

#[test]
fn the_documentation_lists_exactly_the_keys_there_are() {
    let documentation = include_str!("../../docs/configuration.md");
    let tables = documented();
    for line in tables.lines() {
        assert!(
            documentation.lines().any(|written| written == line),
            "docs/configuration.md lacks: {line}\nthe tables:\n{tables}"
        );
    }
    let rows = |text: &str| text.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(
        rows(documentation),
        rows(&tables),
        "docs/configuration.md has rows for keys that do not exist"
    );
}

#[test]
fn the_example_of_the_documentation_is_a_valid_configuration() {
    let documentation = include_str!("../../docs/configuration.md");
    let example = documentation.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let example = file(example);
    let effective = load(&Sources { file: Some(example.path.clone()), ..Sources::default() }).unwrap();
    assert!(!effective.node.executor.tools.is_empty() && !effective.node.upstreams.is_empty());
}

#[test]
fn words_of_a_choice_are_the_ones_that_the_types_know() {
    for key in KEYS {
        if let Kind::Choice(words) = key.kind {
            for word in words {
                let flags = vec![flag("--set", key.path, &[word])];
                assert!(load(&Sources { flags, ..Sources::default() }).is_ok(), "{} {word}", key.path);
            }
        }
    }
}
