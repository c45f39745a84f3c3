//! Runs as resources.

use super::client::{Client, Era};
use super::fakes::{LOCAL, Node, PEER, peer};
use super::workflow_tools::submit;
use crate::{GatewayOptions, stdio_bridge};
use rmcp::ServiceError;
use rmcp::model::{PaginatedRequestParams, ReadResourceRequestParams, ResourceContents};
use serde_json::{Value, json};

/// A resource of JSON, and its type.
async fn read(client: &Client, uri: &str) -> (Value, String) {
    let result = client.0.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap();
    match &result.contents[..] {
        [ResourceContents::TextResourceContents { uri: found, mime_type, text, .. }] => {
            assert_eq!(found, uri);
            (serde_json::from_str(text).unwrap(), mime_type.clone().unwrap())
        }
        other => panic!("{other:?}"),
    }
}

async fn all_of(client: &Client, node: &Node) {
    let id = submit(client, &["a"]).await;
    node.state.runs.complete(&id, &json!("done"));
    let status = client.call("p2p_workflow_status", json!({"workflow_id": id})).await;
    let (run, kind) = read(client, &format!("meshwork://workflow/{id}")).await;
    assert_eq!((&run, kind.as_str()), (&status, "application/json"), "the same as the tool gives");
    let (history, _) = read(client, &format!("meshwork://workflow/{id}/history")).await;
    assert_eq!((history["entries"].as_array().unwrap().len(), &history["next_after"]), (5, &Value::Null));
    let (rest, _) = read(client, &format!("meshwork://workflow/{id}/history?after=4")).await;
    assert_eq!(rest["entries"][0]["seq"], 5);
    let (schema, kind) = read(client, "meshwork://workflow.schema.json").await;
    assert_eq!((schema, kind.as_str()), (json!({"title": "workflow"}), "application/schema+json"));
    let templates = client.0.peer().list_resource_templates(None).await.unwrap().resource_templates;
    let uris: Vec<&str> = templates.iter().map(|template| template.uri_template.as_str()).collect();
    let expected = ["meshwork://workflow/{workflow_id}", "meshwork://workflow/{workflow_id}/history{?after}"];
    assert_eq!(uris, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_their_histories_and_the_schema_are_resources_in_both_eras_and_behind_the_bridge() {
    let node = Node::start(GatewayOptions::default()).await;
    for era in Era::BOTH {
        all_of(&node.client(era).await, &node).await;
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (input, output) = tokio::io::split(theirs);
        let work = async {
            let client = Client::stream(ours, era).await;
            assert!(client.0.peer_info().unwrap().capabilities.resources.is_some());
            all_of(&client, &node).await;
            client.0.cancel().await
        };
        let (client, bridged) = tokio::join!(work, stdio_bridge(&node.url, input, output));
        assert!(client.is_ok() && bridged.is_ok());
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_has_the_schema_first_then_runs_newest_first_page_by_page() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Older).await;
    let mut ids = Vec::new();
    for _ in 0..60 {
        ids.push(submit(&client, &["a"]).await);
    }
    let page = client.0.peer().list_resources(None).await.unwrap();
    assert_eq!(
        (page.resources.len(), page.resources[0].uri.as_str()),
        (101, "meshwork://workflow.schema.json")
    );
    let newest = ids.last().unwrap();
    assert_eq!(page.resources[1].uri, format!("meshwork://workflow/{newest}"));
    assert_eq!(page.resources[1].title.as_deref(), Some("greet: running"));
    assert_eq!(page.resources[2].uri, format!("meshwork://workflow/{newest}/history"));
    let cursor = PaginatedRequestParams::default().with_cursor(page.next_cursor.clone());
    let rest = client.0.peer().list_resources(Some(cursor)).await.unwrap();
    assert_eq!((rest.resources.len(), rest.next_cursor), (20, None));
    assert_eq!(rest.resources[18].uri, format!("meshwork://workflow/{}", ids[0]));
    let wrong = PaginatedRequestParams::default().with_cursor(Some("x".into()));
    assert!(client.0.peer().list_resources(Some(wrong)).await.is_err());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_resource_is_said_with_what_would_be_one() {
    let node = Node::start(GatewayOptions::default()).await;
    let run = "01890a5d2c7e7b6e8f0a1b2c3d4e5f60";
    for (era, not_found) in [(Era::Present, -32602), (Era::Older, -32002)] {
        let client = node.client(era).await;
        for (uri, part) in [
            ("file:///etc/passwd".to_owned(), "meshwork://workflow/<id>"),
            ("meshwork://workflow/x".to_owned(), "workflow id \"x\""),
            (format!("meshwork://workflow/{run}"), "no workflow run"),
            (format!("meshwork://workflow/{run}/history"), "no workflow run"),
            (format!("meshwork://workflow/{run}/history?after=x"), "?after=<number>"),
            (format!("meshwork://workflow/{run}?after=1"), "nothing follows"),
            (format!("meshwork://workflow/{run}@me"), "peer id \"me\""),
            (format!("meshwork://workflow/{}", "x".repeat(2_000)), "workflow id"),
        ] {
            let error = client.0.read_resource(ReadResourceRequestParams::new(&uri)).await;
            let Err(ServiceError::McpError(error)) = error else { panic!("{uri}") };
            assert_eq!(error.code.0, not_found, "{uri}");
            assert!(error.message.contains(part) && error.message.len() < 500, "{}", error.message);
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_a_peer_is_read_there_and_one_that_was_handed_over_where_it_is() {
    let node = Node::start(GatewayOptions::default()).await;
    let client = node.client(Era::Present).await;
    let (there, _) = read(&client, &format!("meshwork://workflow/{}@{PEER}", "09".repeat(16))).await;
    assert_eq!((&there["peer_id"], &there["output"]), (&json!(PEER), &json!("far away")));
    let id = submit(&client, &["a"]).await;
    assert_eq!(read(&client, &format!("meshwork://workflow/{id}@{LOCAL}")).await.0["peer_id"], LOCAL);
    node.state.runs.move_to(&id, peer());
    assert_eq!(read(&client, &format!("meshwork://workflow/{id}")).await.0["peer_id"], PEER);
    node.stop().await;
}
