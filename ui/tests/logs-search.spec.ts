// What the log view looks for, and how: counts over time, facets, the query box, the address, details, columns, find, export, times, keys, empty states.
import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { address, log, messages, records, stored, until, visit, type Page } from "./harness.ts";

const hasMessage = (page: Page, text: string) => until(() => messages(page), (shown) => shown.includes(text), text);
const asked = (page: Page, name: string) => new URL(page.url()).searchParams.get(name) ?? "";
const editor = (page: Page) => page.getByRole("textbox", { name: "Filter" });

describe("7: the counts over time", () => {
  it("zoom by dragging, and Back undoes it", async () => {
    await log("zoom", records("zoom", 40, (n) => ({ time: new Date(Date.now() - 50 * 60_000 + n * 60_000).toISOString() })));
    await stored("service=zoom", 40);
    const page = await visit("/?q=service=zoom");
    await hasMessage(page, "line 39");
    await page.getByTestId("histogram").getByText("40 records").first().waitFor();
    const box = (await page.getByTestId("histogram").getByRole("img").boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.2, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.5, box.y + 20, { steps: 5 });
    await page.mouse.up();
    await until(() => asked(page, "from"), (from) => from !== "");
    await until(() => messages(page), (shown) => shown.length > 5 && shown.length < 30, "a part");
    await page.goBack();
    await until(() => messages(page), (shown) => shown.length === 40, "all");
  });

  it("say under the pointer what a stretch of time holds", async () => {
    await log("hovered", records("hovered", 12, (n) => ({ level: n < 5 ? "warn" : "info", time: new Date(Date.now() - 30 * 60_000).toISOString() })));
    await stored("service=hovered", 12);
    await log("hovered", records("hovered", 3));
    await stored("service=hovered", 15);
    const page = await visit("/?q=service=hovered");
    const histogram = page.getByTestId("histogram");
    await histogram.getByText("15 records").first().waitFor();
    // Counted again every few seconds, the bars move: the pointer goes after them.
    const said = async () => {
      await histogram.locator("rect.warn").first().hover();
      return [await histogram.locator(".sum").innerText(), ...(await histogram.getByRole("button").allInnerTexts())].join(" ").replace(/\s+/g, " ");
    };
    await until(said, (text) => /^\d\d:\d\d:\d\d – \d\d:\d\d:\d\d · 12 records ERROR 0 WARN 5 INFO 7 /.test(text), "what the bar holds");
  });

  it("filter by a click on a level, and have an error of their own", async () => {
    await log("bylevel", records("bylevel", 20, (n) => ({ level: n % 4 ? "info" : "warn" })));
    await stored("service=bylevel", 20);
    const page = await visit("/?q=service=bylevel", { expected: /503/ });
    await page.getByTestId("histogram").getByRole("button", { name: /WARN/ }).click();
    await until(() => messages(page), (shown) => shown.length === 5);
    expect(asked(page, "q")).toBe("service=bylevel level=warn");
    await page.route("**/histogram?*", (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ type: "x", title: "Away", status: 503, detail: "PostgreSQL is away" }) }));
    await page.getByTestId("histogram").getByRole("button", { name: /WARN/ }).click();
    await page.getByTestId("histogram").getByText("PostgreSQL is away").waitFor();
    await until(() => messages(page), (shown) => shown.length === 20);
  });
});

it("8: facets include, exclude, show one alone, and what is missing", async () => {
  const services = ["facet-a", "facet-b", "facet-c"];
  await log("facets", records("x", 30, (n) => ({ service: services[n % 3]!, msg: `facets line ${n}`, ...(n < 10 ? { source: "plugin" } : {}) })));
  await stored("facets", 30);
  const page = await visit("/?q=facets");
  const facets = page.getByTestId("facets");
  await facets.getByRole("button", { name: "facet-a 10" }).click();
  await until(() => asked(page, "q"), (q) => q === "facets service=facet-a");
  await until(() => messages(page), (shown) => shown.length === 10);
  await page.goBack();
  await facets.getByRole("button", { name: "facet-b 10" }).hover();
  await facets.getByRole("button", { name: "Without facet-b" }).click();
  await until(() => messages(page), (shown) => shown.length === 20);
  expect(asked(page, "q")).toBe("facets service!=facet-b");
  await facets.getByRole("region", { name: "source" }).getByRole("button", { name: /missing/ }).click();
  await until(() => asked(page, "q"), (q) => q === "facets service!=facet-b source NOT EXISTS");
  await page.goto(`${address()}/?q=facets`);
  await facets.getByRole("button", { name: "facet-c 10" }).hover();
  await facets.getByRole("button", { name: "Only facet-c" }).click();
  await until(() => asked(page, "q"), (q) => q === "facets service=facet-c");
});

