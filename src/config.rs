//! The configuration of a node: one YAML file, environment variables over it, flags over both.
//!
//! [`load`] merges the four layers (defaults, file, environment, flags), checks every value where it was written and
//! reports *all* problems together, each with its place. What comes out is [`Effective`]: the typed [`NodeConfig`],
//! and for each leaf key its value and where that came from. The one table of keys is [`schema`]; defaults, help, the
//! names of variables and the documentation are all checked against it.

mod check;
mod container;
mod data_dir;
mod decode;
mod effective;
mod environment;
mod layers;
mod nearest;
mod problem;
pub(crate) mod schema;
mod types;

pub(crate) use container::{mdns_is_on, node_name};
pub(crate) use data_dir::{DataDir, NodeFile};
pub(crate) use effective::{Effective, Entry, Source};
pub(crate) use environment::Environment;
pub(crate) use layers::{FlagValue, Sources, load};
pub(crate) use nearest::nearest;
pub(crate) use problem::ConfigError;
pub(crate) use types::{
    Durability, LogConfig, LogFormat, NodeConfig, ServerConfig, ToolConfig, UpstreamConfig,
};

#[cfg(test)]
mod tests;
