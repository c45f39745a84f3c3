//! The public address of this node: asks several services on the internet at once, and believes what two of them agree on.
//!
//! One service alone could be wrong, broken or lying. Each is asked over IPv4 and over IPv6; the first two different ones
//! that say the same decide for their family, and nobody waits for the rest. Nothing is asked before somebody wants to
//! know, and what is known is told again for an hour. Who wants to know at the start asks again for some hours when nobody
//! can say: a machine often starts before its way to the internet does.

mod ask;

use ask::{Agreed, Asked};
use meshwork_kit::{Backoff, Port, serve_port};
use meshwork_proto::bootstrap::{GetPublicIp, PublicIp, PublicIpError};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Questions that wait for the one answer at the same time.
const WAITING: usize = 16;

/// How often the address is asked for at the start, until it is known: with the pauses, for about five hours.
const TRIES: u32 = 20;
/// Pauses between these tries.
const PAUSES: Backoff = Backoff::doubling(Duration::from_secs(5), Duration::from_secs(1_800));

/// Settings of the detection.
#[derive(Debug, Clone)]
pub struct PublicIpOptions {
    /// URLs that answer with the address of who asks, as text.
    pub services: Vec<String>,
    /// How long each may take.
    pub timeout: Duration,
    /// For how long an answer is told again.
    pub keep: Duration,
}

impl Default for PublicIpOptions {
    fn default() -> Self {
        let services = ["https://api.ipify.org", "https://ifconfig.me/ip", "https://icanhazip.com"];
        Self {
            services: services.map(str::to_owned).to_vec(),
            timeout: Duration::from_secs(5),
            keep: Duration::from_secs(3_600),
        }
    }
}

/// A port that finds the address out.
#[must_use]
pub fn serve(runtime: &Handle, options: PublicIpOptions) -> Port<GetPublicIp> {
    let detection = Arc::new(Detection { options, known: Mutex::new(None) });
    serve_port(WAITING, runtime, move |request: GetPublicIp| {
        let detection = Arc::clone(&detection);
        async move { detection.answer(request).await }
    })
}

/// Finds the address out, as often as it takes within some hours. Gives what was found; none: nobody could say, and it is
/// given up. Each try is answered within `within`.
pub async fn detect(port: &Port<GetPublicIp>, within: Duration, seed: u64) -> Option<PublicIp> {
    let mut rng = StdRng::seed_from_u64(seed);
    for attempt in 1..=TRIES {
        let problem = match port.ask(GetPublicIp { refresh: false }, within).await {
            Ok(Ok(found)) => return Some(found),
            Ok(Err(error @ PublicIpError::TooFewServices { .. })) => {
                tracing::warn!(%error, "the public address cannot be found out");
                return None;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        if attempt == TRIES {
            tracing::warn!(problem, attempt, "the public address was not found out: given up");
            break;
        }
        let pause = PAUSES.delay(attempt, &mut rng);
        // Once is worth a warning; that it goes on is what was to be expected.
        if attempt == 1 {
            tracing::warn!(problem, "the public address was not found out: tried again later");
        } else {
            tracing::debug!(problem, attempt, again_in = ?pause, "the public address was not found out");
        }
        tokio::time::sleep(pause).await;
    }
    None
}

struct Detection {
    options: PublicIpOptions,
    /// Held while the services are asked, so that many questions at once are one to them.
    known: Mutex<Option<(Instant, Agreed)>>,
}

impl Detection {
    async fn answer(&self, request: GetPublicIp) -> Result<PublicIp, PublicIpError> {
        let wanted = Instant::now();
        let mut known = self.known.lock().await;
        if let Some((asked, agreed)) = &*known {
            // What was found out while this question waited is as new as it can be.
            let new_enough = *asked >= wanted || (!request.refresh && asked.elapsed() < self.options.keep);
            if new_enough {
                return Ok(told(agreed, asked.elapsed()));
            }
        }
        let configured = self.options.services.len();
        if configured < 2 {
            return Err(PublicIpError::TooFewServices { configured });
        }
        match ask::all(&self.options.services, self.options.timeout).await {
            Asked::Agreed(agreed) => {
                let answer = told(&agreed, Duration::ZERO);
                *known = Some((Instant::now(), agreed));
                Ok(answer)
            }
            Asked::Disagreed { answers } => Err(PublicIpError::NoAgreement { answers }),
        }
    }
}

fn told(agreed: &Agreed, age: Duration) -> PublicIp {
    PublicIp {
        ipv4: agreed.ipv4,
        ipv6: agreed.ipv6,
        agreed_by: agreed.by.iter().cloned().collect(),
        age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests;
