//! What goes wrong, and when: crashes, cuts, clocks that are set, full disks, databases that fail, workers that vanish.

use super::net::{NODES, NOTICED};
use super::world::{CHAOS, Event, World};
use rand::RngExt;

impl World {
    /// What happens by itself, and when.
    pub(super) fn plan(&mut self) {
        for node in 0..NODES {
            self.at(0, Event::Boot(node));
            self.at(1, Event::ActClient(node));
        }
        for _ in 0..self.rng.random_range(0..6) {
            let at = self.rng.random_range(0..CHAOS);
            let several = self.rng.random_bool(0.25);
            let nodes = if several {
                self.rng.random_range(1..1 << NODES)
            } else {
                1 << self.rng.random_range(0..NODES)
            };
            let power = self.rng.random_bool(0.5);
            self.at(at, Event::Crash { nodes, power });
        }
        for _ in 0..self.rng.random_range(0..3) {
            let (node, at) = (self.rng.random_range(0..NODES), self.rng.random_range(0..CHAOS));
            let by = self.rng.random_range(-5 * 3_600_000..5 * 3_600_000);
            self.at(at, Event::Wall { node, by });
        }
        for _ in 0..self.rng.random_range(0..2) {
            let (node, at) = (self.rng.random_range(0..NODES), self.rng.random_range(0..CHAOS * 2));
            self.at(at, Event::Vanish(node));
        }
        if self.rng.random_bool(0.3) {
            let (node, at) = (self.rng.random_range(0..NODES), self.rng.random_range(0..CHAOS));
            let ends = at + self.rng.random_range(1000..10_000);
            self.at(at, Event::Full { node, full: true });
            self.at(ends, Event::Full { node, full: false });
        }
        for _ in 0..self.rng.random_range(0..2) {
            let (node, at) = (self.rng.random_range(0..NODES), self.rng.random_range(0..CHAOS));
            let ends = at + self.rng.random_range(300..2000);
            self.at(at, Event::Broken { node, broken: true });
            self.at(ends, Event::Broken { node, broken: false });
        }
        self.plan_cuts();
        self.at(CHAOS, Event::Heal);
        self.at(1000, Event::Look);
    }

    /// A connection that is cut is noticed after a while, by both sides.
    fn plan_cuts(&mut self) {
        for cut in self.net.cuts().to_vec() {
            if cut.until - cut.from <= NOTICED {
                continue;
            }
            for at in 0..NODES {
                for of in (0..NODES).filter(|of| cut.parts(at, *of)) {
                    self.at(cut.from + NOTICED, Event::Lost { at, of });
                    self.at(cut.until, Event::Back { at, of });
                }
            }
        }
    }
}
