//! What can be typed: every command parses, teaches, and fails as documented.

use super::*;
use crate::config::Source;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    let words: Vec<OsString> =
        std::iter::once("meshwork").chain(line.split_whitespace()).map(OsString::from).collect();
    parse_from(&words)
}

/// Every command below `command`, with its path.
fn commands(path: &str, command: &clap::Command, into: &mut Vec<(String, clap::Command)>) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        into.push((path.clone(), sub.clone()));
        commands(&path, sub, into);
    }
}

fn all_commands() -> Vec<(String, clap::Command)> {
    let mut all = Vec::new();
    commands("meshwork", &Cli::command(), &mut all);
    all
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_commands_that_scripts_use_are_all_there() {
    let names: Vec<String> = all_commands().into_iter().map(|(path, _)| path).collect();
    for name in [
        "run",
        "mcp",
        "demo",
        "bench",
        "status",
        "task submit",
        "task get",
        "task wait",
        "task list",
        "task cancel",
        "task retry",
        "workflow run",
        "workflow submit",
        "workflow status",
        "workflow list",
        "workflow cancel",
        "workflow graph",
        "workflow history",
        "workflow retry",
        "workflow pause",
        "workflow resume",
        "workflow signal",
        "workflow coordinate",
        "workflow validate",
        "workflow schema",
        "schedule add",
        "schedule list",
        "schedule pause",
        "schedule resume",
        "schedule remove",
        "schedule trigger",
        "tools list",
        "tools schema",
        "tools call",
        "peers",
        "peers list",
        "peers discover",
        "peers add",
        "peers forget",
        "peers cleanup",
        "peers revoke",
        "peers pair",
        "peers watch",
        "peers bootstrap",
        "peers contacts",
        "secret list",
        "secret add",
        "secret retire",
        "invite",
        "id",
        "config check",
        "config print",
        "stop",
        "drain",
        "completions",
        "exit-codes",
    ] {
        assert!(names.contains(&format!("meshwork {name}")), "{name} is missing in {names:?}");
    }
}

/// The words of a line as a shell would read them, up to a pipe, a redirection or the remark behind the command.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.trim_start().chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, Some(open)) if letter == open => quote = None,
            ('\\', Some('"')) => word.get_or_insert_default().extend(letters.next()),
            (' ', None) => {
                words.extend(word.take());
                if letters.peek() == Some(&' ') {
                    break;
                }
            }
            ('|' | '>' | '<', None) => break,
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_command_teaches_with_examples_that_parse() {
    let mut all = all_commands();
    all.push(("meshwork".into(), Cli::command()));
    for (path, command) in all {
        if path != "meshwork" && (command.has_subcommands() || path.ends_with("exit-codes")) {
            continue;
        }
        // As it was written: what is shown is wrapped to the width of the terminal.
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines: Vec<&str> = help.lines().filter(|line| line.starts_with("  meshwork ")).collect();
        assert!(!lines.is_empty(), "{path} has no example that can be copied:\n{help}");
        for line in lines {
            let words: Vec<OsString> = words(line).into_iter().map(OsString::from).collect();
            if let Err(error) = parse_from(&words) {
                panic!("{path}: the example `{line}` does not parse: {error}");
            }
        }
    }
}

#[test]
fn the_flags_of_run_become_the_configuration() {
    let line = "run --data-dir /srv/mesh --http 127.0.0.1:0 --listen /ip4/0.0.0.0/tcp/0 --listen /ip4/0.0.0.0/udp/0/quic-v1 \
                --peer /ip4/192.0.2.7/tcp/4001 --mesh-secret-file /etc/mesh --allow 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN \
                --admin 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN --admin-http 127.0.0.1:9000 --label gpu \
                --durability os --set executor.slots=8 --json";
    let cli = parse(line).unwrap();
    assert!(cli.globals.json);
    let Command::Run(args) = cli.command else { panic!("{cli:?}") };
    let effective = args.node.load(&Environment::default()).unwrap();
    let node = &effective.node;
    assert_eq!(node.data_dir.to_str(), Some("/srv/mesh"));
    assert_eq!((node.server.http.port(), node.p2p.listen.len(), node.p2p.peers.len()), (0, 2, 1));
    assert_eq!((node.p2p.allow.len(), node.p2p.admin.len()), (1, 1));
    assert_eq!(node.executor.slots, Some(8));
    assert_eq!(node.executor.labels, ["gpu"]);
    let given = effective.entries.iter().filter(|entry| matches!(entry.source, Source::Flag(_))).count();
    assert_eq!(given, 11);
}

#[test]
fn a_wrong_flag_of_run_is_reported_as_that_flag() {
    let Command::Run(args) = parse("run --http 8000").unwrap().command else { panic!() };
    let failure = args.node.load(&Environment::default()).unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
    assert!(failure.render(false).unwrap().contains("--http: server.http is \"8000\""), "{failure:?}");
    let Command::Run(args) = parse("run --set executor.slots").unwrap().command else { panic!() };
    assert_eq!(args.node.load(&Environment::default()).unwrap_err().exit(), Exit::Usage);
}

#[test]
fn the_configuration_file_can_come_from_the_environment() {
    let Command::Run(args) = parse("run").unwrap().command else { panic!() };
    let environment = Environment::of([("MESHWORK_CONFIG", "/nowhere/node.yaml")]);
    let failure = args.node.load(&environment).unwrap_err();
    assert!(failure.render(false).unwrap().contains("/nowhere/node.yaml"));
}

#[test]
fn submitting_takes_all_that_a_task_can_have() {
    let line = "task submit --type echo --payload {\"a\":1} --peer P --wait 5 --priority 9 --idempotency-key k --max-attempts 2 \
                --delay 1 --timeout 2 --expires 3 --label a --label b --queue q --tenant t --concurrency-key c \
                --metadata {\"m\":1} --model x";
    let Command::Client(ClientCommand::Task(task::TaskCommand::Submit(args))) = parse(line).unwrap().command
    else {
        panic!()
    };
    assert_eq!(args.wait, Some(Some(5.0)));
    let Command::Client(ClientCommand::Task(task::TaskCommand::Submit(args))) =
        parse("task submit --type echo --wait").unwrap().command
    else {
        panic!()
    };
    assert_eq!((args.wait, args.payload.as_str()), (Some(None), "{}"));
}

#[test]
fn wrong_command_lines_are_usage_errors_that_name_the_mistake() {
    for (line, word) in [
        ("staus", "status"),
        ("task submit", "--type"),
        ("task submit --type x --priority 11", "1..=10"),
        ("task submit --type x --timeout soon", "seconds"),
        ("task list --status done", "completed"),
        ("task cancel", "<IDS>"),
        ("status --color sometimes", "always"),
        ("peers list --state gone", "connected, known, stale, left, banned"),
        ("peers discover --source pigeon", "mdns"),
        ("peers list --max 0", "1..=1000"),
        ("peers discover --timeout never", "10m"),
        ("peers add", "ADDRESS|PEER_ID"),
        ("peers pair --at /ip4/192.0.2.7/tcp/1", "CODE"),
        ("peers pair 123-456-789 --valid 5m", "cannot be used with"),
        ("peers bootstrap --env --public", "cannot be used with"),
        ("workflow run", "<FILE>"),
        ("workflow run w.yaml --detach --timeout 5", "cannot be used with"),
        ("workflow list --state done", "pending, running, paused, completed, failed, cancelled"),
        ("workflow status 01 --wait 5 --watch", "cannot be used with"),
        ("workflow graph 01 --format svg", "mermaid"),
        ("workflow coordinate 01 --any-peer --target-peer P", "cannot be used with"),
        ("workflow coordinate 01 --take-back --coordinator P", "cannot be used with"),
        ("schedule add nightly --task echo", "--cron"),
        ("schedule add nightly --cron x --every 5m --task echo", "cannot be used with"),
        ("schedule add nightly --every 5m", "--workflow"),
        ("schedule add nightly --every 5m --task echo --workflow w.yaml", "cannot be used with"),
        ("schedule add nightly --every 5m --task echo --missed later", "once"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.use_stderr(), "{line}");
        assert!(error.render().to_string().contains(word), "{line}: {}", error.render());
    }
    assert!(!parse("--help").unwrap_err().use_stderr());
    assert!(!parse("--version").unwrap_err().use_stderr());
}

#[test]
fn the_node_is_found_by_flag_or_on_its_default_address() {
    assert_eq!(parse("status --url http://h:1/mcp").unwrap().globals.url, "http://h:1/mcp");
    let default =
        Cli::command().get_arguments().find(|arg| arg.get_id() == "url").unwrap().get_default_values()[0]
            .to_owned();
    assert_eq!(default.to_str(), Some("http://127.0.0.1:8000/mcp"));
}

#[test]
fn colours_of_usage_errors_follow_the_flag() {
    let early = |line: &str| early_color(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
    assert_eq!(early("meshwork --color never rn"), clap::ColorChoice::Never);
    assert_eq!(early("meshwork --color=always rn"), clap::ColorChoice::Always);
    assert_eq!(early("meshwork rn"), clap::ColorChoice::Auto);
}

#[test]
fn flags_of_a_node_make_no_sense_for_a_bridge() {
    let Command::Mcp(args) = parse("mcp --data-dir /x").unwrap().command else { panic!() };
    assert_eq!(args.check().unwrap_err().exit(), Exit::Usage);
    let Command::Mcp(args) = parse("mcp --embedded --data-dir /x").unwrap().command else { panic!() };
    assert_eq!(args.check(), Ok(()));
}

fn peers_of(line: &str) -> peers::PeersArgs {
    match parse(line).unwrap().command {
        Command::Client(ClientCommand::Peers(args)) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn peers_alone_takes_the_flags_that_it_always_took() {
    let args = peers_of("peers --capability gpu --max 5 --announce --peer P --json");
    assert_eq!(args.command, None);
    assert_eq!(
        (args.list.capability.as_deref(), args.list.max, args.list.announce),
        (Some("gpu"), Some(5), true)
    );
    assert_eq!(args.list.peer.as_deref(), Some("P"));
    let list = peers_of("peers list --capability gpu --max 5 --announce --peer P");
    assert_eq!(list.command, Some(peers::PeersCommand::List(args.list)));
}

#[test]
fn every_command_of_peers_takes_what_its_tool_takes() {
    use peers::PeersCommand as P;
    let Some(P::Discover(discover)) =
        peers_of("peers discover --source mdns --source dht --capability gpu --timeout 5s").command
    else {
        panic!()
    };
    assert_eq!((discover.source.len(), discover.timeout), (2, 5.0));
    let Some(P::Discover(discover)) = peers_of("peers discover").command else { panic!() };
    assert_eq!(discover.timeout, 10.0);
    let Some(P::Pair(pair)) = peers_of("peers pair 123 456 789 --at /ip4/192.0.2.7/tcp/1").command else {
        panic!()
    };
    assert_eq!((pair.code.len(), pair.at.len()), (3, 1));
    let Some(P::Pair(pair)) = peers_of("peers pair --valid 10m").command else { panic!() };
    assert_eq!((pair.code.len(), pair.valid), (0, Some(600.0)));
    let Some(P::Bootstrap(bootstrap)) = peers_of("peers bootstrap --file").command else { panic!() };
    assert_eq!(bootstrap.file, Some(None));
    let Some(P::Bootstrap(bootstrap)) = peers_of("peers bootstrap --dns mesh.example.org").command else {
        panic!()
    };
    assert_eq!(bootstrap.dns, Some(Some("mesh.example.org".into())));
    let Some(P::Watch(watch)) = peers_of("peers watch --for 2m --peer P").command else { panic!() };
    assert_eq!((watch.within, watch.peer.as_deref()), (Some(120.0), Some("P")));
    let Some(P::Revoke(revoke)) = peers_of("peers revoke P --undo").command else { panic!() };
    assert!(revoke.undo);
}

#[test]
fn flags_in_front_of_a_command_of_peers_are_refused_and_not_forgotten() {
    let Command::Client(command) = parse("peers --max 5 watch").unwrap().command else { panic!() };
    let globals = parse("peers").unwrap().globals;
    assert_eq!(dispatch_failure(&command, &globals), Exit::Usage);
    assert!(parse("peers --json list").is_ok(), "what every command takes may stand anywhere");
}

/// How a command ends that fails before it needs a node.
fn dispatch_failure(command: &ClientCommand, globals: &Globals) -> Exit {
    let output = globals.output(&Environment::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(online(command, globals, output)).unwrap_err().exit()
}

#[test]
fn completions_know_the_states_and_sources_of_peers() {
    let mut script = Vec::new();
    clap_complete::generate(clap_complete::Shell::Fish, &mut Cli::command(), "meshwork", &mut script);
    let script = String::from_utf8(script).unwrap();
    assert!(script.contains("banned") && script.contains("file_registry") && script.contains("retire"));
}

#[test]
fn the_exit_codes_are_documented_in_the_help() {
    let help = exit_codes_help();
    assert!(help.contains("  4  the task, tool or workflow ran and failed"), "{help}");
    let error = parse("help exit-codes").unwrap_err();
    assert!(error.render().to_string().contains("  7  the node refused"), "{}", error.render());
}

#[test]
fn a_list_of_ids_and_a_name_with_category_parse() {
    assert!(parse("task cancel a b c --reason x").is_ok());
    assert!(parse("tools call echo --args {} --peer P --timeout 3").is_ok());
    assert!(parse("invite --address /ip4/192.0.2.7/tcp/1 --address /dns/h/tcp/1").is_ok());
    assert!(parse("completions bash").is_ok());
    assert!(parse("config check a.yaml").is_ok() && parse("config check --config a.yaml").is_ok());
    assert!(parse("config check").is_err() && parse("config check a.yaml --config b.yaml").is_err());
}
