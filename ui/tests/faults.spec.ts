// What goes wrong around the page: a browser that keeps nothing or nonsense, a network that loses a file or an answer. The page says so, and goes on by itself.
import { expect, it } from "vitest";
import { address, log, messages, records, stored, until, visit, type Page } from "./harness.ts";

const hasMessage = (page: Page, text: string) => until(() => messages(page), (shown) => shown.includes(text), text);
const LOST = /503|ERR_FAILED|preload|dynamically imported/;
const away = { status: 503, contentType: "application/problem+json", body: JSON.stringify({ type: "urn:cordwood:problem:database", title: "The database is away", status: 503, detail: "connection refused" }) };

/** A service with lines of its own. */
async function lines(service: string, count = 3): Promise<string> {
  await log(service, records(service, count));
  await stored(`service=${service}`, count);
  return `/?q=service=${service}`;
}

it("shows everything in a browser that keeps nothing", async () => {
  const denied = () => {
    for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, { get: () => { throw new DOMException("denied", "SecurityError"); } });
  };
  const page = await visit(await lines("keeps-nothing"), { before: (page) => page.addInitScript(denied) });
  await hasMessage(page, "line 2");
  await page.getByRole("button", { name: /^Theme/ }).click();
  await page.getByRole("button", { name: "Saved searches" }).click();
  await page.getByLabel("Name of the search").fill("for now");
  await page.keyboard.press("Enter");
  await page.getByRole("list", { name: "Saved" }).getByText("for now").waitFor();
});

