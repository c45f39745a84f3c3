//! The door that is open for one new node: its code, until when, and how many wrong tries are left. Pure state: no clock, no
//! I/O, no randomness.

use super::code::Code;
use meshwork_proto::UnixMillis;
use std::time::Duration;

/// Wrong tries after which a code is of no use any more. With nine digits, that leaves a guesser three in a thousand
/// million.
pub(crate) const MAX_WRONG: u32 = 3;

#[derive(Debug)]
struct Open {
    code: Code,
    /// Tells this opening from others: a try that began under another code does not count here.
    serial: u64,
    until: UnixMillis,
    wrong: u32,
}

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    /// The right code, in time, and the first one: come in. The door is closed behind it.
    Welcome,
    /// A wrong code; so many tries are left.
    Wrong(u32),
    /// The last wrong try: the code is of no use any more.
    Burned,
    /// The door had been closed meanwhile.
    Closed,
}

/// The door.
#[derive(Debug, Default)]
pub(crate) struct Door {
    open: Option<Open>,
    serial: u64,
}

impl Door {
    /// Opens it for so long; an error when it is open already, with the time that is left.
    pub(crate) fn open(&mut self, code: Code, valid: Duration, now: UnixMillis) -> Result<(), Duration> {
        if let Some(open) = self.current(now) {
            return Err(open.until.since(now));
        }
        self.serial += 1;
        self.open = Some(Open { code, serial: self.serial, until: now.after(valid), wrong: 0 });
        Ok(())
    }

    /// The code that is good now, and the serial of its opening; none: the door is closed.
    pub(crate) fn code(&mut self, now: UnixMillis) -> Option<(Code, u64)> {
        self.current(now).map(|open| (open.code.clone(), open.serial))
    }

    /// Somebody has shown that it knows the code of that opening, or that it does not.
    pub(crate) fn judge(&mut self, serial: u64, right: bool, now: UnixMillis) -> Judged {
        let Some(open) = self.current(now).filter(|open| open.serial == serial) else {
            return Judged::Closed;
        };
        if right {
            self.open = None;
            return Judged::Welcome;
        }
        open.wrong += 1;
        let left = MAX_WRONG.saturating_sub(open.wrong);
        if left == 0 {
            self.open = None;
            return Judged::Burned;
        }
        Judged::Wrong(left)
    }

    fn current(&mut self, now: UnixMillis) -> Option<&mut Open> {
        if self.open.as_ref().is_some_and(|open| open.until <= now) {
            self.open = None;
        }
        self.open.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);
    const VALID: Duration = Duration::from_secs(600);

    fn code() -> Code {
        Code::parse("123 456 789").unwrap()
    }

    #[test]
    fn it_lets_one_in_and_closes() {
        let mut door = Door::default();
        assert_eq!(door.judge(1, true, NOW), Judged::Closed);
        door.open(code(), VALID, NOW).unwrap();
        assert_eq!(
            door.open(code(), VALID, NOW.after(Duration::from_secs(100))),
            Err(Duration::from_secs(500))
        );
        let (_, serial) = door.code(NOW).unwrap();
        assert_eq!(door.judge(serial, true, NOW), Judged::Welcome);
        assert_eq!(door.judge(serial, true, NOW), Judged::Closed);
        assert!(door.code(NOW).is_none());
    }

    #[test]
    fn three_wrong_tries_burn_the_code_however_many_begin_at_once() {
        let mut door = Door::default();
        door.open(code(), VALID, NOW).unwrap();
        let (_, serial) = door.code(NOW).unwrap();
        let judged: Vec<Judged> = (0..4).map(|_| door.judge(serial, false, NOW)).collect();
        assert_eq!(judged, [Judged::Wrong(2), Judged::Wrong(1), Judged::Burned, Judged::Closed]);
        assert_eq!(door.judge(serial, true, NOW), Judged::Closed);
    }

    #[test]
    fn a_try_under_an_older_code_neither_opens_nor_burns_the_new_one() {
        let mut door = Door::default();
        door.open(code(), VALID, NOW).unwrap();
        let (_, old) = door.code(NOW).unwrap();
        assert!(door.code(NOW.after(VALID)).is_none(), "it is good beyond its time");
        door.open(code(), VALID, NOW.after(VALID)).unwrap();
        assert_eq!(door.judge(old, true, NOW.after(VALID)), Judged::Closed);
        assert_eq!(door.judge(old, false, NOW.after(VALID)), Judged::Closed);
        assert!(door.code(NOW.after(VALID)).is_some());
    }

    proptest! {
        #[test]
        fn nobody_gets_in_after_three_wrong_tries_or_the_time_or_a_success(
            steps in proptest::collection::vec((0_u64..400, prop_oneof![Just(None), any::<bool>().prop_map(Some)]), 1..60),
        ) {
            let mut door = Door::default();
            let (mut now, mut opened, mut wrong, mut open) = (NOW, NOW, 0, false);
            let mut serial = 0;
            for (wait, step) in steps {
                now = now.after(Duration::from_secs(wait));
                open &= now.since(opened) < VALID;
                match step {
                    None => {
                        let answer = door.open(code(), VALID, now);
                        prop_assert_eq!(answer.is_err(), open);
                        if answer.is_ok() {
                            (opened, wrong, open) = (now, 0, true);
                            serial = door.code(now).unwrap().1;
                        }
                    }
                    Some(right) => {
                        let judged = door.judge(serial, right, now);
                        let expected = match (open, right) {
                            (false, _) => Judged::Closed,
                            (true, true) => Judged::Welcome,
                            (true, false) if wrong == 2 => Judged::Burned,
                            (true, false) => Judged::Wrong(2 - wrong),
                        };
                        prop_assert_eq!(judged, expected);
                        if open && !right {
                            wrong += 1;
                        }
                        open &= !right && wrong < 3;
                    }
                }
            }
        }
    }
}
