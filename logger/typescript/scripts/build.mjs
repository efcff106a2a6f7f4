// Builds dist/: CommonJS by the compiler, and for `import` a file that hands on the same objects, so that a program that uses both ways
// has one state.

import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const dist = join(top, "dist");
const require = createRequire(import.meta.url);

rmSync(dist, { recursive: true, force: true });
execFileSync(process.execPath, [join(top, "node_modules/typescript/bin/tsc"), "-p", top], { stdio: "inherit" });
const names = Object.keys(require(join(dist, "index.js"))).filter((name) => name !== "__esModule").sort();
writeFileSync(join(dist, "index.mjs"), `import all from "./index.js";\nexport const { ${names.join(", ")} } = all;\n`);
writeFileSync(join(dist, "index.d.mts"), `export * from "./index.js";\n`);
