// Every view by the keyboard alone: what can be clicked is reached, where one is is seen and never lost, and nothing keeps one in. And without motion.
import { afterAll, beforeAll, expect, it } from "vitest";
import { accessible, messages, records, standalone, stored, until, visit, write, type Page } from "./harness.ts";

// One of its own: where rows of other tests come and go, a walk through them has no end.
let own: Awaited<ReturnType<typeof standalone>>;
const address = () => own.address;
const put = async (path: string, body: object) => {
  const answer = await fetch(address() + path, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  expect(answer.ok, await answer.text()).toBe(true);
};
let group = "";

beforeAll(async () => {
  own = await standalone();
  const failed = { level: "error", errorType: "KeysError", errorStack: "KeysError: no\n    at pay (/app/pay.js:1:1)", msg: "payment refused" };
  await write(own.folder, "keyboard", records("keyboard", 40, (n) => ({ taskId: "keyboard", source: ["plugin", "api"][n % 2]!, plugin: "keyboard", metadata: { progress: n }, ...(n === 39 ? failed : {}) })));
  await stored("service=keyboard", 40, address());
  const groups = async () => ((await (await fetch(`${address()}/api/platform/logs/aggregates?service=keyboard`)).json()) as { items: { signature: string }[] }).items;
  group = (await until(groups, ({ length }) => length > 0, "the group of the error"))[0]!.signature;
  await put("/api/admin/levels", { target: "keyboard-level", level: "WARN", ttlSeconds: 3600 });
  await put("/api/admin/retention/keyboard", { apiVersion: "cordwood.dev/v1alpha1", kind: "LogRetentionPolicy", metadata: { name: "keyboard" }, spec: { match: { services: ["keyboard"] } } });
});
afterAll(() => own?.stop());

/** A view in a state of its own: where it is, what is waited for, and what opens the rest of it. */
interface Place {
  path: string;
  ready: (page: Page) => Promise<unknown>;
  open?: (page: Page) => Promise<unknown>;
}
const opens = (name: string | RegExp) => async (page: Page) => {
  await page.getByRole("button", { name }).first().focus();
  await page.keyboard.press("Enter");
};
const shows = (text: string | RegExp) => (page: Page) => page.getByText(text).first().waitFor();
const rows = (page: Page) => page.locator("[data-id]").first().waitFor();
/** The filter's editor comes after the records: a walk that begins before it would look for two things at one place. */
const logView = async (page: Page) => {
  await rows(page);
  await page.locator("[data-editor].ready").waitFor();
};
const PLACES: Record<string, Place> = {
  logs: { path: "/?q=service=keyboard", ready: logView },
  record: { path: "/?q=service=keyboard", ready: logView, open: async (page) => { for (const key of ["k", "Enter"]) await page.keyboard.press(key); await page.getByTestId("detail").getByText("payment refused").first().waitFor(); } },
  context: { path: "/?q=service=keyboard", ready: logView, open: async (page) => { for (const key of ["k", "c"]) await page.keyboard.press(key); await page.getByTestId("context").waitFor(); } },
  find: { path: "/?q=service=keyboard", ready: logView, open: async (page) => { await page.keyboard.press("f"); await page.getByRole("textbox", { name: "Find in view" }).waitFor(); } },
  keys: { path: "/?q=service=keyboard", ready: logView, open: async (page) => { await page.keyboard.press("?"); await page.getByRole("dialog", { name: "Keys" }).waitFor(); } },
  errors: { path: "/errors?service=keyboard", ready: shows("payment refused") },
  group: { path: "/errors/GROUP", ready: shows("pay.js") },
  "task by id": { path: "/task", ready: (page) => page.getByRole("textbox").first().waitFor() },
  task: { path: "/task/keyboard?meta=progress%3D7", ready: rows },
  plugin: { path: "/plugin/keyboard", ready: shows("payment refused") },
  monitor: { path: "/monitor", ready: shows("live") },
  levels: { path: "/levels", ready: shows("keyboard-level") },
  policies: { path: "/policies", ready: shows("Oldest record") },
  policy: { path: "/policies?edit=keyboard", ready: shows("Nothing is changed yet") },
  deletion: { path: "/policies", ready: shows("Oldest record"), open: async (page) => { await opens("Delete keyboard")(page); await page.getByRole("region", { name: "What it would do" }).waitFor(); } },
  agents: { path: "/agents", ready: shows("1 of 1") },
  me: { path: "/whoami", ready: shows("by being on this machine") },
};

async function at(place: Place, options = {}): Promise<Page> {
  const page = await visit(place.path.replace("GROUP", group), { at: address(), ...options });
  await page.getByRole("navigation", { name: "Views" }).getByText("Agents").waitFor();
  await place.ready(page);
  await place.open?.(page);
  return page;
}

interface Stop {
  name: string;
  seen: boolean;
  marked: boolean;
}

/** Marks what Tab can reach now, and gives what has the focus. */
const now = (page: Page) =>
  page.evaluate((): Stop | null => {
    let at = document.activeElement;
    while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
    if (!at || at === document.body) return null;
    at.setAttribute("data-walked", "");
    const host = at.getRootNode() instanceof ShadowRoot ? (at.getRootNode() as ShadowRoot).host : at;
    host.setAttribute("data-walked", "");
    const name = `${at.tagName.toLowerCase()} ${at.getAttribute("aria-label") ?? (at as HTMLElement).innerText?.slice(0, 40) ?? ""}`.trim();
    const { width, height } = at.getBoundingClientRect();
    const seen = width > 0 && height > 0 && at.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    // Its own outline, or that of what stands for it.
    const probe = document.createElement("i");
    probe.style.color = "var(--focus)";
    document.body.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    let marked = false;
    for (let node: Element | null = at, n = 0; node && n < 6; node = node.parentElement ?? (node.getRootNode() as ShadowRoot).host ?? null, n++) {
      for (const part of [null, "::after"]) {
        const { outlineStyle, outlineWidth, boxShadow, borderColor } = getComputedStyle(node, part);
        if ((outlineStyle !== "none" && parseFloat(outlineWidth) >= 1) || boxShadow.includes(colour) || borderColor.includes(colour)) marked = true;
      }
    }
    return { name, seen, marked };
  });

/** What can be pressed or typed into and was not reached, unless an arrow leads to it from what was. */
const missed = (page: Page, place = "dialog[open]") =>
  page.evaluate((place) => {
    const within = document.querySelector(place) ?? document;
    return [...within.querySelectorAll<HTMLElement>("a[href], button, input, select, textarea, summary, [role=switch], [role=separator], [data-editor]")]
      .filter((one) => !one.matches(":disabled, [data-walked], [data-walked] *, [role=option]") && one.checkVisibility({ visibilityProperty: true }))
      .filter((one) => !(one instanceof HTMLInputElement && one.type === "radio" && document.querySelector(`input[name="${one.name}"][data-walked]`)))
      .map((one) => one.outerHTML.slice(0, 160));
  }, place);

const STOPS_MAX = 400;

/**
 * Presses Tab until all was reached that there is. What comes while somebody walks (values, counts, the last records) is walked to as well: a walk
 * ends in vain only when it twice came to the end, or a dialog's beginning again, with the same left out.
 */
async function walk(page: Page): Promise<Stop[]> {
  const stops: Stop[] = [];
  let [first, left] = ["", ""];
  for (let around = 0; stops.length < STOPS_MAX && around < 2; ) {
    await page.keyboard.press("Tab");
    const stop = await now(page);
    if (stop) stops.push(stop);
    first ||= stop?.name ?? "";
    // A dialog lets nobody out of it, and so has no end.
    if (stop && stop.name !== first) continue;
    const out = (await missed(page)).join();
    if (out === "") break;
    around = out === left ? around + 1 : 0;
    left = out;
  }
  return stops;
}

/** Whatever moves, and for how long, in milliseconds. */
const moving = (page: Page) =>
  page.evaluate(() =>
    [...document.querySelectorAll("*")].flatMap((one) =>
      ["", "::before", "::after"].flatMap((part) => {
        const { animationName, animationDuration, transitionDuration, scrollBehavior } = getComputedStyle(one, part || null);
        const ms = (text: string) => Math.max(...text.split(",").map((time) => parseFloat(time) * (time.trim().endsWith("ms") ? 1 : 1000)));
        return (animationName !== "none" && ms(animationDuration) > 1) || ms(transitionDuration) > 1 || scrollBehavior === "smooth" ? [`${one.outerHTML.slice(0, 100)}${part}`] : [];
      }),
    ),
  );

it.each(Object.keys(PLACES))("leads everywhere in %s by Tab, shows where one is, and moves nothing for who wants no motion", async (name) => {
  const page = await at(PLACES[name]!, { expected: /404|409/, reducedMotion: "reduce" });
  expect(await moving(page)).toEqual([]);
  const stops = await walk(page);
  expect(stops.filter(({ seen, marked }) => !seen || !marked)).toEqual([]);
  expect(stops.length).toBeLessThan(STOPS_MAX);
  expect(await missed(page)).toEqual([]);
});

/** What has the focus, said as its label. */
const focused = (page: Page) =>
  page.evaluate(() => {
    const at = document.activeElement as HTMLElement | null;
    return !at || at === document.body ? "" : (at.getAttribute("aria-label") ?? (at.innerText || at.id || at.tagName));
  });

const POPOVERS = [/^Range/, "Saved searches", "Columns", "Export"];

it("leads into what a button opens, and Esc back to the button", async () => {
  const page = await at(PLACES.logs!);
  for (const name of POPOVERS) {
    await opens(name)(page);
    const panel = page.getByRole("group", { name });
    await panel.waitFor();
    await now(page);
    for (let n = 0; n < 40 && (await missed(page, ".panel")).length > 0; n++) {
      await page.keyboard.press("Tab");
      const stop = await now(page);
      if (stop) expect(stop).toMatchObject({ seen: true, marked: true });
    }
    expect(await missed(page, ".panel")).toEqual([]);
    await page.keyboard.press("Escape");
    await panel.waitFor({ state: "detached" });
    await until(() => focused(page), (label) => label.match(name) !== null, "the button to have the focus again");
  }
});

const press = async (page: Page, name: string | RegExp, key = "Enter") => {
  await page.getByRole("button", { name }).first().focus();
  await page.keyboard.press(key);
};

it("keeps the focus where what had it goes, is replaced or is switched off", async () => {
  const page = await at(PLACES.task!);
  await press(page, "Pause");
  await until(() => focused(page), (name) => /Follow/.test(name), "the button in its place");
  await page.keyboard.press("Enter");
  await until(() => focused(page), (name) => name === "Pause", "the first one again");
  await page.getByLabel("Metadata, as key=value").fill("progress=9");
  await page.keyboard.press("Enter");
  await press(page, /^Remove.*progress=7/);
  await until(() => focused(page), (name) => /progress=9/.test(name), "the chip after it");
  await press(page, /^Remove.*progress=9/);
  await until(() => page.getByRole("button", { name: /^Remove/ }).count(), (count) => count === 0);
  await until(() => focused(page), (name) => name !== "", "something beside it");

  await page.goto(`${address()}/monitor`);
  await PLACES.monitor!.ready(page);
  await press(page, "Pause System");
  await until(() => focused(page), (name) => name === "Resume System");

  await page.goto(`${address()}/levels`);
  await PLACES.levels!.ready(page);
  await press(page, /^30 more minutes for api-keyboard-level/);
  await page.getByText("has 30 more minutes").waitFor();
  await until(() => focused(page), (name) => name !== "", "the row that was changed");
  await press(page, /^End api-keyboard-level/);
  await until(() => focused(page), (name) => name === "Undo");
  await page.keyboard.press("Enter");
  await page.getByText("is in force again").waitFor();
  await until(() => focused(page), (name) => name !== "", "something beside it");
});

it("gives the focus back when a dialog, a record or a context is closed, and takes it along to another view", async () => {
  const page = await at(PLACES.logs!);
  await press(page, "Keys");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await page.keyboard.press("Escape");
  await until(() => focused(page), (name) => name === "Keys", "the button to have it again");
  await page.locator(".scroller").first().focus();
  for (const key of ["k", "Enter"]) await page.keyboard.press(key);
  await page.getByTestId("detail").getByText("payment refused").first().waitFor();
  await press(page, "JSON");
  await page.keyboard.press("Escape");
  await page.getByTestId("detail").waitFor({ state: "detached" });
  await until(() => focused(page), (name) => name === "Records", "the list");
  await page.keyboard.press("c");
  await page.getByTestId("context").waitFor();
  await press(page, "Back to the results");
  await page.getByTestId("context").waitFor({ state: "detached" });
  await until(() => focused(page), (name) => name !== "", "the results");
  await page.goto(`${address()}/errors/${group}`);
  await PLACES.group!.ready(page);
  await page.getByRole("link", { name: "Open in logs" }).focus();
  await page.keyboard.press("Enter");
  await until(() => messages(page), (shown) => shown.length > 0);
  expect(await page.evaluate(() => document.activeElement !== document.body)).toBe(true);
});

it.each(["light", "dark"] as const)("keeps the rules of accessibility in what is opened, %s", async (colorScheme) => {
  const page = await at(PLACES.logs!, { colorScheme });
  for (const name of POPOVERS) {
    await opens(name)(page);
    await page.getByRole("group", { name }).waitFor();
    await accessible(page, ".panel");
    await page.keyboard.press("Escape");
  }
  await PLACES.keys!.open!(page);
  await accessible(page, "dialog");
  await page.keyboard.press("Escape");
  await page.locator(".scroller").first().focus();
  await PLACES.record!.open!(page);
  await accessible(page, ".detail");
  await page.keyboard.press("Escape");
  await page.keyboard.press("c");
  await page.getByTestId("context").locator("[data-id]").first().waitFor();
  await accessible(page, "main");
  await page.goto(`${address()}/policies`);
  await PLACES.deletion!.ready(page);
  await PLACES.deletion!.open!(page);
  await accessible(page, "dialog");
});
