// What the tests share: lines into memory, and programs with a pipe, a socket or nothing behind their standard output.

import { spawn, execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Logging, MemoryOutput } from "../dist/index.mjs";

export const TOP = fileURLToPath(new URL("..", import.meta.url));

/** A logger into memory, and its records so far. */
export function inMemory(options = {}) {
  const output = new MemoryOutput();
  const logging = new Logging({ env: options.env ?? {}, output, format: "json" });
  const log = logging.createLogger("shop", options);
  const raw = () => (logging.flush(), output.text);
  return { logging, log, raw, records: () => raw().split("\n").slice(0, -1).map((line) => JSON.parse(line)) };
}

/** A folder that goes with the test. */
export function folder(context) {
  const path = mkdtempSync(join(tmpdir(), "cordwood-logger-"));
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A pipe that is read when the test says so. */
export class Pipe {
  #read;
  write;
  constructor(path) {
    execFileSync("mkfifo", [path]);
    this.#read = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    this.write = openSync(path, constants.O_WRONLY);
  }
  /** What is in it now; undefined at its end. */
  take() {
    const part = Buffer.alloc(1 << 16);
    try {
      const count = readSync(this.#read, part);
      return count === 0 ? undefined : part.subarray(0, count);
    } catch (error) {
      if (error.code === "EAGAIN") return Buffer.alloc(0);
      throw error;
    }
  }
  /** Everything until nobody holds its other end. */
  async rest() {
    const parts = [];
    for (let part = this.take(); part !== undefined; part = this.take()) {
      if (part.length === 0) await new Promise((done) => setTimeout(done, 5));
      else parts.push(part);
    }
    return Buffer.concat(parts).toString("utf8");
  }
  close() {
    closeSync(this.#read);
  }
}

/** Starts a program of this text; `log` is its logger. `heard(word)` waits until it says the word on its standard error. */
export function program(text, stdout, env = {}) {
  const source = `import * as c from "./dist/index.mjs";\nconst log = c.createLogger("shop");\nconst say = (word) => process.stderr.write(word + "\\n");\n${text}`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", source], {
    cwd: TOP,
    stdio: ["ignore", stdout, "pipe"],
    env: { PATH: process.env.PATH, CORDWOOD_FORMAT: "json", ...env },
  });
  let said = "";
  const waiting = new Set();
  child.stderr.on("data", (part) => {
    said += part;
    for (const look of waiting) look();
  });
  const ended = new Promise((done) => child.on("close", (code, signal) => done({ code, signal, said })));
  const heard = (word) =>
    new Promise((done, failed) => {
      const look = () => said.includes(word) && (waiting.delete(look), done());
      waiting.add(look);
      look();
      ended.then(({ code }) => failed(new Error(`ended with ${code} before '${word}': ${said}`)));
    });
  return { child, ended, heard };
}

/** Whole lines only, each of them a record. */
export function records(text) {
  const lines = text.split("\n");
  if (lines.pop() !== "") throw new Error(`torn: ${text.slice(-200)}`);
  return lines.map((line) => JSON.parse(line));
}
