import { expect, it } from "vitest";
import { accessible, address, until, visit, type Page } from "./harness.ts";

interface Policy {
  metadata: { name: string };
  spec: { retention: Record<string, string>; match: { services?: string[] }; priority: number };
}
const at = (name: string) => `${address()}/api/admin/retention/${name}`;
const policy = async (name: string): Promise<Policy | undefined> => {
  const answer = await fetch(at(name));
  return answer.ok ? ((await answer.json()) as Policy) : undefined;
};
async function put(name: string, spec: object): Promise<void> {
  const body = { apiVersion: "cordwood.dev/v1alpha1", kind: "LogRetentionPolicy", metadata: { name }, spec };
  const answer = await fetch(at(name), { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  expect(answer.ok, await answer.text()).toBe(true);
}
const remove = (name: string) => fetch(at(name), { method: "DELETE" });
const card = (page: Page, name: string) => page.locator(`[data-policy="${name}"]`);
const save = (page: Page) => page.getByRole("button", { name: "Save", exact: true });

it("makes a policy, and shows what it keeps", async () => {
  const page = await visit("/policies");
  await page.getByRole("link", { name: "New policy" }).click();
  const make = page.getByRole("button", { name: "Create the policy" });
  expect(await make.isDisabled()).toBe(true);
  await page.getByLabel("Name", { exact: true }).fill("ui-made");
  await page.getByLabel("Services").fill("policies-a, policies-b");
  await page.getByLabel("Namespaces").fill("policies-made");
  await page.getByLabel("Priority").fill("7");
  await page.getByRole("region", { name: "What it would do" }).waitFor();
  await make.click();
  const mine = card(page, "ui-made");
  await mine.getByText("Ready").waitFor();
  for (const text of ["policies-a", "policies-b", "priority 7", "30d", "14d"]) await mine.getByText(text, { exact: true }).first().waitFor();
  expect(await policy("ui-made")).toMatchObject({ spec: { priority: 7, match: { services: ["policies-a", "policies-b"] } } });
  await remove("ui-made");
});

it("shows what a change does to stored records before it can be saved, and saves only that", async () => {
  await put("default", { detachPerPass: 2 });
  const page = await visit("/policies?edit=default");
  await page.getByText("Nothing is changed yet").waitFor();
  expect(await page.getByLabel("Partitions in one pass").inputValue()).toBe("2");
  // An answer that has not come: it cannot be saved. Beside what the gateway foresees it has two partitions: a young database has sealed none.
  const time = (day: number) => `2026-11-${20 + day}T00:00:00Z`;
  const partition = (day: number) => ({ table: `blocks_c2_2026112${day}t0000`, level: "info", from: time(day), to: time(day + 1), bytes: 2_250_000, before: { dropped: time(day + 9) }, after: { dropped: time(day + 4) } });
  let go = () => {};
  const wait = new Promise<void>((resolve) => (go = resolve));
  await page.route("**/api/admin/retention/default?preview=true", async (route) => {
    await wait;
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...((await response.json()) as object), sooner: { partitions: 2, bytes: 4_500_000 }, partitions: [partition(0), partition(1)] } });
  });
  await page.getByLabel("INFO, and lines").fill("2d");
  await until(() => save(page).isDisabled(), (off) => off, "the button is off");
  go();
  const plan = page.getByRole("region", { name: "What it would do" });
  await plan.getByText("2 partitions (4.5 MB) go sooner").waitFor();
  await plan.getByText("7d → 2d").first().waitFor();
  expect(await plan.locator("tbody tr").allInnerTexts()).toHaveLength(2);
  expect((await policy("default"))!.spec.retention.info).toBe("7d");
  await save(page).click();
  await page.getByText("default is saved").waitFor();
  expect((await policy("default"))!.spec).toMatchObject({ retention: { info: "2d" }, detachPerPass: 2 });
  await remove("default");
});

it("shows what each level keeps and owes, and what a legal hold keeps of any policy's records", async () => {
  await put("ui-proof", { match: { namespaces: ["policies-proof"] }, legalHold: true });
  // A young database has sealed nothing: what the operator says of an old one.
  const day = (n: number) => `2026-11-${n}T00:00:00Z`;
  const info = { level: "info", class: 2, retention: "7d", partitions: 9, detached: 0, bytes: 4_500_000, records: 120_456, oldestRecord: day(10), newestRecord: day(29), oldestDue: day(23), overdue: 3 };
  const held = [{ what: "detach blocks_c2_20261110t0000", waits: "while the legal hold lasts", partitions: 1, records: 17, bytes: 500_000 }];
  const page = await visit("/policies", {
    before: (page) =>
      page.route("**/api/admin/retention", async (route) => {
        const response = await route.fetch();
        const { items } = (await response.json()) as { items: { metadata: { name: string }; status?: object }[] };
        const hold = { partitions: 12, records: 1_204, bytes: 9_000_000, expired: 3 };
        for (const one of items.filter(({ metadata }) => metadata.name === "ui-proof")) one.status = { ...one.status, classes: [info], hold, plan: { hash: "0", more: 0, held } };
        await route.fulfill({ response, json: { items } });
      }),
  });
  const mine = card(page, "ui-proof");
  for (const text of ["120,456", "3 overdue", "all since"]) await mine.getByText(text).first().waitFor();
  expect(await mine.getByText("Legal hold keeps").locator("..").innerText()).toMatch(/12 partitions, 1,204 records, 9\.0 MB.*3 of them expired/s);
  await mine.getByText("1 partition, 17 records, 500 KB").waitFor();
  expect(await mine.getByRole("columnheader").allInnerTexts()).toEqual(["Level", "Kept for", "Records", "Partitions", "Oldest record", "Newest record", "Next drop"]);
  await accessible(page);
  await remove("ui-proof");
});

