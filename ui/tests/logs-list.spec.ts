// The list of the log view: paging, following, gaps, one filter, permalinks, long and hostile lines.
import { describe, expect, it } from "vitest";
import { accessible, address, log, messages, records, stored, until, visit, type Page } from "./harness.ts";

const service = (name: string) => `/?q=service=${name}`;
const hasMessage = (page: Page, text: string) => until(() => messages(page), (shown) => shown.includes(text), text);

async function scrollTo(page: Page, top: number): Promise<void> {
  await page.locator(".scroller").first().hover();
  await page.mouse.wheel(0, top);
}

it("1: paging both ways loses nothing, though 5,000 have one microsecond", async () => {
  const COUNT = 5000;
  const time = new Date(Date.now() - 60_000).toISOString();
  await log("paging", records("paging", COUNT, () => ({ time })));
  const counted = async () => ((await (await fetch(`${address()}/api/platform/logs/histogram?filter=service%3Dpaging&from=-1h`)).json()) as { records: number }).records;
  await until(counted, (records) => records === COUNT, "all to be stored");
  const all = await stored("service=paging", 1000);
  const middle = all[800]!.id;
  const page = await visit(`/?q=service=paging&at=${middle}&facets=0`, {
    before: (page) => page.route("**/api/platform/logs?*", (route) => route.continue({ url: route.request().url().replace(/limit=\d+/, "limit=100") })),
  });
  await page.locator(`[data-id="${middle}"]`).waitFor();
  // As somebody does who scrolls on and on, up to the oldest and down to the newest: the rows say how many there are once both ends are known.
  const seen = await page.evaluate(async () => {
    const scroller = document.querySelector(".scroller")!;
    const rows = () => [...document.querySelectorAll<HTMLElement>("[data-id]")];
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    const seen = new Set<string>();
    const look = () => {
      const ids = rows().map((row) => row.dataset.id!);
      if (new Set(ids).size !== ids.length) throw new Error("one is there twice");
      for (const id of ids) seen.add(id);
    };
    /** What is in sight is drawn. */
    const drawn = () => {
      const view = scroller.getBoundingClientRect();
      const edges = rows().map((row) => row.getBoundingClientRect());
      return edges.length > 0 && Math.min(...edges.map(({ top }) => top)) <= view.top + 1 && Math.max(...edges.map(({ bottom }) => bottom)) >= view.bottom - 1;
    };
    for (let by = -700; ; by = -by) {
      for (let still = 0; still < 8; ) {
        const before = scroller.scrollTop;
        scroller.scrollTop += by;
        do await frame();
        while (!drawn());
        look();
        const busy = document.querySelector(".list [role=progressbar]") !== null;
        still = scroller.scrollTop === before && !busy ? still + 1 : 0;
      }
      const last = rows().at(-1)!;
      if (by > 0 && last.ariaSetSize === last.ariaPosInSet) return seen.size;
    }
  });
  expect(seen).toBe(COUNT);
}, 150_000);

describe("2: live and paused", () => {
  it("follows, pauses by Space, says how many are new, and resumes", async () => {
    await log("follow", records("follow", 60));
    const page = await visit(service("follow"));
    await hasMessage(page, "line 59");
    await page.getByTestId("live").filter({ hasText: "Live" }).waitFor();
    await page.locator(".scroller").first().focus();
    await page.keyboard.press("Space");
    await page.getByTestId("resume").waitFor();
    const shown = await messages(page);
    await log("follow", records("follow", 3, (n) => ({ msg: `later ${n}` })));
    await page.getByTestId("resume").filter({ hasText: "3 new" }).waitFor();
    expect(await messages(page)).toEqual(shown);
    await page.keyboard.press("Space");
    await hasMessage(page, "later 2");
  });

  it("pauses when somebody scrolls up, and does not move what is read", async () => {
    await log("scroll", records("scroll", 300));
    const page = await visit(service("scroll"));
    await hasMessage(page, "line 299");
    await scrollTo(page, -900);
    await page.getByTestId("resume").waitFor();
    // The wheel's scrolling takes some frames: it is over when two of them show the same.
    await page.evaluate(async () => {
      const scroller = document.querySelector(".scroller")!;
      for (let before = -1; before !== scroller.scrollTop; ) {
        before = scroller.scrollTop;
        for (let n = 0; n < 10; n++) await new Promise((resolve) => requestAnimationFrame(resolve));
      }
    });
    const top = () => page.locator("[data-id]").evaluateAll((rows) => rows.map((row) => [(row as HTMLElement).dataset.id, Math.round(row.getBoundingClientRect().top)]).filter(([, y]) => Number(y) > 200 && Number(y) < 700));
    const before = await top();
    await log("scroll", records("scroll", 50, (n) => ({ msg: `later ${n}` })));
    await page.getByTestId("resume").filter({ hasText: "50 new" }).waitFor();
    expect(await top()).toEqual(before);
  });

  it("pauses with an open detail", async () => {
    await log("opened", records("opened", 5));
    const page = await visit(service("opened"));
    await page.locator("[data-id]", { hasText: "line 3" }).click();
    await page.getByTestId("detail").waitFor();
    await page.getByTestId("resume").waitFor();
  });
});

