// What all browser tests share: it is started once, before the first.
import type { TestProject } from "vitest/node";
import { type BrowserServer, chromium } from "playwright-core";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guarded } from "./guarded.ts";
import { standalone } from "./standalone.ts";

declare module "vitest" {
  interface ProvidedContext {
    address: string;
    folder: string;
    browser: string;
    /** The one that asks for tokens (guarded.ts): its address and its folder of log files. */
    guarded: { address: string; folder: string };
  }
}

export function browserServer(more: string[] = []): Promise<BrowserServer> {
  return chromium.launchServer({
    executablePath: process.env.CORDWOOD_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", ...more],
  });
}

export default async function setup(project: TestProject) {
  const tokens = await mkdtemp(join(tmpdir(), "cordwood-ui-tokens-"));
  const [world, second, server] = await Promise.all([standalone(), guarded(tokens), browserServer()]);
  project.provide("address", world.address);
  project.provide("folder", world.folder);
  project.provide("browser", server.wsEndpoint());
  project.provide("guarded", { address: second.address, folder: second.folder });
  return async () => {
    await server.close();
    await Promise.all([world.stop(), second.stop()]);
    await rm(tokens, { recursive: true, force: true });
  };
}
