//! The keys of the sections that stand in lists: process tools and upstream MCP servers.

use super::Fallback::{Required, Unset, Value};
use super::Kind::{AbsolutePath, JsonSchema, List, Name, Path, Text, Url, Variables, Whole};
use super::{Key, SECONDS, plain, secret};

/// The keys of one process tool.
pub(crate) const TOOL: &[Key] = &[
    plain("name", Name, Required, "name of the tool"),
    plain("description", Text, Value(""), "what it does, for whoever chooses a tool"),
    plain(
        "command",
        List(&Text),
        Required,
        "program and arguments; it reads JSON from standard input and writes JSON to standard output",
    ),
    plain("input_schema", JsonSchema, Value("{type: object}"), "JSON Schema of the arguments"),
    secret(plain(
        "env",
        Variables,
        Value("{}"),
        "the whole environment of the program, beside PATH and what describes the task",
    )),
    plain("concurrency", Whole { min: 1, max: 10_000 }, Value("4"), "how many run at the same time"),
    plain("timeout_s", SECONDS, Value("300"), "longest run, in seconds"),
    plain("memory_mb", Whole { min: 8, max: 1 << 40 }, Unset, "limit of address space, in MiB; unset: none"),
    plain(
        "cpu_s",
        Whole { min: 1, max: 30 * 86_400 },
        Unset,
        "limit of processor time, in seconds; unset: none",
    ),
    plain("output_kb", Whole { min: 1, max: 64 << 10 }, Value("1024"), "most output, in KiB"),
    plain(
        "read_paths",
        List(&AbsolutePath),
        Value("[]"),
        "files and directories it may read, beside the system's programs and libraries",
    ),
    plain(
        "write_paths",
        List(&AbsolutePath),
        Value("[]"),
        "files and directories it may also write, beside its private working directory",
    ),
];

/// The keys of one upstream MCP server.
pub(crate) const UPSTREAM: &[Key] = &[
    plain("name", Name, Required, "its tools are offered as NAME__TOOL"),
    plain(
        "command",
        List(&Text),
        Value("[]"),
        "program and arguments of a server that speaks MCP on standard input and output",
    ),
    plain(
        "url",
        Url,
        Unset,
        "address of a server that speaks MCP over Streamable HTTP; either this or command",
    ),
    secret(plain("env", Variables, Value("{}"), "variables for the program, beside PATH and HOME")),
    secret(plain(
        "headers",
        Variables,
        Value("{}"),
        "HTTP headers for every request to url, such as Authorization",
    )),
    plain("cwd", Path, Unset, "working directory of the program; unset: the node's own"),
    plain(
        "startup_timeout_s",
        SECONDS,
        Value("60"),
        "longest time until the server has told its tools, in seconds",
    ),
    plain("call_timeout_s", SECONDS, Value("300"), "longest call, in seconds"),
    plain("concurrency", Whole { min: 1, max: 10_000 }, Value("16"), "calls at the same time"),
    plain(
        "tools",
        List(&Text),
        Value("[]"),
        "which of its tools are offered, by their names at the server; empty: all",
    ),
];
