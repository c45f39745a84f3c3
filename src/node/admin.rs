//! HTTP beside MCP: health for supervisors, metrics for Prometheus, status for people.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use meshwork_kit::{ActorHealth, ActorRef};
use prometheus::{Registry, TextEncoder};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::watch;

/// How far the node as a whole is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Ready,
    Draining,
    Stopping,
}

impl Phase {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}

/// What the admin routes show.
pub(super) struct Admin {
    pub(super) registry: Registry,
    pub(super) actors: Vec<ActorRef>,
    pub(super) phase: watch::Receiver<Phase>,
    /// libp2p's own metrics as text.
    pub(super) libp2p_metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Parts that are no actors: name and status.
    pub(super) parts: Box<dyn Fn() -> Vec<(&'static str, Value)> + Send + Sync>,
    pub(super) about: Value,
}

/// The routes `/health/live`, `/health/ready`, `/metrics` and `/status`.
pub(super) fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(admin)
}

/// The process answers; whoever restarts processes should look here.
async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// The node takes new work.
async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let phase = *admin.phase.borrow();
    let ill: Vec<_> = admin.actors.iter().filter(|actor| actor.health() != ActorHealth::Running).collect();
    let reasons: Vec<Value> =
        ill.iter().map(|actor| json!({"actor": actor.kind().name(), "health": actor.health()})).collect();
    let is_ready = phase == Phase::Ready && ill.iter().all(|actor| !stops_readiness(&actor.health()));
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({"ready": is_ready, "phase": phase.as_str(), "degraded": reasons}))).into_response()
}

/// An actor that is about to come back does not take a node out of service; one that is not there does.
const fn stops_readiness(health: &ActorHealth) -> bool {
    matches!(health, ActorHealth::Starting | ActorHealth::Stopped)
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let text = match TextEncoder::new().encode_to_string(&admin.registry.gather()) {
        // libp2p's part ends in an OpenMetrics end mark, a comment for this format: it must come last.
        Ok(own) => own + &(admin.libp2p_metrics)(),
        Err(error) => {
            return (StatusCode::INTERNAL_SERVER_ERROR, format!("metrics cannot be written: {error}"))
                .into_response();
        }
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn status(State(admin): State<Arc<Admin>>) -> Json<Value> {
    let actors: Vec<Value> = admin
        .actors
        .iter()
        .map(|actor| {
            json!({
                "actor": actor.kind().name(),
                "health": actor.health(),
                "restarts": actor.restarts(),
                "status": actor.status().json(),
            })
        })
        .collect();
    let parts: serde_json::Map<_, _> =
        (admin.parts)().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Json(
        json!({"node": admin.about, "phase": admin.phase.borrow().as_str(), "actors": actors, "parts": parts}),
    )
}