it("8: facets follow what comes", async () => {
  await log("facets-live", records("facets-live", 3));
  await stored("service=facets-live", 3);
  const page = await visit("/?q=service=facets-live");
  const facets = page.getByTestId("facets");
  await facets.getByRole("button", { name: "facets-live 3" }).waitFor();
  await log("facets-live", records("facets-live", 2));
  await facets.getByRole("button", { name: "facets-live 5" }).waitFor();
});

it("8: counts are “at least” where the count is not at its end", async () => {
  const facets = { facets: { service: { values: [{ value: "checkout", count: 3 }], others: 0, missing: 0 } }, records: 3, complete: false };
  const page = await visit("/?q=service=nobody-counts", {
    before: (page) => page.route("**/facets?*", (route) => route.fulfill({ contentType: "application/json", body: JSON.stringify(facets) })),
  });
  await page.getByTestId("facets").getByText("≥3").waitFor();
  await page.getByTestId("facets").getByText("Counts are “at least”").waitFor();
});

describe("9: the query box", () => {
  it("completes fields and values", async () => {
    await log("complete", records("completion-one", 3));
    await stored("service=completion-one", 3);
    const page = await visit("/?q=nothing-like-this");
    await page.locator("[data-editor].ready").waitFor();
    await editor(page).click();
    await page.keyboard.press("ControlOrMeta+a");
    await page.keyboard.type("serv");
    await page.getByRole("option", { name: /^service/ }).click();
    await page.keyboard.type("=completion-o");
    await page.getByRole("option", { name: /completion-one/ }).click();
    await page.keyboard.press("Enter");
    await until(() => asked(page, "q"), (q) => q.trim() === "service=completion-one");
    await hasMessage(page, "line 2");
  });

  it("underlines a mistake at its place, and keeps the last results", async () => {
    await log("mistake", records("mistake", 7));
    await stored("service=mistake", 7);
    const page = await visit("/?q=service=mistake", { expected: /400/ });
    await hasMessage(page, "line 6");
    await editor(page).click();
    await page.keyboard.press("End");
    await page.keyboard.type(" level>=wran");
    await page.keyboard.press("Escape");
    await editor(page).click();
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText('"wran" is not a level').waitFor();
    await until(() => page.locator(".q-mistake").allInnerTexts(), (marked) => marked.join() === "wran", "the mark of the mistake");
    expect(await messages(page)).toHaveLength(7);
  });

  it("leads on from a link whose filter is wrong", async () => {
    await log("mended", records("mended", 2));
    await stored("service=mended", 2);
    const page = await visit("/?q=service=mended+level>=wran", { expected: /400/ });
    await page.getByText("Nothing was searched for").waitFor();
    await page.locator("[data-editor].ready").waitFor();
    await page.getByRole("button", { name: "Edit the filter" }).click();
    await page.keyboard.press("End");
    for (const _ of " level>=wran") await page.keyboard.press("Backspace");
    await page.keyboard.press("Escape");
    await editor(page).click();
    await page.keyboard.press("Enter");
    await hasMessage(page, "line 1");
  });
});

it("10: everything is in the address, and Back works", async () => {
  await log("address", records("addressed", 9));
  await stored("service=addressed", 9);
  const page = await visit("/?q=service=addressed");
  await page.locator("[data-id]", { hasText: "line 4" }).click();
  await page.getByTestId("detail").waitFor();
  const link = page.url();
  await page.goBack();
  await page.getByTestId("detail").waitFor({ state: "detached" });
  const other = await visit(link.replace(address(), ""));
  await other.getByTestId("detail").getByText("line 4").first().waitFor();
});

it("12: a record's detail is a tree to filter and copy by; j and k move with it open", async () => {
  await log("detail", records("detailed", 9, (n) => ({ cart: { number: n % 3, owner: "Eve" }, err: n === 4 ? { type: "Timeout", stack: "Error: x\n    at here (a.ts:1:2)\n    at there" } : undefined })));
  await stored("service=detailed", 9);
  const page = await visit("/?q=service=detailed");
  await page.locator("[data-id]", { hasText: "line 4" }).click();
  const detail = page.getByTestId("detail");
  await detail.getByText("at here (a.ts:1:2)").waitFor();
  expect(await detail.locator(".stack").innerText()).toContain("\n    at there");
  await page.keyboard.press("j");
  await detail.getByText("line 5").first().waitFor();
  await page.keyboard.press("k");
  await page.keyboard.press("k");
  await detail.getByText("line 3").first().waitFor();
  await detail.getByText("Eve", { exact: true }).hover();
  await detail.getByRole("button", { name: "Only with this number" }).focus();
  await page.keyboard.press("Enter");
  await until(() => asked(page, "q"), (q) => q === "service=detailed data.cart.number=0");
  await until(() => messages(page), (shown) => shown.length === 3);
});

