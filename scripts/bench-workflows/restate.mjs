// One Restate server with one service, both on loopback, for `meshwork bench workflow --compare`.
//
//   node restate.mjs DATA_DIR
//
// Says in one line of JSON where the service can be called and which processes it is, and ends when its standard input
// does. Nothing is configured but addresses: the log is replicated to this one node and its write-ahead log is fsynced
// (`rocksdb-disable-wal-fsync = false`), as it comes.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { join } from "node:path";
import { openSync } from "node:fs";
import * as restate from "@restatedev/restate-sdk";

const READY_WITHIN_MS = 60_000;
const require = createRequire(import.meta.url);
const directory = process.argv[2];

const bench = restate.service({
  name: "bench",
  handlers: {
    // A run of one durable step: what it gives is in the journal before the run goes on.
    step: async (ctx, input) => ctx.run("echo", () => input),
    // The run alone, without a step.
    bare: async (_ctx, input) => input,
  },
});

/** Addresses at which nobody listens at this moment. */
async function freeAddresses(count) {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(servers.map((server) => new Promise((done) => server.listen(0, "127.0.0.1", done))));
  const addresses = servers.map((server) => `127.0.0.1:${server.address().port}`);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return addresses;
}

const [ingress, admin, fabric, service] = await freeAddresses(4);
await restate.serve({
  services: [bench],
  port: Number(service.split(":")[1]),
  // Standard output is for our one line; and what goes well need not be told for each run.
  logger: (meta, ...message) => {
    if (meta.level === "warn" || meta.level === "error") console.error(...message);
  },
});

const binary = require.resolve(`@restatedev/restate-server-${process.platform}-${process.arch}/bin/restate-server`);
const log = openSync(join(directory, "restate.log"), "a");
const server = spawn(binary, ["--no-logo", "--base-dir", join(directory, "data"), "--node-name", "bench"], {
  env: {
    ...process.env,
    RESTATE_LISTEN_MODE: "tcp",
    RESTATE_BIND_ADDRESS: fabric,
    RESTATE_ADVERTISED_ADDRESS: `http://${fabric}/`,
    RESTATE_INGRESS__BIND_ADDRESS: ingress,
    RESTATE_ADMIN__BIND_ADDRESS: admin,
    RESTATE_DISABLE_TELEMETRY: "true",
    RESTATE_LOG_FILTER: "warn",
  },
  stdio: ["ignore", log, log],
});
let ending = false;
server.on("exit", (code) => {
  if (!ending) {
    console.error(`the Restate server ended with ${code}: see ${join(directory, "restate.log")}`);
    process.exit(1);
  }
  process.exit(0);
});
process.stdin.on("close", () => {
  ending = true;
  server.kill("SIGKILL");
});
process.stdin.resume();

/** Tries until it succeeds. */
async function eventually(what, attempt) {
  const deadline = Date.now() + READY_WITHIN_MS;
  for (;;) {
    let problem;
    try {
      const response = await attempt();
      if (response.ok) return;
      problem = `${response.status} ${await response.text()}`;
    } catch (error) {
      problem = String(error.cause ?? error);
    }
    if (Date.now() > deadline) {
      console.error(`${what} failed: ${problem}`);
      ending = true;
      server.kill("SIGKILL");
      return new Promise(() => {});
    }
    await new Promise((done) => setTimeout(done, 100));
  }
}

const headers = { "content-type": "application/json" };
const post = (url, body) => fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
await eventually("registering the service", () =>
  post(`http://${admin}/deployments`, { uri: `http://127.0.0.1:${service.split(":")[1]}` }),
);
await eventually("a first call", () => post(`http://${ingress}/bench/step`, { text: "hello" }));
const { version } = require("@restatedev/restate-server/package.json");
console.log(JSON.stringify({ url: `http://${ingress}/bench`, pids: [server.pid, process.pid], version }));
