// The package as it would be published, installed from its file into an empty project: as ESM, CommonJS and TypeScript, in a few lines each.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { folder, records, TOP } from "./parts.mjs";

test("npm pack, npm install, and the first lines of a newcomer", (t) => {
  const project = folder(t);
  const run = (command, args, cwd = project) => execFileSync(command, args, { cwd, encoding: "utf8", env: { ...process.env, CORDWOOD_FORMAT: "json" } });
  const [packed] = JSON.parse(run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", project], TOP));
  const names = packed.files.map(({ path }) => path);
  for (const wanted of ["README.md", "LICENSE", "package.json", "dist/index.js", "dist/index.mjs", "dist/index.d.ts", "dist/index.d.mts"]) assert.ok(names.includes(wanted), wanted);
  assert.ok(names.every((name) => !/^(src|tests|bench|scripts)\//.test(name)), names.join(" "));

  writeFileSync(join(project, "package.json"), '{"name": "empty", "private": true}');
  run("npm", ["install", "--offline", "--no-audit", "--no-fund", join(project, packed.filename)]);
  assert.deepEqual(readdirSync(join(project, "node_modules")).filter((name) => !name.startsWith(".")), ["cordwood-logger"], "no dependency");

  const programs = {
    "esm.mjs": 'import { createLogger } from "cordwood-logger";\nconst log = createLogger("shop");\nlog.info({ orderId: 17 }, "paid");\n',
    "cjs.cjs": 'const { createLogger } = require("cordwood-logger");\nconst log = createLogger("shop");\nlog.info({ orderId: 17 }, "paid");\n',
    "both.mjs": 'import { createRequire } from "node:module";\nimport * as esm from "cordwood-logger";\nconst cjs = createRequire(import.meta.url)("cordwood-logger");\nesm.withContext({ orderId: 17 }, () => cjs.createLogger("shop").info("paid"));\n',
  };
  for (const [name, text] of Object.entries(programs)) {
    writeFileSync(join(project, name), text);
    const [record] = records(run(process.execPath, [name]));
    assert.deepEqual([record.service, record.message, record.orderId], ["shop", "paid", 17], name);
  }

  const typed = `import { createLogger, createRequestLogger, TaskContext, runTask, type Level } from "cordwood-logger";
const log = createLogger("shop", { caller: true });
const level: Level = log.level;
log.info({ orderId: 17, level }, "paid");
const n: number = log.scope("sum", () => 1 + 1);
createRequestLogger(new Headers({ "x-request-id": "r" })).warn("slow %d ms", n);
runTask((params: { a: number }, context) => context.logger.info(params, "ran"), { a: 1 }, new TaskContext(log, 42));
// @ts-expect-error a level that is none
if ((false as boolean)) log.loud("x");
`;
  const sources = ["typed.mts", "typed.cts"];
  for (const name of sources) writeFileSync(join(project, name), typed);
  const types = ["--typeRoots", join(TOP, "node_modules/@types"), "--types", "node"];
  run(process.execPath, [join(TOP, "node_modules/typescript/bin/tsc"), "--strict", "--skipLibCheck", "--target", "es2022", "--module", "node16", "--moduleResolution", "node16", ...types, ...sources]);
  for (const name of sources) {
    const got = records(run(process.execPath, [name.replace(/ts$/, "js")]));
    assert.deepEqual(got.map(({ message }) => message), ["paid", "slow 2 ms", "ran"]);
    assert.ok(got[0].file.startsWith(project) && got[0].line > 0, JSON.stringify(got[0]));
    assert.deepEqual([got[1].requestId, got[2].taskId, got[2].source], ["r", "42", "plugin"]);
  }
});