it("2: marking text pauses, and opens nothing", async () => {
  await log("marking", records("marked", 5));
  await stored("service=marked", 5);
  const page = await visit(service("marked"));
  await hasMessage(page, "line 4");
  const box = (await page.locator("[data-id] .text").last().boundingBox())!;
  await page.mouse.move(box.x + 2, box.y + 10);
  await page.mouse.down();
  await page.mouse.move(box.x + 60, box.y + 10, { steps: 4 });
  await page.mouse.up();
  await page.getByTestId("resume").waitFor();
  expect(await page.getByTestId("detail").count()).toBe(0);
});

it("3: a gap stands where it is, with count and reason, and is filled on demand", async () => {
  const begin = Date.now() - 60_000;
  const time = (n: number) => new Date(begin + n * 1000).toISOString();
  await log("gaps", records("gapped", 30, (n) => ({ time: time(n) })));
  await stored("service=gapped", 30);
  const page = await visit(`/?q=service=gapped&from=${time(20)}`, {
    before: async (page) => {
      await page.routeWebSocket(/logs\/stream/, (socket) => {
        const server = socket.connectToServer();
        server.onMessage((message) => {
          socket.send(message);
          if (JSON.parse(String(message)).type === "caughtUp") {
            socket.send(JSON.stringify({ type: "gap", from: time(10), to: time(19), count: 10, reason: "slow", cursor: "v1" }));
          }
        });
      });
    },
  });
  await page.getByText("10 records not shown: they came too fast").waitFor();
  expect(await messages(page)).not.toContain("line 15");
  const order = () => page.locator(".gap, [data-id]").evaluateAll((rows) => rows.map((row) => row.className.includes("gap")));
  await until(order, ([gap, record]) => gap === true && record === false, "the gap before the records");
  await page.getByRole("button", { name: "Show them" }).click();
  await until(() => messages(page), (shown) => shown.length === 20 && shown[0] === "line 10", "what was missing");
  await page.locator(".gap").waitFor({ state: "detached" });
});

it("4: another filter while live clears nothing before there is something else", async () => {
  await log("one", records("one-filter", 40, (n) => ({ level: n % 2 ? "error" : "info" })));
  await stored("service=one-filter", 40);
  const page = await visit(service("one-filter"));
  await hasMessage(page, "line 39");
  let answer = () => {};
  const held = new Promise<void>((resolve) => (answer = resolve));
  const question = page.waitForRequest(/\/api\/platform\/logs\?.*level/);
  await page.route("**/api/platform/logs?*", async (route) => {
    await held;
    await route.continue();
  });
  await page.getByRole("button", { name: /ERROR/ }).first().click();
  await question;
  // A page that clears the list does so before the browser draws its next frame.
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  expect((await messages(page)).length).toBeGreaterThan(10);
  answer();
  await until(() => messages(page), (shown) => shown.length === 20, "errors alone");
  await page.unroute("**/api/platform/logs?*");
  await page.getByTestId("live").filter({ hasText: "Live" }).waitFor();
  await log("one", [...records("one-filter", 1, () => ({ msg: "no error" })), ...records("one-filter", 1, () => ({ msg: "an error", level: "error" }))]);
  await hasMessage(page, "an error");
  expect(await messages(page)).not.toContain("no error");
});

it("5: context shows what stands around a record, whatever the filter", async () => {
  await log("around", records("around", 140, (n) => ({ level: n === 70 ? "error" : "info" })));
  await stored("service=around", 140);
  const page = await visit("/?q=service=around+level=error");
  await page.locator("[data-id]", { hasText: "line 70" }).click();
  await page.getByRole("link", { name: "Context" }).click();
  await page.getByTestId("context").waitFor();
  await page.getByText("50 before, 50 after").waitFor();
  await page.locator(".origin", { hasText: "line 70" }).waitFor();
  await page.getByRole("button", { name: "More before" }).click();
  await page.getByText("70 before, 50 after").waitFor();
  await page.goBack();
  await page.getByTestId("context").waitFor({ state: "detached" });
});

describe("6: a permalink", () => {
  it("opens a record among its neighbours, marked", async () => {
    await log("link", records("linked", 500));
    const one = (await stored("service=linked", 500)).find(({ message }) => message === "line 250")!;
    const page = await visit(`/?at=${one.id}&record=${one.id}&q=service=linked`);
    await page.locator(".origin", { hasText: "line 250" }).waitFor();
    await page.getByTestId("detail").getByText("line 250").first().waitFor();
    expect(await messages(page)).toEqual(expect.arrayContaining(["line 249", "line 251"]));
  });
  it("says that the record is gone, and shows what stands at its place", async () => {
    const one = (await stored("service=linked", 500)).find(({ message }) => message === "line 250")!;
    const gone = one.id.replace(/-[^-]*$/, "-fff");
    const page = await visit(`/?q=service=linked&at=${gone}&record=${gone}`, { expected: /404/ });
    await page.getByText("This record is gone, or not yours to see").waitFor();
    await hasMessage(page, "line 251");
    expect(await page.locator(".origin").count()).toBe(0);
  });
});

