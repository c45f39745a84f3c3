//! The reaper actor: forgets peers that nothing has confirmed for their time to live.