it("13: columns are chosen, moved and sized, and stay", async () => {
  await log("columns", records("columned", 4, (n) => ({ orderId: 4700 + n })));
  await stored("service=columned", 4);
  const page = await visit("/?q=service=columned");
  await hasMessage(page, "line 3");
  await page.getByRole("button", { name: "Columns" }).click();
  await page.getByRole("textbox", { name: "Field of a new column" }).fill("data.orderId");
  await page.keyboard.press("Enter");
  await page.locator("[data-id] .column", { hasText: "4703" }).waitFor();
  await page.getByRole("button", { name: "data.orderId further left" }).click();
  await until(() => asked(page, "cols"), (cols) => cols === "data.orderId:140,service:124");
  await page.keyboard.press("Escape");
  await page.getByRole("separator", { name: "Width of data.orderId" }).focus();
  await page.keyboard.press("ArrowRight");
  await until(() => asked(page, "cols"), (cols) => cols === "data.orderId:150,service:124");
  await page.goto(`${address()}/?q=service=columned`);
  await page.locator("[data-id] .column", { hasText: "4703" }).waitFor();
});

it("14: find in view marks and hides nothing", async () => {
  await log("find", records("finding", 60, (n) => ({ msg: n % 20 === 5 ? `needle ${n}` : `hay ${n}` })));
  await stored("service=finding", 60);
  const page = await visit("/?q=service=finding");
  await hasMessage(page, "hay 59");
  await page.keyboard.press("f");
  await page.getByRole("textbox", { name: "Find in view" }).fill("NEEDLE");
  await page.getByText("1 of 3").waitFor();
  await page.keyboard.press("Enter");
  await page.getByText("2 of 3").waitFor();
  await page.locator(".selected", { hasText: "needle 25" }).locator("mark").waitFor();
  await page.locator(".scroller").first().focus();
  await page.keyboard.press("n");
  await page.getByText("3 of 3").waitFor();
  await page.keyboard.press("Shift+N");
  await page.getByText("2 of 3").waitFor();
  await until(() => messages(page), (shown) => shown.includes("hay 26"), "what was not found, beside it");
});

it("15: the whole result is exported", async () => {
  await log("export", records("exported", 450));
  await stored("service=exported", 450);
  const page = await visit("/?q=service=exported");
  await page.getByRole("button", { name: "Export", exact: true }).click();
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "JSON lines" }).click();
  const file = join(tmpdir(), `cordwood-export-${process.pid}.ndjson`);
  await (await download).saveAs(file);
  const lines = (await readFile(file, "utf8")).trim().split("\n");
  await rm(file);
  expect(lines).toHaveLength(451);
  expect(JSON.parse(lines.at(-1)!)).toEqual({ end: { complete: true, records: 450 } });
  await page.getByText(/^450 records, /).waitFor();
});

it("16: times are of UTC or local, and one can jump to a time", async () => {
  const day = new Date(Date.now() - 3 * 3600_000);
  await log("times", records("timed", 400, (n) => ({ time: new Date(day.getTime() + n * 1000).toISOString() })));
  await stored("service=timed", 400);
  const page = await visit("/?q=service=timed&tz=utc");
  await hasMessage(page, "line 399");
  await page.keyboard.press("g");
  await page.keyboard.press("t");
  const at = new Date(day.getTime() + 100_000).toISOString();
  await page.getByRole("textbox", { name: "Jump to" }).fill(at.slice(0, 19).replace("T", " "));
  await page.keyboard.press("Enter");
  await until(() => messages(page), (shown) => shown.includes("line 100") || shown.includes("line 101"), "the time's records");
  const time = page.locator("[data-id]", { hasText: "line 101" }).locator(".time");
  const utc = new Date(day.getTime() + 101_000).toISOString().slice(11, 19);
  // Behind the day, where three hours ago was yesterday.
  const shown = async () => /\d\d:\d\d:\d\d/.exec(await time.innerText())![0];
  expect(await shown()).toBe(utc);
  await page.getByRole("button", { name: /^Range/ }).click();
  await page.getByRole("button", { name: "Local (UTC+01:00)" }).or(page.getByRole("button", { name: "Local (UTC+02:00)" })).click();
  await until(shown, (text) => text !== utc);
});

