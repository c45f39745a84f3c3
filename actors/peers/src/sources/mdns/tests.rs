//! Multicast DNS with a transport that is played by the test, with paused time.

use super::*;
use crate::sources::cards::{A, B, card_at};
use meshwork_kit::Reply;
use meshwork_kit::testing::{self, Probe, probe};
use meshwork_proto::Request;
use meshwork_proto::transport::LookUpError;

type Asked = (ListNeighbours, Reply<<ListNeighbours as Request>::Reply>);

fn source() -> (Mdns, Probe<ListNeighbours>) {
    let (port, transport) = probe(4);
    (Mdns::new(MdnsOptions::default(), port), transport)
}

fn card() -> OwnCard {
    card_at("192.168.1.9", A)
}

fn heard(news: u64) -> Neighbours {
    let addresses = vec!["/ip4/192.168.1.7/tcp/4001".to_owned()];
    Neighbours { news, found: vec![FoundPeer { peer: Some(B.parse().unwrap()), addresses }] }
}

/// Visits the source while the transport answers so.
async fn visited(
    source: &mut Mdns,
    transport: &mut Probe<ListNeighbours>,
    answer: Result<Neighbours, LookUpError>,
) -> Result<Vec<FoundPeer>, SourceError> {
    let own = card();
    let (found, ()) = futures::join!(source.visit(&own), async {
        let (asked, reply): Asked = transport.next().await;
        assert_eq!(asked.known, None, "a visit does not wait");
        reply.send(answer);
    });
    found
}

#[test]
fn a_visit_takes_whom_the_transport_hears_now() {
    testing::world(|_| async move {
        let (mut source, mut transport) = source();
        assert_eq!(visited(&mut source, &mut transport, Ok(heard(1))).await, Ok(heard(1).found));
        assert_eq!(source.withdraw(&card()).await, Ok(()));
        assert!(transport.try_next().is_none(), "there is nothing to take back");
    });
}

#[test]
fn why_nobody_is_heard_is_told_and_news_are_waited_for_all_the_same() {
    testing::world(|world| async move {
        let (mut source, mut transport) = source();
        let off = Err(LookUpError::Off("multicast DNS"));
        let refused = visited(&mut source, &mut transport, off).await;
        assert!(matches!(refused, Err(SourceError::Refused(why)) if why.contains("multicast DNS")));
        let flooded = || Err(LookUpError::Unavailable("none are listened to".into()));
        let unavailable = visited(&mut source, &mut transport, flooded()).await;
        assert!(matches!(unavailable, Err(SourceError::Unavailable(why)) if why.contains("listened")));
        let (began, waking) = (world.clock().now(), source.woken());
        futures::join!(waking, async {
            transport.next().await.1.send(flooded());
            transport.next().await.1.send(Ok(heard(1)));
        });
        let waited = world.clock().now().since(began);
        assert!((PAUSE..2 * PAUSE).contains(&waited), "asked again after {waited:?}");
    });
}

#[test]
fn somebody_new_wakes_it_and_nobody_else_does() {
    testing::world(|_| async move {
        let (mut source, mut transport) = source();
        visited(&mut source, &mut transport, Ok(heard(3))).await.unwrap();
        let waking = source.woken();
        futures::join!(waking, async {
            for answer in [3, 3, 4] {
                let (asked, reply) = transport.next().await;
                assert_eq!((asked.known, asked.within_ms), (Some(3), 60_000));
                reply.send(Ok(heard(answer)));
            }
        });
        visited(&mut source, &mut transport, Ok(heard(4))).await.unwrap();
        let waking = source.woken();
        futures::join!(waking, async {
            let (asked, reply) = transport.next().await;
            assert_eq!(asked.known, Some(4), "what a visit has taken is no news");
            reply.send(Ok(heard(5)));
        });
    });
}
