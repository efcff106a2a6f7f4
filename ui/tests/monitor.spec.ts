import { expect, it } from "vitest";
import { accessible, log, messages, stored, until, visit, type Page } from "./harness.ts";

let n = 0;
const now = () => new Date().toISOString();
const system = (service: string, msg: string, more: object = {}) => ({ time: now(), level: "info", service, logger: "madrox.server", msg, module: "server", function: "spawn_instance", line: 142, ...more });
const audit = (service: string, msg: string) => ({ time: now(), level: "info", service, logger: "audit.instance", msg, action: "instance_spawn", metadata: { instance_id: "abc123", role: "orchestrator" } });

const panel = (page: Page, name: string) => page.getByRole("region", { name });
const rows = (page: Page, name: string) => panel(page, name).locator(".message").allInnerTexts();

/** A monitor of one service alone, in both panels, that is live. */
async function watching(service: string, options = {}): Promise<Page> {
  const page = await visit(`/monitor?system=service=${service}&audit=service=${service}`, options);
  for (const name of ["System", "Audit"]) await panel(page, name).getByText("live", { exact: true }).waitFor();
  return page;
}

it("shows the system's records and audit records side by side, with what each says", async () => {
  const page = await watching("monitor-both");
  await log("monitor-both", [system("monitor-both", "Instance spawned successfully"), audit("monitor-both", "Instance main spawned")]);
  await until(() => rows(page, "System"), (shown) => shown.length === 1, "the system's record");
  await until(() => rows(page, "Audit"), (shown) => shown.length === 1, "the audit record");
  expect((await panel(page, "System").locator("article").innerText()).replace(/\s+/g, " ")).toMatch(/^\d\d:\d\d:\d\d\.\d{3} INFO madrox\.server Instance spawned successfully server spawn_instance ?:142$/);
  expect((await panel(page, "Audit").locator("article").innerText()).replace(/\s+/g, " ")).toMatch(/instance_spawn Instance main spawned instance_id=abc123 role=orchestrator$/);
  const [left, right] = await Promise.all(["System", "Audit"].map((name) => panel(page, name).boundingBox()));
  expect(left!.x + left!.width).toBeLessThanOrEqual(right!.x + 1);
  expect(left!.y).toBe(right!.y);
});

it("pauses one panel by the keyboard, counts what is new, and shows it in its order", async () => {
  const page = await watching("monitor-pause");
  await panel(page, "System").getByRole("button", { name: "Pause System" }).focus();
  await page.keyboard.press("Enter");
  await panel(page, "System").getByText("paused", { exact: true }).waitFor();
  await log("monitor-pause", [system("monitor-pause", "one"), system("monitor-pause", "two"), audit("monitor-pause", "seen")]);
  await until(() => rows(page, "Audit"), (shown) => shown.includes("seen"), "the other panel goes on");
  const resume = panel(page, "System").getByRole("button", { name: "Resume System" });
  await until(() => resume.innerText(), (text) => text === "2 new");
  expect(await rows(page, "System")).toEqual([]);
  await resume.focus();
  await page.keyboard.press("Enter");
  await until(() => rows(page, "System"), (shown) => shown.join() === "one,two");
});

it("filters each panel by itself, and keeps on watching while a filter is wrong", async () => {
  const page = await watching("monitor-filter", { expected: /400/ });
  const filter = panel(page, "System").getByRole("searchbox");
  await log("monitor-filter", [system("monitor-filter", "before")]);
  await until(() => rows(page, "System"), (shown) => shown.includes("before"));
  await filter.fill('service=monitor-filter level>=');
  await filter.press("Enter");
  await panel(page, "System").getByRole("alert").waitFor();
  await log("monitor-filter", [system("monitor-filter", "meanwhile")]);
  await until(() => rows(page, "System"), (shown) => shown.includes("meanwhile"), "what was watched is watched on");
  await filter.fill("service=monitor-filter level>=warn");
  await filter.press("Enter");
  await until(() => panel(page, "System").getByRole("alert").count(), (shown) => shown === 0);
  await panel(page, "System").getByText("live", { exact: true }).waitFor();
  await log("monitor-filter", [system("monitor-filter", "quiet"), system("monitor-filter", "loud", { level: "warn" }), audit("monitor-filter", "as before")]);
  await until(() => rows(page, "Audit"), (shown) => shown.includes("as before"), "the other panel's filter is its own");
  await until(() => rows(page, "System"), (shown) => shown.join() === "before,meanwhile,loud");
});

it("leads to what was before, and away from a filter that lets nothing through", async () => {
  await log("monitor-before", [audit("monitor-before", "done before")]);
  await stored("service=monitor-before", 1);
  const page = await watching("monitor-before");
  await panel(page, "System").getByRole("button", { name: "Remove the filter" }).click();
  await until(() => new URL(page.url()).searchParams.has("system"), (has) => !has, "the filter to be gone");
  await panel(page, "Audit").getByRole("link", { name: "What was before, in the logs" }).click();
  await until(() => messages(page), (shown) => shown.join() === "done before", "the audit record");
});

it("keeps 5,000 rows and says how many it dropped", async () => {
  const page = await watching("monitor-many");
  await log("monitor-many", Array.from({ length: 5200 }, () => system("monitor-many", `row ${n++}`)));
  await until(() => rows(page, "System"), (shown) => shown.includes("row 5199"), "the last row");
  await panel(page, "System").getByText("200 older dropped").waitFor();
  expect(await panel(page, "System").locator("article").count()).toBeLessThan(100);
  await panel(page, "System").getByRole("button", { name: "Clear System" }).click();
  await until(() => rows(page, "System"), (shown) => shown.length === 0);
});

it("stands one above the other on a narrow screen", async () => {
  const page = await watching("monitor-narrow", { viewport: { width: 390, height: 844 } });
  await log("monitor-narrow", [system("monitor-narrow", "here"), audit("monitor-narrow", "there")]);
  await until(() => rows(page, "Audit"), (shown) => shown.includes("there"));
  const [above, below] = await Promise.all(["System", "Audit"].map((name) => panel(page, name).boundingBox()));
  expect(above!.y + above!.height).toBeLessThanOrEqual(below!.y + 1);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
});

it.each(["light", "dark"] as const)("keeps the rules of accessibility in the %s theme", async (colorScheme) => {
  const page = await watching(`monitor-${colorScheme}`, { colorScheme });
  await log(`monitor-${colorScheme}`, ["trace", "debug", "info", "warn", "error"].map((level) => system(`monitor-${colorScheme}`, level, { level })));
  await log(`monitor-${colorScheme}`, [audit(`monitor-${colorScheme}`, "done")]);
  await until(() => rows(page, "Audit"), (shown) => shown.includes("done"));
  await until(() => rows(page, "System"), (shown) => shown.length >= 5);
  await accessible(page);
});