it("shows what waits for an approval, and approves that plan and no other", async () => {
  await put("ui-waits", { match: { services: ["policies-waits"] } });
  const approval = { plan: "686788921e15984c", partitions: 100, records: 70_000, bytes: 9_000_000, command: "kubectl annotate" };
  const held = [{ what: "info: retention 30d -> 1h", waits: "waits for approval of plan 686788921e15984c: more than dropLimit allows", partitions: 100, records: 70_000, bytes: 9_000_000 }];
  const page = await visit("/policies", {
    expected: /409/,
    before: (page) =>
      page.route("**/api/admin/retention", async (route) => {
        const response = await route.fetch();
        const { items } = (await response.json()) as { items: { metadata: { name: string }; status?: object }[] };
        for (const one of items.filter(({ metadata }) => metadata.name === "ui-waits")) one.status = { ...one.status, approval, plan: { hash: "0", more: 0, held } };
        await route.fulfill({ response, json: { items } });
      }),
  });
  const waits = card(page, "ui-waits").getByRole("region", { name: "Waits for an approval" });
  expect(await waits.innerText()).toContain("100 partitions, 70,000 records, 9.0 MB");
  await accessible(page);
  await waits.getByRole("button", { name: "Approve…" }).click();
  const dialog = page.getByRole("dialog", { name: "Approve what ui-waits takes away?" });
  await dialog.getByText("info: retention 30d -> 1h").waitFor();
  await accessible(page);
  // The real policy has none that waits.
  await dialog.getByRole("button", { name: "Approve the plan" }).click();
  await dialog.getByText("no plan of this policy waits for an approval").waitFor();
  await page.keyboard.press("Escape");
  await until(() => dialog.count(), (count) => count === 0);

  let asked: unknown;
  await page.route("**/api/admin/retention/ui-waits/approval", async (route) => {
    asked = route.request().postDataJSON();
    await route.fulfill({ json: await policy("ui-waits") });
  });
  await waits.getByRole("button", { name: "Approve…" }).click();
  await dialog.getByRole("button", { name: "Approve the plan" }).click();
  await page.getByText("Plan 686788921e15984c of ui-waits is approved.").waitFor();
  expect(asked).toEqual({ plan: "686788921e15984c" });
  await remove("ui-waits");
});

it("says what is wrong at its field, and lets nobody save it", async () => {
  await put("ui-wrong", { match: { services: ["policies-wrong"] } });
  const page = await visit("/policies?edit=ui-wrong", { expected: /422/ });
  const field = page.getByLabel("WARN", { exact: true });
  await field.fill("soon");
  await page.getByText("write numbers with units").waitFor();
  expect(await field.getAttribute("aria-invalid")).toBe("true");
  expect(await save(page).isDisabled()).toBe(true);
  await field.fill("3d");
  await page.getByText("14d → 3d").waitFor();
  expect(await field.getAttribute("aria-invalid")).toBe(null);
  await remove("ui-wrong");
});

it("does not write over what another changed meanwhile, and begins again with it", async () => {
  await put("ui-both", { match: { services: ["policies-both"] } });
  const page = await visit("/policies?edit=ui-both", { expected: /409/ });
  await page.getByText("Nothing is changed yet").waitFor();
  await put("ui-both", { match: { services: ["policies-both"] }, retention: { info: "5d" } });
  await page.getByLabel("DEBUG and TRACE").fill("2d");
  await page.getByText("It was changed").waitFor();
  expect(await save(page).isDisabled()).toBe(true);
  await page.getByRole("button", { name: "Begin again" }).click();
  await until(() => page.getByLabel("INFO, and lines").inputValue(), (value) => value === "5d", "what is there now");
  await remove("ui-both");
});

