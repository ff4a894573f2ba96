// Does the service lose requests when it is told to stop? A test like any other: `node --test`.
//
// The command is `lameduck` on the PATH, or what LAMEDUCK says.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import test from "node:test";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const lameduck = process.env.LAMEDUCK ?? "lameduck";
const missing = spawnSync(lameduck, ["--version"]).error ? "lameduck is not installed" : false;

function verify(more = [], env = {}) {
  const command = ["verify", "--profile", here("service.toml"), "--format", "json", ...more];
  command.push("--", process.execPath, here("server.mjs"), "{port}");
  const done = spawnSync(lameduck, command, {
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
    timeout: 600_000,
    env: { ...process.env, ...env },
  });
  // 2: the service did not start, or the command line is wrong. There is no report then.
  assert.notEqual(done.status, 2, done.stderr);
  return { report: JSON.parse(done.stdout), code: done.status };
}

function complaint(report) {
  const failed = report.checks.filter((check) => check.verdict === "fail");
  const lines = failed.map(({ id, owed, detail, next }) => `  ${id}: ${owed}\n    seen: ${detail}\n    again: ${next}`);
  return [`${report.lost} of ${report.requests.sent} requests lost`, ...lines].join("\n");
}

test("no request is lost on a stop", { skip: missing }, (t) => {
  const { report, code } = verify();
  // 3 means that this machine was too slow to tell; a deploy may wait for another run.
  if (code === 3) return t.skip("inconclusive");
  assert.equal(code, 0, complaint(report));
});

test("a careless service would be caught", { skip: missing }, () => {
  const { report, code } = verify(["--only", "H1-01,H1-05"], { CARELESS: "1" });
  assert.equal(code, 1, complaint(report));
  assert.ok(report.lost > 0);
});