describe("11: long lines", () => {
  it("are cut, and shown whole on demand", async () => {
    await log("long", [{ time: new Date().toISOString(), level: "info", service: "long", msg: `${"long ".repeat(20_000)}end of it` }]);
    await stored("service=long", 1);
    const page = await visit("/?q=service=long&wrap=1");
    const row = page.locator("[data-id]").first();
    await row.waitFor();
    expect((await row.innerText()).length).toBeLessThan(5000);
    await row.getByRole("button", { name: "show 100 KB" }).click();
    await until(() => row.innerText(), (text) => text.includes("end of it"));
  });
});

it("18: lines of anybody's making never run and never break the layout", async () => {
  const lines = [
    "<img src=x onerror=alert(1)><script>alert(2)</script>",
    "\u001b[31mred\u001b[0m \u001b]8;;https://evil.example\u001b\\click\u001b]8;;\u001b\\",
    "a\u202eb\u200bc\u0000d",
    `zalgo ${"z\u0301\u0302\u0303".repeat(1)}${"\u0301".repeat(400)}`,
    "שלום עולם (123) مرحبا",
    "{{constructor.constructor('alert(3)')()}}",
  ];
  await log("hostile", lines.map((msg, n) => ({ time: new Date(Date.now() + n).toISOString(), level: "info", service: "hostile", msg })));
  await log("hostile", [{ time: new Date().toISOString(), level: "info", service: "hostile", msg: "many keys", ...Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`key<b>${n}`, n])) }]);
  await stored("service=hostile", 7);
  for (const wrap of ["0", "1"]) {
    const page = await visit(`/?q=service=hostile&wrap=${wrap}`);
    await hasMessage(page, lines[0]!);
    expect(await page.locator("[data-id] img, [data-id] script, [data-id] a").count()).toBe(0);
    const shown = (await messages(page)).join("\n");
    expect(shown).toContain("click");
    expect(shown).not.toContain("evil.example");
    expect(shown).toMatch(/RLO.*ZWSP.*␀/);
    expect(await page.locator("[data-id] .t-red").innerText()).toBe("red");
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(1440);
    if (wrap === "0") {
      const heights = await page.locator("[data-id]").evaluateAll((rows) => rows.map((row) => row.parentElement!.getBoundingClientRect().height));
      expect(new Set(heights)).toEqual(new Set([22]));
    }
    await page.locator("[data-id]", { hasText: "many keys" }).click();
    await page.getByTestId("detail").getByText("key<b>0", { exact: true }).waitFor();
    expect(await page.getByTestId("detail").locator("li").count()).toBeLessThan(400);
  }
});

it("19: lines wrap or do not, and a browser remembers it", async () => {
  await log("wrapped", [{ time: new Date().toISOString(), level: "info", service: "wrapped", msg: "word ".repeat(400) }]);
  await stored("service=wrapped", 1);
  const page = await visit(service("wrapped"));
  const height = () => page.locator("[data-id]").first().evaluate((row) => row.getBoundingClientRect().height);
  await until(height, (high) => high < 30);
  await page.getByRole("button", { name: "Wrap lines" }).click();
  await until(height, (high) => high > 60);
  await page.goto(`${address()}/?q=service=wrapped`);
  await until(height, (high) => high > 60);
});

it("22: what is cleared comes back", async () => {
  await log("cleared", records("cleared", 12));
  await stored("service=cleared", 12);
  const page = await visit(service("cleared"));
  await hasMessage(page, "line 11");
  await page.getByRole("button", { name: "Clear", exact: true }).click();
  await until(() => messages(page), (shown) => shown.length === 0);
  await page.getByRole("button", { name: "Undo" }).click();
  await until(() => messages(page), (shown) => shown.length === 12);
});

it("24: the list is a log that says where one is, and news are told apart from it", async () => {
  await log("aria", records("aria", 12, (n) => ({ level: ["error", "warn", "info"][n % 3]! })));
  await stored("service=aria", 12);
  const page = await visit(service("aria"), { reducedMotion: "reduce" });
  await hasMessage(page, "line 11");
  const list = page.getByRole("log");
  expect(await list.getAttribute("aria-live")).toBe("off");
  const row = page.locator("[data-id]").last();
  const placed = async () => [await row.getAttribute("aria-posinset"), await row.getAttribute("aria-setsize")];
  await until(placed, (place) => place.join() === "12,12", "its place of twelve");
  expect(await page.locator("[data-id]", { hasText: "ERROR" }).count()).toBe(4);
  await page.getByTestId("live").filter({ hasText: "Live" }).waitFor();
  await log("aria", records("aria", 2, (n) => ({ msg: `news ${n}` })));
  await until(() => page.getByTestId("told").innerText(), (told) => /^\d+ new lines?$/.test(told), "the news");
  await page.locator("[data-id]").first().click();
  await page.getByTestId("detail").waitFor();
  await accessible(page);
});
