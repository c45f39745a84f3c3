//! Telling a flood from an honest rush: a bucket that fills with what a peer asks beyond its limits and drains with time.

use meshwork_proto::UnixMillis;

/// What may come at once beyond the limits before it is a flood. Honest nodes keep to the limits themselves (a node asks
/// as much at a time as it serves), so this is room for two rounds of a node that is configured otherwise.
const ROOM: f64 = 512.0;
/// What drains in a second: that much too much, for ever, is only a nuisance.
const DRAIN_PER_S: f64 = 50.0;
/// What a stream too many costs, compared with a request too many: it is negotiated, and buffers are made for it.
pub(crate) const STREAM_COST: u32 = 16;

/// The bucket of one peer.
#[derive(Debug, Default)]
pub(crate) struct FloodGate {
    level: f64,
    at: UnixMillis,
}

impl FloodGate {
    /// Something that is too much; true: the bucket is full, which is one offence, and begins anew.
    pub(crate) fn hit(&mut self, cost: u32, now: UnixMillis) -> bool {
        let drained = now.since(self.at).as_secs_f64() * DRAIN_PER_S;
        self.level = (self.level - drained).max(0.0) + f64::from(cost);
        self.at = now;
        if self.level <= ROOM {
            return false;
        }
        self.level = 0.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_rush_is_no_flood_and_a_flood_is_noticed_again_and_again() {
        let mut gate = FloodGate::default();
        let now = UnixMillis(1_000_000);
        assert_eq!((0..512).filter(|_| gate.hit(1, now)).count(), 0);
        assert_eq!((0..513 * 9).filter(|_| gate.hit(1, now)).count(), 9);
        let later = now.after(Duration::from_secs(60));
        assert_eq!((0..32).filter(|_| gate.hit(STREAM_COST, later)).count(), 0);
    }

    #[test]
    fn a_little_too_much_all_the_time_is_no_flood() {
        let mut gate = FloodGate::default();
        let mut now = UnixMillis(1_000_000);
        for _ in 0..100_000 {
            now = now.after(Duration::from_millis(25));
            assert!(!gate.hit(1, now));
        }
    }
}
