//! Whether multicast works on this machine: a container may have nothing but loopback, or a network that carries none.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// The group of multicast DNS. What is sent here goes to a port at which no such service listens.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT_OF_MDNS: u16 = 5353;
/// How long a datagram of this machine to itself may take.
const WITHIN: Duration = Duration::from_secs(1);

/// Sends something to the group of multicast DNS and hears it, as two nodes of one machine hear each other.
///
/// # Errors
/// Why mDNS cannot be measured here.
pub(super) async fn works() -> Result<(), String> {
    let interface =
        interface().await.map_err(|error| format!("not measurable here: no multicast route: {error}"))?;
    if interface.is_loopback() || interface.is_unspecified() {
        return Err("not measurable here: there is no network interface but loopback".into());
    }
    match is_heard(interface).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("not measurable here: {interface} does not hear its own multicast")),
        Err(error) => Err(format!("not measurable here: no multicast at {interface}: {error}")),
    }
}

/// The address of this machine on the interface through which multicast goes.
async fn interface() -> io::Result<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    // Nothing is sent by this: the system chooses the way.
    socket.connect((GROUP, PORT_OF_MDNS)).await?;
    match socket.local_addr()?.ip() {
        IpAddr::V4(ip) => Ok(ip),
        IpAddr::V6(ip) => Err(io::Error::other(format!("{ip} is no address of IPv4"))),
    }
}

async fn is_heard(interface: Ipv4Addr) -> io::Result<bool> {
    let hears = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    hears.join_multicast_v4(GROUP, interface)?;
    let says = UdpSocket::bind((interface, 0)).await?;
    let word = format!("meshwork bench {:x}", rand::random::<u64>());
    says.send_to(word.as_bytes(), (GROUP, hears.local_addr()?.port())).await?;
    let listening = async {
        let mut heard = [0; 64];
        loop {
            let (length, _) = hears.recv_from(&mut heard).await?;
            if heard.get(..length) == Some(word.as_bytes()) {
                return Ok(true);
            }
        }
    };
    timeout(WITHIN, listening).await.unwrap_or(Ok(false))
}
