import { expect, it } from "vitest";
import { accessible, address, log, records, stored, until, visit, type Page } from "./harness.ts";

interface Config {
  metadata: { name: string; resourceVersion: string };
  spec: { level: string; service?: string; scope: string; expiresAt?: string; debugScopes?: boolean };
}

async function configs(): Promise<Config[]> {
  const { items } = (await (await fetch(`${address()}/api/admin/levels`)).json()) as { items: Config[] };
  return items;
}
const named = async (name: string) => (await configs()).find(({ metadata }) => metadata.name === name);

async function put(body: object): Promise<void> {
  const answer = await fetch(`${address()}/api/admin/levels`, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  expect(answer.ok, await answer.text()).toBe(true);
}
const remove = (name: string) => fetch(`${address()}/api/admin/levels/${name}`, { method: "DELETE" });
const row = (page: Page, name: string) => page.locator(`tr[data-rule="${name}"]`);

it("quiets a service for 30 minutes in two clicks, and the agent has it", async () => {
  // More than the services of most other tests write: only the loudest are listed.
  await log("levels-loud", records("levels-loud", 2000));
  await stored("service=levels-loud", 1000);
  const page = await visit("/levels");
  await page.getByRole("button", { name: "Quiet levels-loud" }).click();
  await page.getByRole("button", { name: "Hold levels-loud at WARN for 30 min" }).click();
  const mine = row(page, "api-levels-loud-application");
  await mine.getByText("In force").waitFor();
  await mine.getByText("1 of 1").waitFor();
  expect(await mine.getByTestId("left").innerText()).toMatch(/^\d+ min \d+ s$/);
  expect(await mine.innerText()).toContain("Application");
  expect(await named("api-levels-loud-application")).toMatchObject({ spec: { level: "WARN", service: "levels-loud" } });
  await remove("api-levels-loud-application");
});

it("is filled in by a link, opens to DEBUG, and keeps tasks apart from the application", async () => {
  const page = await visit("/levels?service=levels-tasks");
  const form = page.getByRole("form", { name: "Set a level" });
  expect(await form.getByLabel("Service").inputValue()).toBe("levels-tasks");
  await form.getByText("DEBUG", { exact: true }).click();
  await form.getByText("Task", { exact: true }).click();
  await form.getByText("2 h", { exact: true }).click();
  await page.getByRole("button", { name: "Open levels-tasks to DEBUG for 2 h" }).click();
  const mine = row(page, "api-levels-tasks-task");
  await mine.getByText("Tasks", { exact: true }).waitFor();
  await put({ target: "levels-tasks", level: "ERROR", ttlSeconds: 600 });
  await row(page, "api-levels-tasks-application").waitFor();
  expect(await mine.innerText()).toContain("DEBUG");
  await remove("api-levels-tasks-task");
  await remove("api-levels-tasks-application");
});

it("holds every service only when that is meant", async () => {
  const page = await visit("/levels");
  const hold = page.getByRole("button", { name: "Hold everything at WARN for 30 min" });
  expect(await hold.isDisabled()).toBe(true);
  const meant = page.getByLabel("the level is for everything");
  await meant.check();
  expect(await hold.isDisabled()).toBe(false);
  await meant.uncheck();
  await page.getByRole("form", { name: "Set a level" }).getByLabel("Service").fill("one");
  expect(await page.getByRole("button", { name: "Hold one at WARN for 30 min" }).isDisabled()).toBe(false);
});

it("tells the default that stays from what ends, gives more time, and ends one that can be brought back", async () => {
  // It holds for the lines of all other tests too: none is below it.
  await put({ level: "TRACE" });
  await put({ target: "levels-more", level: "ERROR", ttlSeconds: 600 });
  const page = await visit("/levels");
  await page.getByRole("region", { name: "Permanent" }).getByText("Everything").waitFor();
  const mine = page.getByRole("region", { name: "For a while" }).locator('tr[data-rule="api-levels-more-application"]');
  const before = Date.parse((await named("api-levels-more-application"))!.spec.expiresAt!);
  await mine.getByRole("button", { name: "30 more minutes" }).click();
  await page.getByText("has 30 more minutes").waitFor();
  expect(Date.parse((await named("api-levels-more-application"))!.spec.expiresAt!) - before).toBe(30 * 60_000);

  await mine.getByRole("switch").click();
  await until(() => named("api-levels-more-application"), (one) => one?.spec.debugScopes === true, "the switch");

  await mine.getByRole("button", { name: "End" }).click();
  await page.getByText("api-levels-more-application is removed").waitFor();
  await until(() => mine.count(), (count) => count === 0);
  expect(await named("api-levels-more-application")).toBeUndefined();
  await page.getByRole("button", { name: "Undo" }).click();
  await mine.waitFor();
  expect(await named("api-levels-more-application")).toMatchObject({ spec: { level: "ERROR", debugScopes: true } });
  await remove("api-levels-more-application");
  await remove("api-default-application");
});

it("says what is wrong at its field, and changes nothing", async () => {
  const page = await visit("/levels?service=levels-wrong", { expected: /422/ });
  const form = page.getByRole("form", { name: "Set a level" });
  await form.getByText("Permanent", { exact: true }).click();
  await form.getByRole("button", { name: /permanently$/ }).click();
  await form.getByRole("group", { name: "For how long" }).getByRole("alert").waitFor();
  await form.getByText("30 min", { exact: true }).click();
  await form.getByLabel("Namespace").fill("Not A Namespace");
  await form.getByRole("button", { name: /for 30 min$/ }).click();
  const field = form.getByLabel("Namespace");
  await until(() => field.getAttribute("aria-invalid"), (value) => value === "true", "the mark of the field");
  const described = await field.getAttribute("aria-describedby");
  expect(await page.locator(`#${described!.split(" ").at(-1)}`).innerText()).not.toBe("");
  expect((await configs()).filter(({ spec }) => spec.service === "levels-wrong")).toEqual([]);
});

it("says at its row that another was faster, and takes what is there now", async () => {
  await put({ target: "levels-both", level: "WARN", ttlSeconds: 600 });
  const page = await visit("/levels", { expected: /409|ERR_FAILED/ });
  const mine = row(page, "api-levels-both-application");
  await mine.waitFor();
  // The page does not learn of the change before it is asked for one.
  await page.route("**/api/admin/levels", (route) => (route.request().method() === "GET" ? route.abort() : route.continue()));
  await put({ target: "levels-both", level: "ERROR", ttlSeconds: 900 });
  await mine.getByRole("button", { name: "30 more minutes" }).click();
  const refusal = page.getByText("It was changed");
  await refusal.waitFor();
  expect((await named("api-levels-both-application"))!.spec.level).toBe("ERROR");
  await page.unroute("**/api/admin/levels");
  await page.locator("tr.refusal").getByRole("button", { name: "Try again" }).click();
  await mine.getByText("ERROR").waitFor();
  expect(await refusal.count()).toBe(0);
  await remove("api-levels-both-application");
});

it("says what to do where nothing is administered", async () => {
  const page = await visit("/whoami", { expected: /404/ });
  const body = { type: "urn:cordwood:problem:no-administration", title: "Nothing is administered here", status: 404, detail: "standalone needs --resources DIR" };
  await page.route("**/api/admin/levels", (route) => route.fulfill({ status: 404, contentType: "application/problem+json", body: JSON.stringify(body) }));
  await page.getByRole("link", { name: "Levels" }).click();
  await page.getByText("No levels are set here").waitFor();
  await page.getByText("--resources DIR").waitFor();
});

it("works by keyboard alone", async () => {
  const page = await visit("/levels?service=levels-keys");
  await page.getByRole("form").getByLabel("Service").focus();
  const at = () => page.evaluate(() => (document.activeElement as HTMLInputElement).value ?? document.activeElement!.textContent);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await until(at, (value) => value === "WARN", "the level");
  await page.keyboard.press("ArrowRight");
  await until(at, (value) => value === "ERROR", "the next level");
  for (const _ of ["how long", "which lines", "more", "the button"]) await page.keyboard.press("Tab");
  await until(() => page.evaluate(() => document.activeElement!.textContent!.trim()), (text) => text === "Hold levels-keys at ERROR for 30 min", "the button");
  await page.keyboard.press("Enter");
  await row(page, "api-levels-keys-application").getByText("ERROR").waitFor();
  await remove("api-levels-keys-application");
});

it.each([
  ["light", 1440],
  ["dark", 390],
] as const)("keeps the rules of accessibility in the %s theme, %i pixels wide", async (colorScheme, width) => {
  const service = `levels-axe-${colorScheme}`;
  await put({ target: service, level: "WARN", ttlSeconds: 600, sample: 0.1, debugScopes: true });
  const page = await visit("/levels", { colorScheme, viewport: { width, height: 900 } });
  await row(page, `api-${service}-application`).getByText("In force").waitFor();
  await page.getByText("More", { exact: true }).click();
  await accessible(page);
  expect(await page.evaluate(() => document.querySelector("main")!.scrollWidth <= innerWidth)).toBe(true);
  await remove(`api-${service}-application`);
});

it("does nothing unseen: what is folded away is taken back by Quiet, and unfolded where it is wrong", async () => {
  await log("levels-folded", records("levels-folded", 1500));
  await stored("service=levels-folded", 1000);
  const page = await visit("/levels");
  const fold = page.getByText("More", { exact: true });
  const sample = page.getByLabel("Keep of what lies below");
  await fold.click();
  await sample.fill("15");
  await page.getByLabel(/Drop lines whose level is unknown/).check();
  await fold.click();
  await page.getByRole("button", { name: "Quiet levels-folded" }).click();
  await page.getByRole("button", { name: "Hold levels-folded at WARN" }).waitFor();
  await fold.click();
  expect([await sample.inputValue(), await page.getByLabel(/Drop lines whose level is unknown/).isChecked()]).toEqual(["", false]);
  await sample.fill("150");
  await fold.click();
  await sample.waitFor({ state: "hidden" });
  await page.getByRole("button", { name: "Hold levels-folded at WARN" }).click();
  await sample.waitFor();
});
