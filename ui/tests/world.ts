// What all browser tests share: it is started once, before the first.
import type { TestProject } from "vitest/node";
import { type BrowserServer, chromium } from "playwright-core";
import { standalone } from "./standalone.ts";

declare module "vitest" {
  interface ProvidedContext {
    address: string;
    folder: string;
    browser: string;
  }
}

export function browserServer(more: string[] = []): Promise<BrowserServer> {
  return chromium.launchServer({
    executablePath: process.env.CORDWOOD_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", ...more],
  });
}

export default async function setup(project: TestProject) {
  const world = await standalone();
  const server = await browserServer();
  project.provide("address", world.address);
  project.provide("folder", world.folder);
  project.provide("browser", server.wsEndpoint());
  return async () => {
    await server.close();
    await world.stop();
  };
}