it("16: a list that goes back to another day says the day with each time", async () => {
  const before = new Date(Date.now() - 50 * 3600_000);
  await log("days", records("days", 3, (n) => (n < 2 ? { time: new Date(before.getTime() + n).toISOString() } : {})));
  await stored("service=days", 3);
  const page = await visit("/?q=service=days&tz=utc");
  await hasMessage(page, "line 2");
  const times = await page.locator("[data-id] .time").allInnerTexts();
  expect(times[0]).toBe(before.toISOString().slice(5, 23).replace("T", " "));
  expect(times.every((text) => /^\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$/.test(text))).toBe(true);
  expect(await page.locator("[data-id] .time").evaluateAll((cells) => cells.every((cell) => cell.scrollWidth <= cell.clientWidth))).toBe(true);
});

it("17: a line, its JSON and the question for a shell are copied", async () => {
  await log("copy", records("copied", 2));
  await stored("service=copied", 2);
  const page = await visit("/?q=service=copied", { permissions: ["clipboard-read", "clipboard-write"] });
  await page.locator("[data-id]", { hasText: "line 1" }).click();
  const clip = () => page.evaluate(() => navigator.clipboard.readText());
  const copied = async (name: string, expected: (text: string) => boolean) => {
    await page.getByTestId("detail").getByRole("button", { name, exact: true }).click();
    await until(clip, expected, name);
  };
  await copied("Line", (text) => text === "line 1");
  await copied("JSON", (text) => text.startsWith("{") && JSON.parse(text).message === "line 1");
  await copied("curl", (text) => text === `curl -sG ${address()}/api/platform/logs --data-urlencode filter=service=copied`);
  await copied("cordwood", (text) => text === "cordwood query -- service=copied");
});

it("20: everything goes by the keyboard", async () => {
  await log("keys", records("keyed", 30, (n) => ({ msg: `walked over ${n}` })));
  await stored("service=keyed", 30);
  const page = await visit("/?q=service=keyed");
  await hasMessage(page, "walked over 29");
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog", { name: "Keys" }).waitFor({ state: "detached" });
  await page.keyboard.press("k");
  await page.keyboard.press("k");
  await page.keyboard.press("Enter");
  await page.getByTestId("detail").getByText("walked over 28").first().waitFor();
  await page.keyboard.press("c");
  await page.getByTestId("context").waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await page.getByTestId("context").waitFor({ state: "detached" });
  await page.keyboard.press("/");
  await until(() => editor(page).evaluate((node) => node === (node.getRootNode() as ShadowRoot).activeElement), (is) => is);
  await page.keyboard.press("Escape");
  await page.keyboard.press("x");
  await until(() => asked(page, "q"), (q) => q === 'service=keyed -"walked over"');
});

it("21: searches are saved, and the last ones are known", async () => {
  await log("saved", records("saved-one", 3));
  await stored("service=saved-one", 3);
  const page = await visit("/?q=service=saved-one");
  await page.getByRole("button", { name: "Saved searches" }).click();
  await page.getByRole("textbox", { name: "Name of the search" }).fill("mine");
  await page.keyboard.press("Enter");
  await page.goto(`${address()}/?q=service=nobody-at-all`);
  await page.getByRole("button", { name: "Saved searches" }).click();
  await page.getByRole("list", { name: "Saved" }).getByRole("button", { name: "mine", exact: true }).click();
  await hasMessage(page, "line 2");
});

describe("23: nothing says why", () => {
  it("while a search is not at its end, and goes on when it is wanted", async () => {
    const page = await visit("/?q=service=nobody-budgeted", {
      before: (page) =>
        page.route("**/api/platform/logs?*", (route) => {
          if (new URL(route.request().url()).searchParams.has("after")) return route.abort();
          const body = { items: [], complete: false, next: "1795240802500000.0-0-2", searchedBackTo: "2026-11-21T06:00:02.500000Z" };
          return route.fulfill({ contentType: "application/json", body: JSON.stringify(body) });
        }),
      expected: /ERR_FAILED/,
    });
    await page.getByText("Searched back to 2026-11-21 07:00:02").waitFor();
    await page.getByRole("button", { name: "Search further back" }).waitFor();
    await page.unroute("**/api/platform/logs?*");
  });

  it("by the filter, and the range, with the way out", async () => {
    const long = new Date(Date.now() - 5 * 3600_000).toISOString();
    await log("empty", records("emptied", 3, () => ({ time: long })));
    await stored("service=emptied", 3);
    const page = await visit("/?q=service=emptied+nonsense");
    await page.getByText("No record matches the filter").waitFor();
    await page.goto(`${address()}/?q=service=emptied&from=-5m`);
    await page.getByText(/Nothing in this range|No record matches the filter/).waitFor();
    await page.getByRole("button", { name: /Go there|Show the newest older match/ }).click();
    await hasMessage(page, "line 2");
  });
});