it.each(["{{{", "null", "5", '"text"', '{"a":1}', '[null,1,{"name":5},["x"]]'])("reads over what it cannot have kept itself: %s", async (text) => {
  const nonsense = (text: string) => {
    for (const name of ["searches", "history", "columns", "wrap", "zone", "theme", "facets"]) localStorage.setItem(`cordwood.${name}`, text);
  };
  const page = await visit(await lines("nonsense"), { before: (page) => page.addInitScript(nonsense, text) });
  await hasMessage(page, "line 2");
  await page.keyboard.press("Control+k");
  await page.getByRole("option", { name: /^Errors/ }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Saved searches" }).click();
  await page.getByLabel("Name of the search").fill("mine");
  await page.keyboard.press("Enter");
  await page.getByRole("list", { name: "Saved" }).getByText("mine").waitFor();
});

it("keeps the searches of all tabs", async () => {
  const one = await visit(await lines("two-tabs"));
  const other = await one.context().newPage();
  await other.goto(`${address()}/?q=service=two-tabs`);
  for (const [page, name] of [[one, "of the first tab"], [other, "of the second"]] as const) {
    await page.getByRole("button", { name: "Saved searches" }).click();
    await page.getByLabel("Name of the search").fill(name);
    // The other tab has heard of it.
    await page.keyboard.press("Enter");
    await page.getByRole("list", { name: "Saved" }).getByText(name).waitFor();
    if (page === one) await until(() => other.evaluate(() => localStorage.getItem("cordwood.searches")), (kept) => kept?.includes("first tab") ?? false);
  }
  const both = other.getByRole("list", { name: "Saved" });
  await both.getByText("of the first tab").waitFor();
  expect(await one.evaluate(() => localStorage.getItem("cordwood.searches"))).toMatch(/first tab.*of the second/);
});

it("offers what somebody administers also where the first question was lost", async () => {
  let asked = 0;
  const page = await visit("/errors", { expected: LOST, before: (page) => page.route("**/api/whoami", (route) => (asked++ === 0 ? route.fulfill(away) : route.continue())) });
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Policies" }).click();
  await page.getByRole("heading", { name: "Policies" }).waitFor();
});

it("loads a view once the gateway is back", async () => {
  const page = await visit(await lines("lost-view"), { expected: LOST });
  await hasMessage(page, "line 2");
  await page.route(/assets\/Levels-/, (route) => route.abort());
  await page.getByRole("link", { name: "Levels" }).click();
  await page.getByText("This view could not be loaded").waitFor();
  await page.unroute(/assets\/Levels-/);
  await page.getByRole("heading", { name: "Levels", level: 1 }).waitFor();
  // Its stylesheet too, which nothing asks for twice.
  await until(() => page.locator(".both").first().evaluate((node) => getComputedStyle(node).display), (display) => display === "grid", "the styles");
});

it("closes a part of the page that could not be loaded, and opens it later", async () => {
  const page = await visit(await lines("lost-part"), { expected: LOST });
  await hasMessage(page, "line 2");
  await page.route(/assets\/(Palette|Detail)-/, (route) => route.abort());
  await page.keyboard.press("Control+k");
  await page.getByText("could not be loaded").waitFor();
  // Keys go where they are meant to go.
  await page.getByRole("button", { name: "Saved searches" }).click();
  await page.getByLabel("Name of the search").click();
  await page.keyboard.type("abc");
  expect(await page.getByLabel("Name of the search").inputValue()).toBe("abc");
  await page.keyboard.press("Escape");
  await page.locator("[data-id]").first().click();
  await until(() => page.url(), (url) => !url.includes("record="), "the record to be closed");
  await page.unroute(/assets\/(Palette|Detail)-/);
  await page.locator("[data-id]").first().click();
  await page.getByTestId("detail").getByText("line 0").waitFor();
  await page.keyboard.press("Control+k");
  await page.getByRole("option", { name: /^Errors/ }).waitFor();
});

it("does not say that there is no record where it could not find out", async () => {
  const questions = (address: URL) => address.pathname === "/api/platform/logs" && address.searchParams.get("limit") === "1";
  const page = await visit("/?q=service=nobody-knows", { expected: LOST, before: (page) => page.route(questions, (route) => route.fulfill(away)) });
  await page.getByText("Why there is none could not be found out").waitFor();
  expect(await page.getByText("There is no such record").count()).toBe(0);
  await page.unroute(questions);
  await page.getByText(/There is no such record|No record matches/).waitFor();
});

it("says of a list that was cleared that it was, and takes nothing of it into another search", async () => {
  const page = await visit(await lines("faults-cleared"));
  await hasMessage(page, "line 2");
  await page.getByRole("button", { name: "Clear", exact: true }).click();
  await page.getByText("What was shown is cleared").waitFor();
  await page.getByRole("button", { name: "Show it again" }).click();
  await hasMessage(page, "line 2");
  await page.getByRole("button", { name: "Clear", exact: true }).click();
  await lines("not-cleared", 2);
  await page.evaluate(() => history.pushState(null, "", "/?q=service=not-cleared"));
  await page.evaluate(() => dispatchEvent(new PopStateEvent("popstate")));
  await hasMessage(page, "line 1");
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByRole("button", { name: "Undo" }).waitFor({ state: "detached" });
  expect((await messages(page)).sort()).toEqual(["line 0", "line 1"]);
});

it("keeps a list cleared when more comes: nothing of before stands beside it, with a hole between", async () => {
  const COUNT = 450;
  const page = await visit(await lines("cleared-live", COUNT));
  await hasMessage(page, `line ${COUNT - 1}`);
  await page.getByTestId("live").filter({ hasText: "Live" }).waitFor();
  await page.getByRole("button", { name: "Clear", exact: true }).click();
  await page.getByText("What was shown is cleared").waitFor();
  const asked: string[] = [];
  page.on("request", (request) => /logs\?.*after=/.test(request.url()) && asked.push(request.url()));
  await log("cleared-live", records("cleared-live", 2, (n) => ({ msg: `after ${n}` })));
  await hasMessage(page, "after 1");
  await page.mouse.move(700, 500);
  await page.mouse.wheel(0, -500);
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  expect(await messages(page)).toEqual(["after 0", "after 1"]);
  expect(asked).toEqual([]);
});

it("copies a link also where the address has no time", async () => {
  const page = await visit(`${await lines("no-time")}&from=garbage`, { expected: /400/, permissions: ["clipboard-read", "clipboard-write"] });
  await page.getByText('"garbage" is no time').waitFor();
  await page.getByRole("button", { name: "Copy a link" }).click();
  await page.getByText("Copied: a link to what is shown").waitFor();
});

it("asks for a record again that could not be had", async () => {
  const path = await lines("later");
  const { id } = (await stored("service=later", 3))[0]!;
  const one = new RegExp(`/logs/${id.replace(/\./g, "\\.")}$`);
  const page = await visit(`${path.replace("later", "other")}&record=${id}`, { expected: LOST, before: (page) => page.route(one, (route) => route.fulfill(away)) });
  const detail = page.getByTestId("detail");
  await detail.getByText("connection refused").waitFor();
  await page.unroute(one);
  await detail.getByText(/^line \d$/).waitFor();
});

it("says of an export that was cut off how much there is, and counts no records", async () => {
  const page = await visit(await lines("cut-off"));
  await hasMessage(page, "line 2");
  await page.route("**/api/platform/logs?*", (route) => (route.request().headers().accept?.includes("ndjson") ? route.fulfill({ body: '{"id":"1"}\n{"id":' }) : route.continue()));
  await page.getByRole("button", { name: "Export" }).click();
  await page.getByRole("button", { name: "JSON lines" }).click();
  await page.getByText("17 B: not all are there").waitFor();
  expect(await page.getByText("0 records").count()).toBe(0);
});

it("watches on in the monitor once its filter could be asked about", async () => {
  await lines("watched", 1);
  const asked = "**/api/platform/logs?*";
  const page = await visit("/monitor?system=service=watched", { expected: LOST, before: (page) => page.route(asked, (route) => route.fulfill(away)) });
  const system = page.getByRole("region", { name: "System" });
  await system.getByText("connection refused").waitFor();
  await page.unroute(asked);
  await system.getByText("live", { exact: true }).waitFor();
  await log("watched", records("watched", 1, () => ({ msg: "seen again" })));
  await system.getByText("seen again").waitFor();
});
