//! How a node learned of a peer or of an address.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! sources {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// How a node learned of a peer or of an address. Variants are only ever added at the end: they are on wires and
        /// on disks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Source { $($(#[$doc])* $variant,)* }

        impl Source {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name in tools, metrics and configuration.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl FromStr for Source {
            type Err = UnknownSource;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text { $($text => Ok(Self::$variant),)* _ => Err(UnknownSource(text.chars().take(64).collect())) }
            }
        }
    };
}

sources! {
    /// Flags, variables or the configuration file name it.
    Configured = "configured",
    /// An invitation or a pairing.
    Invitation = "invitation",
    /// Variables with bootstrap peers, ours and those of the Python nodes.
    Environment = "environment",
    /// A file with bootstrap peers.
    File = "file",
    /// A DNS name.
    Dns = "dns",
    /// The public bootstrap list.
    PublicList = "public_list",
    /// Multicast DNS on the local network.
    Mdns = "mdns",
    /// The mesh's own Kademlia table.
    Dht = "dht",
    /// The public Kademlia table.
    PublicDht = "public_dht",
    /// A rendezvous point.
    Rendezvous = "rendezvous",
    /// A record that the peer signed and others passed on.
    Gossip = "gossip",
    /// Files shared by the nodes of a machine or a file system.
    FileRegistry = "file_registry",
    /// The registry in a GitHub issue.
    Github = "github",
    /// A connection with the peer stands or stood.
    Connection = "connection",
    /// A tool or a command named it.
    Manual = "manual",
}

/// A text that names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no source of peers: expected one of {names}", names = names())]
pub struct UnknownSource(String);

fn names() -> String {
    Source::ALL.iter().map(|source| source.as_str()).collect::<Vec<_>>().join(", ")
}

impl Source {
    /// Whether anybody at all can put entries there: what comes from it is a hint, and addresses of private networks in it
    /// are not believed.
    #[must_use]
    pub const fn is_public(self) -> bool {
        matches!(self, Self::PublicList | Self::PublicDht | Self::Github)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_reads_back_from_its_name_and_others_are_refused_with_the_list() {
        for source in Source::ALL {
            assert_eq!(source.as_str().parse(), Ok(*source));
        }
        let error = "carrier_pigeon".parse::<Source>().unwrap_err().to_string();
        assert!(error.contains("carrier_pigeon") && error.contains("mdns"), "{error}");
    }
}
