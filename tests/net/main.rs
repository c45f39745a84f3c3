//! Tests on real networks: hosts in network namespaces, joined by bridges, hidden behind routers, slowed down, cut off and
//! moved. One binary, one module for each story. They need root, iproute2 and nftables (`scripts/net-tools.sh`), and say
//! so where those are missing; with `MESHWORK_REQUIRE_NET=1` that is a failure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and says on standard error what it skips"
)]

mod behind_routers;
mod lab;
mod moving;
mod node;
mod one_lan;
mod partition;
mod slow_link;
