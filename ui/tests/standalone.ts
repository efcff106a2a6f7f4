// A `cordwood standalone` on a folder of log files: what a test writes there is stored and comes live.
import { type ChildProcess, spawn } from "node:child_process";
import { appendFile, chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export interface Standalone {
  /** `http://127.0.0.1:PORT`. */
  address: string;
  /** Each line that is written to a `.log` file here is read. */
  folder: string;
  stop(): Promise<void>;
  /** Ends, does what is given, and begins again on the same data and at the same address. */
  restart(meanwhile: () => Promise<unknown>): Promise<void>;
}

function program(): string {
  const folder = process.env.CORDWOOD_BIN_DIR;
  if (!folder) throw new Error("CORDWOOD_BIN_DIR names no folder with a built `cordwood`; `scripts/test ui` sets it");
  return join(folder, "cordwood");
}

export async function standalone(more: string[] = []): Promise<Standalone> {
  const top = await mkdtemp(join(tmpdir(), "cordwood-ui-"));
  // For root, PostgreSQL runs as another user, who must be able to go through.
  await chmod(top, 0o755);
  const folder = join(top, "logs");
  const resources = join(top, "resources");
  await mkdir(folder);
  await mkdir(resources);
  const begin = (listen: string) =>
    spawn(
      program(),
      [
        ...["standalone", join(folder, "*.log"), "--data-dir", join(top, "data"), "--resources", resources],
        ...["--listen", listen, "--time-zone", "UTC", ...more],
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
  let child = begin("127.0.0.1:0");
  const stop = async () => {
    await end(child);
    await rm(top, { recursive: true, force: true });
  };
  try {
    const address = await answering(child);
    const restart = async (meanwhile: () => Promise<unknown>) => {
      await end(child);
      await meanwhile();
      child = begin(new URL(address).host);
      await answering(child);
    };
    return { address, folder, stop, restart };
  } catch (error) {
    await stop();
    throw error;
  }
}

function answering(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const said: string[] = [];
    for (const stream of [child.stdout!, child.stderr!]) {
      createInterface({ input: stream }).on("line", (line) => {
        said.push(line);
        const address = /answering on (http:\/\/[^/]+)/.exec(line)?.[1];
        if (address) resolve(address);
      });
    }
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`cordwood standalone ended with ${code}:\n${said.join("\n")}`)));
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGINT");
  await ended;
}

/** One line of JSON for each value; a text is written as it is. */
export async function write(folder: string, file: string, lines: readonly (string | object)[]): Promise<void> {
  const text = lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join("");
  await appendFile(join(folder, `${file}.log`), text);
}
