//! The wires of workflows and schedules: whom the coordinator and the scheduler ask, and what the gateway asks of them.

use super::NodeError;
use super::ground::Ground;
use super::wiring::Ports;
use meshwork_gateway::{SchedulePorts as GatewaySchedules, WorkflowPorts as GatewayWorkflows};
use meshwork_proto::schedule::{self as schedules, ListSchedules};
use meshwork_proto::workflow::{self as workflows, ListRuns};
use meshwork_proto::{Caller, Coded};
use meshwork_work::schedule::{ScheduleDeps, ScheduleSeed};
use meshwork_work::workflow::{WorkflowDeps, WorkflowSeed};
use std::time::Duration;

/// Starts the coordinator: its runs go on at once, with whatever executors and peers are there by and by.
pub(super) fn start_coordinator(ground: &Ground, ports: &Ports, seed: WorkflowSeed) -> Result<(), NodeError> {
    let (store, queue, network) = (&ground.store.ports, &ports.queue, &ports.network);
    let deps = WorkflowDeps {
        clock: ground.clock.clone(),
        local_peer: ground.peer_id.clone(),
        commit: store.commit.clone(),
        read_key: store.read_key.clone(),
        read_keys: store.read_keys.clone(),
        scan: store.scan.clone(),
        put_artifact: store.put_artifact.clone(),
        read_artifact: store.read_artifact.clone(),
        fetch: network.fetch.clone(),
        submit_step: queue.submit_step.clone(),
        watch: queue.watch.clone(),
        steps_known: queue.steps_known.clone(),
        cancel: queue.cancel.clone(),
        get_task: queue.get.clone(),
        call_peer: network.call.clone(),
        describe_tools: ports.gateway.describe_tools.clone(),
        list_peers: ports.discovery.list.clone(),
        seed: rand::random(),
    };
    seed.start(&ground.supervision, &ground.registry, deps).map_err(NodeError::internal)?;
    Ok(())
}

/// Starts the scheduler.
pub(super) fn start_scheduler(ground: &Ground, ports: &Ports, seed: ScheduleSeed) -> Result<(), NodeError> {
    let store = &ground.store.ports;
    let deps = ScheduleDeps {
        clock: ground.clock.clone(),
        commit: store.commit.clone(),
        scan: store.scan.clone(),
        submit_task: ports.queue.submit.clone(),
        submit_run: ports.workflow.submit.clone(),
        get_task: ports.queue.get.clone(),
        get_run: ports.workflow.get.clone(),
        seed: rand::random(),
    };
    seed.start(&ground.supervision, &ground.registry, deps).map_err(NodeError::internal)?;
    Ok(())
}

/// What the gateway asks of the coordinator.
pub(super) fn for_gateway(ports: &Ports) -> GatewayWorkflows {
    let workflow = &ports.workflow;
    GatewayWorkflows {
        submit: workflow.submit.clone(),
        validate: workflow.validate.clone(),
        get: workflow.get.clone(),
        list: workflow.list.clone(),
        control: workflow.control.clone(),
        dag: workflow.dag.clone(),
        history: workflow.history.clone(),
        coordinate: workflow.coordinate.clone(),
        take_over: workflow.take_over.clone(),
    }
}

/// What the gateway asks of the scheduler.
pub(super) fn schedules_for_gateway(ports: &Ports) -> GatewaySchedules {
    let schedule = &ports.schedule;
    GatewaySchedules {
        add: schedule.add.clone(),
        list: schedule.list.clone(),
        control: schedule.control.clone(),
    }
}

/// Waits until coordinator and scheduler have read what is on disk: whoever is told that the node is ready finds its runs
/// and schedules.
pub(super) async fn loaded(ports: &Ports, within: Duration) -> Result<(), NodeError> {
    let runs = workflows::By { caller: Caller::Local, op: ListRuns { limit: 1, ..ListRuns::default() } };
    let schedules = schedules::By { caller: Caller::Local, op: ListSchedules::default() };
    let late = |what: &str, error: &dyn Coded| {
        NodeError::new(error.code(), format!("the {what} did not load its records: {error}"))
    };
    match ports.workflow.list.ask(runs, within).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(late("coordinator of workflows", &error)),
        Err(error) => return Err(late("coordinator of workflows", &error)),
    }
    match ports.schedule.list.ask(schedules, within).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(late("scheduler", &error)),
        Err(error) => Err(late("scheduler", &error)),
    }
}
