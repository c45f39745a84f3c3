//! What holds for every tool.

use super::{Category, MeshTool, OWN_CATEGORIES, input, table};
use serde_json::{Map, Value};

const QUEUE: [&str; 14] = [
    "announce",
    "cancel",
    "discover_peers",
    "get_result",
    "heartbeat",
    "list_tasks",
    "priority",
    "resubmit",
    "shutdown",
    "status",
    "submit",
    "task_status",
    "update_task",
    "worker_stats",
];

const MEMBERSHIP: [&str; 14] = [
    "bootstrap_from_dns",
    "bootstrap_from_env",
    "bootstrap_from_file",
    "bootstrap_from_public",
    "bootstrap_list",
    "peer_bootstrap",
    "peer_cleanup",
    "peer_discover",
    "peer_forget",
    "peer_get_public_ip",
    "peer_list",
    "peer_pair",
    "peer_register",
    "peer_revoke",
];

const WORKFLOWS: [&str; 12] = [
    "cancel",
    "coordinate",
    "get_dag",
    "history",
    "list",
    "pause",
    "resume",
    "retry",
    "signal",
    "status",
    "submit",
    "validate",
];

const SCHEDULES: [&str; 6] = ["create", "list", "pause", "remove", "resume", "trigger"];

#[test]
fn the_names_are_those_that_people_script_against() {
    let groups: [(Category, &str, &[&str]); 4] = [
        (Category::Taskqueue, "p2p_taskqueue_", &QUEUE),
        (Category::Peers, "p2p_", &MEMBERSHIP),
        (Category::Workflows, "p2p_workflow_", &WORKFLOWS),
        (Category::Schedules, "p2p_schedule_", &SCHEDULES),
    ];
    for (category, prefix, expected) in groups {
        let names: Vec<&str> = table().of(category).map(|(name, _)| name).collect();
        assert_eq!(names, expected.iter().map(|name| format!("{prefix}{name}")).collect::<Vec<_>>());
    }
    let meta: Vec<&str> =
        table().iter().map(|(name, _)| name).filter(|name| name.starts_with("tools_")).collect();
    assert_eq!(meta, ["tools_dispatch", "tools_get_schema", "tools_list_categories", "tools_list_tools"]);
    assert_eq!(OWN_CATEGORIES, ["taskqueue", "peers", "workflows", "schedules"]);
    for category in Category::ALL {
        assert_eq!(Category::named(category.name()), Some(category));
    }
}

fn object(schema: &Map<String, Value>, name: &str) {
    assert_eq!(schema["type"], "object", "{name}");
    assert_eq!(schema["additionalProperties"], false, "{name}");
    let properties = schema["properties"].as_object().unwrap();
    let text = serde_json::to_string(schema).unwrap();
    assert!(!text.contains("$ref") && !text.contains("uint"), "{name}: {text}");
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for field in required {
        assert!(properties.contains_key(field.as_str().unwrap()), "{name}: {field}");
    }
}

#[test]
fn every_schema_is_a_closed_object_whose_members_are_described() {
    for (name, registered) in table().iter() {
        let tool = &registered.tool;
        object(&tool.input_schema, name);
        for (field, schema) in tool.input_schema["properties"].as_object().unwrap() {
            assert!(schema["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}.{field}");
        }
        match &tool.output_schema {
            Some(output) => {
                object(output, name);
                assert!(output["properties"].get("error").is_some(), "{name}");
            }
            None => assert_eq!(name, "tools_dispatch"),
        }
        if name.starts_with("p2p_") {
            // Pairing is between the people in front of two machines.
            assert_eq!(registered.takes_peer(), name != "p2p_peer_pair", "{name}");
        }
    }
}

#[test]
fn every_tool_says_what_it_does_and_what_may_be_expected_of_it() {
    for (name, registered) in table().iter() {
        let tool = &registered.tool;
        assert!(tool.title.is_some(), "{name}");
        let description = tool.description.as_ref().unwrap();
        assert!((60..1_000).contains(&description.len()), "{name}: {}", description.len());
        assert!(!description.contains("  "), "{name}: {description}");
        let hints = tool.annotations.as_ref().unwrap();
        assert!(
            hints.read_only_hint.is_some()
                && hints.idempotent_hint.is_some()
                && hints.open_world_hint.is_some()
        );
        assert!(!(hints.read_only_hint == Some(true) && hints.destructive_hint == Some(true)), "{name}");
    }
}

fn example<T: MeshTool>() {
    let Value::Object(arguments) = serde_json::from_str(T::EXAMPLE).unwrap() else { panic!("{}", T::NAME) };
    let fields = &table().get(T::NAME).unwrap().fields;
    if let Err(error) = input::parse::<T::Input>(fields, arguments) {
        panic!("the example of {} is refused: {error}", T::NAME);
    }
}

#[test]
fn every_example_is_accepted() {
    example::<super::announce::AnnounceTool>();
    example::<super::announce::DiscoverPeers>();
    example::<super::announce::Heartbeat>();
    example::<super::change::CancelTask>();
    example::<super::change::ResubmitTask>();
    example::<super::change::SetPriority>();
    example::<super::change::UpdateTask>();
    example::<super::peers::bootstrap::BootstrapTool>();
    example::<super::peers::bootstrap::ContactsTool>();
    example::<super::peers::bootstrap::FromDnsTool>();
    example::<super::peers::bootstrap::FromEnvTool>();
    example::<super::peers::bootstrap::FromFileTool>();
    example::<super::peers::bootstrap::FromPublicTool>();
    example::<super::peers::change::CleanupTool>();
    example::<super::peers::change::ForgetTool>();
    example::<super::peers::change::RevokeTool>();
    example::<super::peers::find::DiscoverTool>();
    example::<super::peers::find::ListTool>();
    example::<super::peers::pair::PairTool>();
    example::<super::peers::public_ip::PublicIpTool>();
    example::<super::peers::register::RegisterTool>();
    example::<super::read::ListTasks>();
    example::<super::read::TaskStatusTool>();
    example::<super::result::GetResult>();
    example::<super::status::Status>();
    example::<super::status::WorkerStats>();
    example::<super::stop::ShutdownTool>();
    example::<super::submit::SubmitTask>();
    example::<super::workflow::control::CancelTool>();
    example::<super::workflow::control::PauseTool>();
    example::<super::workflow::control::ResumeTool>();
    example::<super::workflow::control::RetryTool>();
    example::<super::workflow::control::SignalTool>();
    example::<super::workflow::coordinate::CoordinateTool>();
    example::<super::workflow::dag::DagTool>();
    example::<super::workflow::history::HistoryTool>();
    example::<super::workflow::list::ListTool>();
    example::<super::workflow::status::StatusTool>();
    example::<super::workflow::submit::SubmitTool>();
    example::<super::workflow::validate::ValidateTool>();
    example::<super::schedule::control::PauseTool>();
    example::<super::schedule::control::RemoveTool>();
    example::<super::schedule::control::ResumeTool>();
    example::<super::schedule::control::TriggerTool>();
    example::<super::schedule::create::CreateTool>();
    example::<super::schedule::list::ListTool>();
    example::<super::meta::ListCategories>();
    example::<super::meta::ListCategoryTools>();
    example::<super::meta::GetSchema>();
    example::<super::meta::Dispatch>();
}
