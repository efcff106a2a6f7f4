// What a browser test needs: pages on the shared `cordwood standalone`, lines of its own, and a page that fails the test when anything in it does.
import AxeBuilder from "@axe-core/playwright";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, inject } from "vitest";
import { write } from "./standalone.ts";

export type { Page } from "playwright-core";
export { standalone, write } from "./standalone.ts";

/** What is waited for comes on a slow machine too: a test that waits so long has failed. */
const WAIT_MS = 45_000;
let browser: Browser;
const open: { page: Page; faults: string[] }[] = [];

beforeAll(async () => {
  browser = await chromium.connect(inject("browser"));
});
afterAll(async () => {
  await browser?.close();
});
afterEach(async () => {
  const faults = open.flatMap((one) => one.faults);
  await Promise.all(open.splice(0).map(({ page }) => close(page)));
  expect(faults, "nothing in the page went wrong").toEqual([]);
});

/** Closes a page and its context. A page asks again in the background: what a test's routes still answer then has nobody left to answer, which is no fault. */
async function close(page: Page): Promise<void> {
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await page.context().close();
}

export const address = (): string => inject("address");

/** Appends lines to a file of the test's own: JSON values, or texts as they are. */
export const log = (file: string, lines: readonly (string | object)[]): Promise<void> => write(inject("folder"), file, lines);

/** Records of a service at times that follow each other, one millisecond apart and ending now. */
export function records(service: string, count: number, each: (n: number) => object = () => ({})): object[] {
  const end = Date.now();
  return Array.from({ length: count }, (_, n) => ({
    time: new Date(end - (count - 1 - n)).toISOString(),
    level: "info",
    service,
    msg: `line ${n}`,
    ...each(n),
  }));
}

/** Waits until a filter finds so many records (1,000 at the most). */
export async function stored(filter: string, count: number, at = address()): Promise<{ id: string; message: string }[]> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const asked = `${at}/api/platform/logs?limit=1000&filter=${encodeURIComponent(filter)}`;
    const { items } = (await (await fetch(asked)).json()) as { items: { id: string; message: string }[] };
    if (items.length >= count) return items;
    if (Date.now() > deadline) throw new Error(`${items.length} of ${count} records of ${filter} are stored`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export interface PageOptions extends BrowserContextOptions {
  /** Console messages that the test brings about itself. */
  expected?: RegExp;
  at?: string;
  /** Before the page is asked for. */
  before?: (page: Page) => Promise<unknown>;
}

/** A new page at a path, in a browser that remembers nothing. */
export async function visit(path: string, { expected, at = address(), before, ...options }: PageOptions = {}): Promise<Page> {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    timezoneId: "Europe/Berlin",
    locale: "en-GB",
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  const faults: string[] = [];
  const fault = (text: string) => expected?.test(text) || faults.push(text);
  page.on("pageerror", (error) => fault(String(error.stack ?? error)));
  page.on("console", (message) => message.type() === "error" && fault(`${message.text()} ${message.location().url}`));
  page.on("dialog", (dialog) => {
    fault(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  open.push({ page, faults });
  await before?.(page);
  await page.goto(at + path);
  return page;
}

/** No rule of axe is broken (WCAG 2.2 A and AA), in all of the page or within a part of it. */
export async function accessible(page: Page, within = "html"): Promise<void> {
  const found = await new AxeBuilder({ page }).include(within).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]).analyze();
  const told = found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target.join(" ")} ${failureSummary}`).join("\n")}`);
  expect(told).toEqual([]);
}

/** The messages that are drawn, from the top. */
export function messages(page: Page): Promise<string[]> {
  return page.locator("[data-id] .text").allInnerTexts();
}

export async function until<T>(what: () => Promise<T> | T, expected: (value: T) => boolean, said = ""): Promise<T> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const value = await what();
    if (expected(value)) return value;
    if (Date.now() > deadline) throw new Error(`${said || "what was waited for"} did not come: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
