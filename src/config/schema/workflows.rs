//! The keys of workflows and schedules: how many there may be, how large, and how long they are kept.

use super::Fallback::Value;
use super::Kind::{Number, Whole};
use super::{Key, Kind, plain};

const DAYS: Kind = Number { min: 0.0, max: 3650.0 };
const BYTES: Kind = Whole { min: 1024, max: 64 << 20 };

/// Every key of workflows and schedules, in the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    plain(
        "workflows.max_running",
        Whole { min: 1, max: 1_000_000 },
        Value("10000"),
        "most runs of workflows that are under way at the same time; further ones are pending until one ends",
    ),
    plain(
        "workflows.max_unfinished",
        Whole { min: 1, max: 10_000_000 },
        Value("100000"),
        "most runs that are pending or under way; further ones are refused",
    ),
    plain(
        "workflows.max_in_flight",
        Whole { min: 1, max: 1_000_000 },
        Value("1024"),
        "most tasks of all runs together that are in the queue at the same time",
    ),
    plain(
        "workflows.max_steps",
        Whole { min: 1, max: 100_000 },
        Value("10000"),
        "most steps of a workflow, those of its sub-workflows included",
    ),
    plain(
        "workflows.max_items",
        Whole { min: 1, max: 1_000_000 },
        Value("100000"),
        "most items of all for_each of a run together",
    ),
    plain(
        "workflows.max_depth",
        Whole { min: 1, max: 32 },
        Value("8"),
        "how deep workflows may start workflows",
    ),
    plain("workflows.definition_bytes", BYTES, Value("1048576"), "largest definition, in bytes"),
    plain("workflows.inputs_bytes", BYTES, Value("1048576"), "largest inputs of a run, in bytes"),
    plain("workflows.output_bytes", BYTES, Value("16777216"), "largest output of a run, in bytes"),
    plain("workflows.keep_days", DAYS, Value("30"), "how long finished runs are kept, in days"),
    plain(
        "workflows.keep_runs",
        Whole { min: 1, max: 10_000_000 },
        Value("10000"),
        "most finished runs that are kept, the latest ones",
    ),
    plain(
        "workflows.pure_days",
        DAYS,
        Value("7"),
        "how long results of steps that say they are pure are used again, in days",
    ),
    plain(
        "workflows.pure_results",
        Whole { min: 0, max: 10_000_000 },
        Value("10000"),
        "most results of pure steps that are kept, the latest ones",
    ),
    plain(
        "schedules.max",
        Whole { min: 1, max: 10_000 },
        Value("1000"),
        "most schedules of tasks and workflows",
    ),
];
