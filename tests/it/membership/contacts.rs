//! First contacts: a file, the environment, the public list, a name; read at the start and whenever a tool says so.

use super::{SECRET, TRUSTING, call, identity, in_state, refused, together};
use crate::support::{Around, Node, config, eventually, pair};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The tools that read first contacts.
const TOOLS: [&str; 5] = [
    "p2p_peer_bootstrap",
    "p2p_bootstrap_from_file",
    "p2p_bootstrap_from_env",
    "p2p_bootstrap_from_dns",
    "p2p_bootstrap_from_public",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_only_a_bootstrap_file_finds_its_mesh() {
    let dir = tempfile::tempdir().unwrap();
    let b = Node::start_with::<&str>(&dir.path().join("b"), &[], TRUSTING).await;
    let list = config(dir.path(), "peers.txt", &format!("# our mesh\n{}  # the first\n", b.address()));
    let file = config(dir.path(), "a.yaml", &format!("p2p:\n  bootstrap:\n    file: {list}\n"));
    let a = Node::start_with(&dir.path().join("a"), &["--config", &file], TRUSTING).await;
    together(&a, &b).await;
    let listed = call(&b, "p2p_bootstrap_list", json!({"peer": a.peer_id()})).await;
    let contact = &listed["contacts"][0];
    assert_eq!((&listed["connected"], &contact["source"]), (&json!(1), &json!("file")), "{listed}");
    assert_eq!((&contact["state"], &contact["peer_id"]), (&json!("connected"), &json!(b.peer_id())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_is_gone_is_listed_as_lost_while_another_one_is_connected() {
    let dir = tempfile::tempdir().unwrap();
    let mut gone = Node::start_with::<&str>(&dir.path().join("gone"), &[], TRUSTING).await;
    let stays = Node::start_with::<&str>(&dir.path().join("stays"), &[], TRUSTING).await;
    let list = config(dir.path(), "peers.txt", &format!("{}\n{}\n", gone.address(), stays.address()));
    let file = config(dir.path(), "a.yaml", &format!("p2p:\n  bootstrap:\n    file: {list}\n"));
    let a = Node::start_with(&dir.path().join("a"), &["--config", &file], TRUSTING).await;
    together(&a, &gone).await;
    together(&a, &stays).await;
    let states = |listed: &Value| -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let contacts = listed["contacts"].as_array().unwrap().iter();
        contacts.map(|contact| (text(&contact["peer_id"]), text(&contact["state"]))).collect()
    };
    let both = |state: &str| -> BTreeMap<String, String> {
        let of = |node: &Node, state: &str| (node.peer_id().to_owned(), state.to_owned());
        [of(&gone, state), of(&stays, "connected")].into()
    };
    let (before, after) = (both("connected"), both("lost"));
    let a = &a;
    let listed = async |expected: BTreeMap<String, String>| {
        eventually(&format!("the contacts are listed as {expected:?}"), || async {
            let listed = call(a, "p2p_bootstrap_list", json!({})).await;
            (states(&listed) == expected).then_some(listed)
        })
        .await
    };
    assert_eq!(listed(before).await["connected"], 2);
    gone.kill().await;
    assert_eq!(listed(after).await["connected"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_only_a_variable_of_the_python_nodes_finds_its_mesh() {
    let dir = tempfile::tempdir().unwrap();
    let b = Node::start_with::<&str>(&dir.path().join("b"), &[], TRUSTING).await;
    for (variable, address) in
        [("CACHE_BOOTSTRAP_PEERS", b.address()), ("IPFS_ACCELERATE_PY_TASK_P2P_BOOTSTRAP_PEERS", b.place())]
    {
        let env = [SECRET, (variable, address.as_str())];
        let around = Around { env: &env, listen: None };
        let a = Node::start_with::<&str>(&dir.path().join(variable), &[], around).await;
        together(&a, &b).await;
        let listed = call(&a, "p2p_bootstrap_list", json!({})).await;
        assert_eq!(listed["contacts"][0]["source"], "environment", "{listed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_only_a_name_finds_its_mesh() {
    let dir = tempfile::tempdir().unwrap();
    let b = Node::start_with::<&str>(&dir.path().join("b"), &[], TRUSTING).await;
    let port = b.place().rsplit('/').next().unwrap().to_owned();
    let text = format!(
        "p2p:\n  bootstrap: {{dns: [localhost], dns_port: {port}}}\n  discovery: {{allow_private_addresses: true}}\n"
    );
    let file = config(dir.path(), "a.yaml", &text);
    let a = Node::start_with(&dir.path().join("a"), &["--config", &file], TRUSTING).await;
    together(&a, &b).await;
    let listed = call(&a, "p2p_bootstrap_list", json!({})).await;
    let contacts = listed["contacts"].as_array().unwrap();
    let reached = contacts.iter().find(|contact| contact["peer_id"] == b.peer_id());
    assert_eq!(reached.unwrap()["source"], "dns", "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_named_to_the_tool_makes_contacts_and_tells_what_in_it_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let b = Node::start_with::<&str>(&dir.path().join("b"), &[], TRUSTING).await;
    let a = Node::start_with::<&str>(&dir.path().join("a"), &[], TRUSTING).await;
    let list = config(dir.path(), "peers.txt", &format!("no address\n{}\n", b.address()));
    let read = call(&a, "p2p_bootstrap_from_file", json!({"path": list})).await;
    assert_eq!(read["connected"], 1, "{read}");
    assert_eq!(read["skipped"][0]["entry"], "line 1", "{read}");
    in_state(&b, a.peer_id(), "connected").await;
    let error = refused(&a, "p2p_bootstrap_from_file", json!({})).await;
    assert!(error["message"].as_str().unwrap().contains("p2p.bootstrap.file"), "{error}");
    let error = refused(&a, "p2p_bootstrap_from_file", json!({"path": "/no/such/file"})).await;
    assert!(error["message"].as_str().unwrap().contains("/no/such/file"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_read_again_for_an_admin_and_for_no_member() {
    let dir = tempfile::tempdir().unwrap();
    let c_dir = dir.path().join("c");
    let admin = identity(&dir.path().join("admin")).await;
    let mut c = Node::start_with::<&str>(&c_dir, &[], TRUSTING).await;
    let (at, id) = (c.place(), c.address());
    c.stop().await;
    // Nobody is there when the host starts; by the time that it is asked to, there is.
    let env = [SECRET, ("MESHWORK_BOOTSTRAP_PEERS", id.as_str())];
    let around = Around { env: &env, listen: None };
    let host = Node::start_with(&dir.path().join("host"), &["--admin", &admin], around).await;
    let contact = ["--peer", &host.address()];
    let admin = Node::start_with(&dir.path().join("admin"), &contact, TRUSTING).await;
    let member = Node::start_with(&dir.path().join("member"), &contact, TRUSTING).await;
    together(&host, &admin).await;
    together(&host, &member).await;
    eventually("the contact failed", || async {
        let listed = call(&member, "p2p_bootstrap_list", json!({"peer": host.peer_id()})).await;
        listed["contacts"][0]["problem"].is_string().then_some(())
    })
    .await;
    let c = Node::start_with::<&str>(&c_dir, &[], Around { listen: Some(&at), ..TRUSTING }).await;
    for tool in TOOLS {
        let error = refused(&member, tool, json!({"peer": host.peer_id()})).await;
        assert_eq!(error["code"], "forbidden", "{tool}: {error}");
    }
    let read = call(&admin, "p2p_bootstrap_from_env", json!({"peer": host.peer_id()})).await;
    assert_eq!((&read["peer_id"], &read["connected"]), (&json!(host.peer_id()), &json!(1)), "{read}");
    together(&host, &c).await;
    let error = refused(&admin, "p2p_bootstrap_from_env", json!({})).await;
    assert!(error["message"].as_str().unwrap().contains("MESHWORK_BOOTSTRAP_PEERS"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_list_is_dialled_when_a_tool_says_so_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let b = Node::start_with::<&str>(&dir.path().join("b"), &[], TRUSTING).await;
    let text = format!("p2p:\n  bootstrap:\n    public_list: [{}]\n", b.address());
    let file = config(dir.path(), "a.yaml", &text);
    let a = Node::start_with(&dir.path().join("a"), &["--config", &file], TRUSTING).await;
    assert_eq!(call(&a, "p2p_bootstrap_list", json!({})).await["contacts"], json!([]));
    let read = call(&a, "p2p_bootstrap_from_public", json!({})).await;
    assert_eq!(read["contacts"][0]["source"], "public_list", "{read}");
    assert_eq!(read["connected"], 1, "{read}");
    in_state(&b, a.peer_id(), "connected").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrapping_again_dials_the_configured_contacts_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let b_dir = dir.path().join("b");
    let mut b = Node::start_with::<&str>(&b_dir, &[], TRUSTING).await;
    let (at, id) = (b.place(), b.address());
    b.stop().await;
    let list = config(dir.path(), "peers.txt", &id);
    let file = config(dir.path(), "a.yaml", &format!("p2p:\n  bootstrap:\n    file: {list}\n"));
    let a = Node::start_with(&dir.path().join("a"), &["--config", &file], TRUSTING).await;
    let failed = call(&a, "p2p_peer_bootstrap", json!({})).await;
    assert_eq!((&failed["connected"], &failed["contacts"][0]["state"]), (&json!(0), &json!("waiting")));
    assert!(failed["contacts"][0]["problem"].is_string(), "{failed}");
    let b = Node::start_with::<&str>(&b_dir, &[], Around { listen: Some(&at), ..TRUSTING }).await;
    assert_eq!(call(&a, "p2p_peer_bootstrap", json!({})).await["connected"], 1);
    in_state(&b, a.peer_id(), "connected").await;
    let (nobody, _) = pair(&dir.path().join("other"), &[], &[]).await;
    let error = refused(&nobody, "p2p_peer_bootstrap", json!({})).await;
    assert!(error["message"].as_str().unwrap().contains("p2p.peers"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_and_a_name_are_read_on_the_machine_of_another_node_for_its_admin() {
    let dir = tempfile::tempdir().unwrap();
    let admin = identity(&dir.path().join("admin")).await;
    let private = config(dir.path(), "host.yaml", "p2p: {discovery: {allow_private_addresses: true}}\n");
    let host = ["--admin", &admin, "--config", &private];
    let host = Node::start_with(&dir.path().join("host"), &host, TRUSTING).await;
    let admin = Node::start_with(&dir.path().join("admin"), &["--peer", &host.address()], TRUSTING).await;
    together(&host, &admin).await;
    let b = Node::start_with::<&str>(&dir.path().join("b"), &[], TRUSTING).await;
    let list = config(dir.path(), "peers.json", &json!({"peers": [b.address()]}).to_string());
    let read = call(&admin, "p2p_bootstrap_from_file", json!({"peer": host.peer_id(), "path": list})).await;
    assert_eq!((&read["peer_id"], &read["connected"]), (&json!(host.peer_id()), &json!(1)), "{read}");
    together(&b, &host).await;
    let c = Node::start_with::<&str>(&dir.path().join("c"), &[], TRUSTING).await;
    let name = format!("localhost:{}", c.place().rsplit('/').next().unwrap());
    let read = call(&admin, "p2p_bootstrap_from_dns", json!({"peer": host.peer_id(), "name": name})).await;
    let contacts = read["contacts"].as_array().unwrap();
    assert!(contacts.iter().any(|contact| contact["peer_id"] == c.peer_id()), "{read}");
    together(&c, &host).await;
}
