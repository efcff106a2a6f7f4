// The log view where it goes wrong or long: a reader who is too slow, an export that is given up, a gateway that restarts, a line of a megabyte.
import { afterAll, beforeAll, expect, it } from "vitest";
import { address, log, messages, records, standalone, stored, until, visit, write, type Page } from "./harness.ts";

const hasMessage = (page: Page, text: string) => until(() => messages(page), (shown) => shown.includes(text), text);

let own: Awaited<ReturnType<typeof standalone>>;
beforeAll(async () => {
  own = await standalone();
});
afterAll(() => own?.stop());

it("23: before the first line it says what to do next, and notices it by itself", async () => {
  const page = await visit("/", { at: own.address });
  await page.getByText("No records yet").waitFor();
  await write(own.folder, "first", records("first", 1));
  await hasMessage(page, "line 0");
});

it("comes back to a gateway that restarts, with what was written meanwhile, each once", async () => {
  await write(own.folder, "restart", records("restart", 5, (n) => ({ msg: `before ${n}` })));
  await stored("service=restart", 5, own.address);
  const page = await visit("/?q=service=restart", { at: own.address, expected: /^$|ERR_|WebSocket|50\d/ });
  await page.getByTestId("live").filter({ hasText: "Live" }).waitFor();
  await own.restart(async () => {
    await page.getByText("Reconnecting").waitFor();
    await write(own.folder, "restart", records("restart", 5, (n) => ({ msg: `meanwhile ${n}` })));
  });
  await page.getByTestId("live").filter({ hasText: "Live" }).waitFor();
  await write(own.folder, "restart", records("restart", 5, (n) => ({ msg: `after ${n}` })));
  await hasMessage(page, "after 4");
  await until(() => messages(page), ({ length }) => length >= 15);
  expect(await messages(page)).toEqual(["before", "meanwhile", "after"].flatMap((when) => [0, 1, 2, 3, 4].map((n) => `${when} ${n}`)));
});

it("3: counts what a slow reader did not take, and shows it on demand", async () => {
  // More than the page holds, the gateway holds for it, and one question brings back.
  const COUNT = 16_000;
  await log("slow", records("slow", 1, () => ({ msg: "the first" })));
  await stored("service=slow", 1);
  const page = await visit("/?q=service=slow&facets=0");
  await hasMessage(page, "the first");
  await page.getByTestId("live").filter({ hasText: "Live" }).waitFor();
  await page.locator(".scroller").first().focus();
  await page.keyboard.press("Space");
  // Of one time, so that each gap stands at the end, in sight.
  const time = new Date().toISOString();
  await log("slow", records("slow", COUNT, () => ({ time })));
  const counted = async () => ((await (await fetch(`${address()}/api/platform/logs/histogram?filter=service%3Dslow&from=-1h`)).json()) as { records: number }).records;
  await until(counted, (records) => records === COUNT + 1, "all to be stored");
  await page.getByTestId("resume").filter({ hasText: /new/ }).waitFor();
  await page.keyboard.press("Space");
  const gaps = page.locator(".gap");
  const told = async () => (await gaps.allInnerTexts()).map((text) => Number(/^([\d,]+) records? not shown: they came too fast/.exec(text)?.[1]?.replace(/,/g, "")));
  const place = async () => Number(await page.locator("[data-id]").last().getAttribute("aria-posinset"));
  await gaps.first().waitFor();
  expect((await told()).every((count) => count > 0)).toBe(true);
  for (let asked = 0; asked < 16 && (await gaps.count()) > 0; asked += 1) {
    // Of gaps that overlap, one answer may fill a part of another: either its count changes or there are more records.
    const shown = async () => [...(await told()), await place()].join();
    const before = await shown();
    await page.getByRole("button", { name: "Show them" }).last().click();
    await until(shown, (now) => now !== before, "an answer");
    await page.keyboard.press("G");
  }
  await until(place, (at) => at === COUNT + 1, "all of them");
  expect(await gaps.count()).toBe(0);
});

