// Whether two folders hold the same built files: node scripts/same.mjs FRESH COMMITTED. What is packed is compared by what it holds, since two
// versions of Node may pack the same differently.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { brotliDecompressSync } from "node:zlib";

const [fresh, committed] = process.argv.slice(2);
const files = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
const content = (folder, name) => {
  const bytes = readFileSync(join(folder, name));
  return name.endsWith(".br") ? brotliDecompressSync(bytes) : bytes;
};
const [left, right] = [files(fresh), files(committed)];
const faults = [
  ...left.filter((name) => !right.includes(name)).map((name) => `${name} is not committed`),
  ...right.filter((name) => !left.includes(name)).map((name) => `${name} is committed and not built`),
  ...left.filter((name) => right.includes(name) && !content(fresh, name).equals(content(committed, name))).map((name) => `${name} differs`),
];
if (faults.length > 0) {
  console.error(`${faults.join("\n")}\nThe built files are not those of the sources: run \`npm run build\` in ui/ and commit ui/dist.`);
  process.exit(1);
}

// What the first view loads, as it travels.
const { gzipSync } = await import("node:zlib");
const index = readFileSync(join(committed, "index.html"), "utf8");
const entry = [...index.matchAll(/(?:src|href)="\/([^"]+)"/g)].map(([, name]) => name);
const first = new Set(["index.html", ...entry, ...right.filter((name) => name.endsWith(".woff2") || /assets\/Logs-.*\.(js|css)$/.test(name))]);
const imports = (name) => [...readFileSync(join(committed, name), "utf8").matchAll(/(?:from|import)\s*["']\.\/([^"']+\.js)["']/g)].map(([, found]) => `assets/${found}`);
for (const name of first) if (name.endsWith(".js")) for (const more of imports(name)) first.add(more);
const size = (name) => (name.endsWith(".woff2") ? readFileSync(join(committed, name)) : gzipSync(readFileSync(join(committed, name)))).length;
const bytes = [...first].reduce((sum, name) => sum + size(name), 0);
const BYTES_MAX = 150 * 1024;
console.log(`the first view: ${bytes} bytes with gzip, fonts among them (at most ${BYTES_MAX})`);
if (bytes > BYTES_MAX) {
  console.error([...first].map((name) => `${name} ${size(name)}`).join("\n"));
  process.exit(1);
}
