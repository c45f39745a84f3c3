//! The rules of membership that concern several values.

use crate::config::types::P2pConfig;
use meshwork_proto::PeerId;
use reqwest::header::HeaderValue;

/// Services that have to agree on the public address.
const AGREEING: usize = 2;

/// Checks the sections of membership.
pub(super) fn together(p2p: &P2pConfig, wrong: &mut impl FnMut(String, String)) {
    named_points("p2p.discovery.rendezvous.points", &p2p.discovery.rendezvous.points, wrong);
    named_points("p2p.reach.relays", &p2p.reach.relays, wrong);
    if !p2p.reach.relays.is_empty() && !p2p.reach.relay_client {
        let message = "have no effect while p2p.reach.relay_client is false: leave one of them out".into();
        wrong("p2p.reach.relays".into(), message);
    }
    github(p2p, wrong);
    let services = p2p.public_ip.services.len();
    if services < AGREEING && (services > 0 || p2p.public_ip.detect) {
        let message = format!(
            "names {services}: expected at least {AGREEING}, since {AGREEING} must agree, or none and \
             p2p.public_ip.detect false"
        );
        wrong("p2p.public_ip.services".into(), message);
    }
    if p2p.bootstrap.public && p2p.bootstrap.public_list.is_empty() {
        let message =
            "is true, but p2p.bootstrap.public_list is empty: name its nodes, or leave this out".into();
        wrong("p2p.bootstrap.public".into(), message);
    }
}

/// At a point that is not named anybody may answer, and be believed.
fn named_points(path: &str, points: &[String], wrong: &mut impl FnMut(String, String)) {
    let named = |point: &str| {
        point
            .rsplit_once("/p2p/")
            .is_some_and(|(address, id)| !address.is_empty() && id.parse::<PeerId>().is_ok())
    };
    for point in points.iter().filter(|point| !named(point)) {
        let message = format!("has {point:?}: expected an address that ends in /p2p/<peer id>");
        wrong(path.to_owned(), message);
    }
}

fn github(p2p: &P2pConfig, wrong: &mut impl FnMut(String, String)) {
    let github = &p2p.discovery.github;
    if github.repository.is_none() {
        // A token that stands in the environment for other programs is none of our business.
        return;
    }
    match &github.token {
        Some(token) if HeaderValue::from_str(&format!("Bearer {}", token.expose())).is_err() => {
            let message = "cannot be used: expected one line of text, as GitHub gave it".into();
            wrong("p2p.discovery.github.token".into(), message);
        }
        None if github.delete_stale => {
            let message =
                "is true, which needs p2p.discovery.github.token (or the variable GITHUB_TOKEN)".into();
            wrong("p2p.discovery.github.delete_stale".into(), message);
        }
        _ => {}
    }
}