it("15: an export that is given up ends, here and at the gateway", async () => {
  await log("given-up", records("given-up", 20_000, (n) => ({ msg: `${n} ${"long ".repeat(100)}` })));
  const counted = async () => ((await (await fetch(`${address()}/api/platform/logs/histogram?filter=service%3Dgiven-up&from=-1h`)).json()) as { records: number }).records;
  await until(counted, (records) => records === 20_000, "all to be stored");
  const page = await visit("/?q=service=given-up&facets=0", { expected: /ERR_/ });
  await page.locator("[data-id]").first().waitFor();
  const line = await page.context().newCDPSession(page);
  await line.send("Network.enable");
  await line.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: 200_000, uploadThroughput: -1 });
  let downloads = 0;
  page.on("download", () => (downloads += 1));
  await page.getByRole("button", { name: "Export", exact: true }).click();
  const ended = page.waitForEvent("requestfailed", (request) => request.headers().accept === "application/x-ndjson");
  await page.getByRole("button", { name: "JSON lines" }).click();
  await page.getByText(/B so far/).waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  expect((await ended).failure()!.errorText).toBe("net::ERR_ABORTED");
  await until(() => page.getByRole("button", { name: "JSON lines" }).isEnabled(), (on) => on);
  expect([downloads, await page.getByText(/so far/).count()]).toEqual([0, 0]);
});

it("11: a line of a megabyte is cut, and shown on demand, and moves nothing", async () => {
  await log("megabyte", [{ time: new Date().toISOString(), level: "info", service: "megabyte", msg: `${"mega ".repeat(200_000)}end of it` }]);
  await log("megabyte", records("megabyte", 3));
  await stored("service=megabyte", 4);
  const page = await visit("/?q=service=megabyte&wrap=1");
  await hasMessage(page, "line 2");
  const row = page.locator("[data-id]", { hasText: "mega mega" });
  expect((await row.innerText()).length).toBeLessThan(5000);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(1440);
  await row.getByRole("button", { name: /show [\d.,]+ [KM]B/ }).click();
  await until(() => row.innerText(), (text) => text.length > 200_000);
  await row.locator(".time").click();
  await page.getByTestId("detail").getByText("mega mega").first().waitFor();
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(1440);
  await page.keyboard.press("Escape");
  await hasMessage(page, "line 2");
});

it("5: the context of a record that is gone says so, and leads back", async () => {
  await log("gone-context", records("gone-context", 3));
  await stored("service=gone-context", 3);
  const page = await visit("/?q=service=gone-context&context=1000000.0-0-0", { expected: /404/ });
  await page.getByText("This record is gone, or not yours to see").waitFor();
  await page.getByRole("button", { name: "Back to the results" }).click();
  await hasMessage(page, "line 2");
});

it("21: a search that was saved is forgotten", async () => {
  const page = await visit("/?q=service=forgotten");
  const saved = page.getByRole("list", { name: "Saved" });
  await page.getByRole("button", { name: "Saved searches" }).click();
  for (const name of ["one", "two"]) {
    await page.getByRole("textbox", { name: "Name of the search" }).fill(name);
    await page.keyboard.press("Enter");
    await saved.getByRole("button", { name, exact: true }).waitFor();
  }
  await saved.getByRole("button", { name: "Forget one" }).click();
  await until(() => saved.getByRole("listitem").count(), (count) => count === 1);
  await page.reload();
  await page.getByRole("button", { name: "Saved searches" }).click();
  await saved.getByRole("button", { name: "two", exact: true }).waitFor();
  expect(await saved.getByRole("button", { name: "one", exact: true }).count()).toBe(0);
});

it("20: the sheet names the key of the commands", async () => {
  const page = await visit("/?q=service=sheet");
  await page.getByRole("button", { name: "Keys" }).click();
  await page.getByRole("dialog", { name: "Keys" }).getByText("Ctrl-K").waitFor();
});

it("23: what has gone with its retention is told by the policies", async () => {
  const page = await visit("/?q=service=long-gone&from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z", { at: own.address });
  await page.getByText("What was there has gone with its retention").waitFor();
  await page.getByText(/Nothing is kept for longer than \d+d: ERROR, by the policy/).waitFor();
  await page.getByRole("link", { name: "The policies" }).click();
  await page.getByRole("heading", { name: "Policies" }).waitFor();
});

it.each([
  ["/?q=service=away", "**/api/platform/logs?*", "line 2"],
  ["/errors?service=away", "**/api/platform/logs/aggregates?*", "away and back"],
])("asks again by itself at %s once the gateway can answer", async (path, asked, shown) => {
  await log("away", [...records("away", 3), ...records("away", 1, () => ({ level: "error", msg: "away and back" }))]);
  await stored("service=away", 4);
  const away = { type: "urn:cordwood:problem:database", title: "The database is away", status: 503, detail: "connection refused" };
  const page = await visit(path, {
    before: (page) => page.route(asked, (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify(away) })),
    expected: /503/,
  });
  await page.getByRole("alert").getByText("connection refused").waitFor();
  await page.unroute(asked);
  await page.getByText(shown, { exact: true }).first().waitFor();
  await page.getByRole("alert").waitFor({ state: "detached" });
});
