//! Messages to bootstrap: the first contacts.

use crate::discovery::Source;
use crate::{Coded, ErrorCode, PeerId, Request};
use serde::{Deserialize, Serialize};

/// Where first contacts are read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BootstrapFrom {
    /// A file on the node's machine: a multiaddress per line, or a JSON registry as the Python nodes write it.
    File {
        /// Its path; none: the configured one.
        path: Option<String>,
    },
    /// The node's environment, as it was at the start.
    Environment,
    /// A DNS name: `dnsaddr`, `SRV` and address records.
    Dns {
        /// The name; none: the configured ones.
        name: Option<String>,
    },
    /// The public bootstrap list.
    Public,
    /// Everything that is configured, again.
    Configured,
}

/// Reads first contacts and dials them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapNow {
    /// From where.
    pub from: BootstrapFrom,
    /// How long reading and the first dials may take, in milliseconds; those still under way go on.
    pub within_ms: u64,
}

impl Request for BootstrapNow {
    type Reply = Result<BootstrapReport, BootstrapError>;
    const NAME: &'static str = "bootstrap_now";
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapReport {
    /// The contacts that were read, and how far each is.
    pub contacts: Vec<ContactView>,
    /// Entries that cannot be used, each with the reason.
    pub skipped: Vec<SkippedEntry>,
}

/// An entry that is no contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedEntry {
    /// As it was found, cut.
    pub entry: String,
    /// What is wrong with it.
    pub problem: String,
}

/// How far a contact is, as it is now. Variants are only ever added at the end: they are on wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactState {
    /// A try is under way.
    Dialling,
    /// It is connected and both sides have admitted each other, whoever of them opened the connection.
    Connected,
    /// The next try has its time: the first one, or the last one failed.
    Waiting,
    /// It was reached, and is not connected any more. It is tried again every few minutes, and at once when the node is
    /// alone.
    Lost,
}

impl ContactState {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dialling => "dialling",
            Self::Connected => "connected",
            Self::Waiting => "waiting",
            Self::Lost => "lost",
        }
    }
}

/// A first contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactView {
    /// Where, with `/p2p/<id>` when the id is known.
    pub address: String,
    /// How it was learned.
    pub source: Source,
    /// How far it is.
    pub state: ContactState,
    /// Who it is, once it was connected: who answered last; none: it was never reached.
    pub peer: Option<PeerId>,
    /// Tries since the last success.
    pub attempts: u32,
    /// Why the last try failed.
    pub problem: Option<String>,
    /// Milliseconds until the next try.
    pub next_try_in_ms: Option<u64>,
}

/// Lists the first contacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListContacts;

impl Request for ListContacts {
    type Reply = Vec<ContactView>;
    const NAME: &'static str = "list_contacts";
}

/// Why first contacts could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum BootstrapError {
    /// Neither given nor configured.
    #[error("no {what} is given and none is configured: {help}")]
    NotConfigured {
        /// What is missing.
        what: String,
        /// What to do.
        help: String,
    },
    /// The file cannot be read.
    #[error("bootstrap file {path} cannot be read: {problem}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        problem: String,
    },
    /// The name cannot be resolved.
    #[error("{name} cannot be resolved: {problem}")]
    Dns {
        /// The name.
        name: String,
        /// Why.
        problem: String,
    },
    /// It holds nothing that can be dialled.
    #[error("{place} holds no usable contact: {problem}")]
    Empty {
        /// What was read.
        place: String,
        /// What is wrong with its entries.
        problem: String,
    },
}

impl Coded for BootstrapError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotConfigured { .. } | Self::File { .. } | Self::Empty { .. } => ErrorCode::InvalidArgument,
            Self::Dns { .. } => ErrorCode::Unreachable,
        }
    }
}

/// Finds out under which addresses this node is seen from the internet, by asking public services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetPublicIp {
    /// Ask again, even if the answer is known from not long ago.
    pub refresh: bool,
}

impl Request for GetPublicIp {
    type Reply = Result<PublicIp, PublicIpError>;
    const NAME: &'static str = "get_public_ip";
}

/// The addresses on which at least two services agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicIp {
    /// IPv4.
    pub ipv4: Option<std::net::Ipv4Addr>,
    /// IPv6.
    pub ipv6: Option<std::net::Ipv6Addr>,
    /// The services that agreed.
    pub agreed_by: Vec<String>,
    /// Milliseconds since they were asked.
    pub age_ms: u64,
}

/// Why no public address is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum PublicIpError {
    /// Fewer than two services that agree.
    #[error("no two services agree on the public address of this node: {answers}")]
    NoAgreement {
        /// What each said, for a person.
        answers: String,
    },
    /// Fewer than two are configured.
    #[error(
        "{configured} services for the public address are configured, and two must agree: give at least two in p2p.public_ip.services"
    )]
    TooFewServices {
        /// How many.
        configured: usize,
    },
}

impl Coded for PublicIpError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NoAgreement { .. } => ErrorCode::Unavailable,
            Self::TooFewServices { .. } => ErrorCode::Config,
        }
    }
}