it("refuses a second policy of a name at the name", async () => {
  await put("ui-twice", { match: { services: ["policies-twice"] } });
  const page = await visit("/policies?new=1", { expected: /409/ });
  const field = page.getByLabel("Name", { exact: true });
  await field.fill("ui-twice");
  await until(() => field.getAttribute("aria-invalid"), (value) => value === "true", "the mark of the field");
  await remove("ui-twice");
});

it("deletes one after it has shown what that would do", async () => {
  await put("ui-gone", { match: { services: ["policies-gone"] } });
  const page = await visit("/policies");
  await card(page, "ui-gone").getByRole("button", { name: "Delete" }).click();
  const dialog = page.getByRole("dialog", { name: "Delete ui-gone?" });
  await dialog.getByRole("region", { name: "What it would do" }).waitFor();
  await page.keyboard.press("Escape");
  expect(await policy("ui-gone")).toBeDefined();
  await card(page, "ui-gone").getByRole("button", { name: "Delete" }).click();
  await dialog.getByRole("region", { name: "What it would do" }).waitFor();
  await dialog.getByRole("button", { name: "Delete ui-gone" }).click();
  await until(() => card(page, "ui-gone").count(), (count) => count === 0);
  expect(await policy("ui-gone")).toBeUndefined();
});

it("works by keyboard alone", async () => {
  await put("ui-keys", { match: { services: ["policies-keys"] } });
  const page = await visit("/policies");
  await card(page, "ui-keys").getByRole("link", { name: "Change" }).focus();
  await page.keyboard.press("Enter");
  await page.getByText("Nothing is changed yet").waitFor();
  await page.getByLabel("ERROR", { exact: true }).focus();
  await page.keyboard.press("Control+A");
  await page.keyboard.type("60d");
  await page.getByText("30d → 60d").waitFor();
  await page.keyboard.press("Enter");
  await page.getByText("ui-keys is saved").waitFor();
  expect((await policy("ui-keys"))!.spec.retention.error).toBe("60d");
  await remove("ui-keys");
});

it.each([
  ["light", 1440],
  ["dark", 390],
] as const)("keeps the rules of accessibility in the %s theme, %i pixels wide", async (colorScheme, width) => {
  const name = `ui-axe-${colorScheme}`;
  await put(name, { match: { services: [`policies-${colorScheme}`] }, legalHold: true });
  const page = await visit("/policies", { colorScheme, viewport: { width, height: 900 } });
  await card(page, name).getByText("Legal hold", { exact: true }).waitFor();
  await accessible(page);
  expect(await page.evaluate(() => document.querySelector("main")!.scrollWidth <= innerWidth)).toBe(true);
  await card(page, name).getByRole("link", { name: "Change" }).click();
  await page.getByLabel("INFO, and lines").fill("1d");
  await page.getByText("7d → 1d").first().waitFor();
  await accessible(page);
  expect(await page.evaluate(() => document.querySelector("main")!.scrollWidth <= innerWidth)).toBe(true);
  await remove(name);
});

it("can be saved once the gateway is back, whether it was away for what it would do or for the saving", async () => {
  await put("ui-away", { match: { services: ["policies-away"] } });
  const page = await visit("/policies?edit=ui-away", { expected: /503|ERR_FAILED/, before: (page) => page.route("**/retention/ui-away?preview=true", (route) => route.fulfill({ status: 503, body: "" })) });
  await page.getByText("The answer was 503").waitFor();
  await page.unroute("**/retention/ui-away?preview=true");
  await page.getByText("Nothing is changed yet").waitFor();
  await page.getByLabel("DEBUG and TRACE").fill("36h");
  const enabled = () => until(() => save(page).isDisabled(), (disabled) => !disabled, "that it can be saved");
  await enabled();
  const saving = (route: import("playwright-core").Route) => (route.request().method() === "PUT" ? route.abort() : route.continue());
  await page.route("**/retention/ui-away", saving);
  await save(page).click();
  await page.getByText("The gateway does not answer").waitFor();
  await page.unroute("**/retention/ui-away", saving);
  await enabled();
  await save(page).click();
  await page.getByText("ui-away is saved").waitFor();
  expect((await policy("ui-away"))?.spec.retention.debug).toBe("36h");
  await remove("ui-away");
});

it("does not come back with a question that somebody closed", async () => {
  await put("ui-closed", { match: { services: ["policies-closed"] } });
  let go = () => {};
  const wait = new Promise<void>((resolve) => (go = resolve));
  const page = await visit("/policies", {
    before: (page) =>
      page.route("**/retention/ui-closed?preview=true", async (route) => {
        await wait;
        await route.continue();
      }),
  });
  await card(page, "ui-closed").getByRole("button", { name: /Delete/ }).click();
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  const answered = page.waitForResponse(/ui-closed\?preview=true/);
  go();
  await (await answered).finished();
  // What the answer would do, it has done when the page is drawn twice.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  expect(await page.getByRole("dialog").count()).toBe(0);
  await remove("ui-closed");
});
