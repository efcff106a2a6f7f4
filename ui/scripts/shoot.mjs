// Pictures in both themes, wide and narrow: node scripts/shoot.mjs ADDRESS [NAME] [FOLDER]. ADDRESS with a NAME is one page; without, it is a gateway on the
// invented shop (`npm run demo`), and every view is taken: of SHOOT_VIEWS=group,task and SHOOT_ONLY=light-1440,dark-390 only
// those, SHOOT_SIZE=1280x800 instead of both widths.
import { chromium } from "playwright-core";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

const [address, name, folder = "/tmp/cordwood-pictures"] = process.argv.slice(2);
const only = process.env.SHOOT_ONLY?.split(",");
const wanted = process.env.SHOOT_VIEWS?.split(",");
const sizes = process.env.SHOOT_SIZE ? [process.env.SHOOT_SIZE.split("x").map(Number)] : [[1440, 900], [390, 844]];
mkdirSync(folder, { recursive: true });

const seen = (text) => (page) => page.locator(text).first().waitFor();
const rows = seen("[data-id]");
/** Each view's path, and what is done until it is as somebody sees it. */
const VIEWS = {
  logs: ["/", rows],
  "logs-wrap": ["/?wrap=1", rows],
  "logs-columns": ["/?cols=service,tenant,orderId", rows],
  "logs-none": ["/?q=service=nobody", seen(".nothing")],
  detail: ["/?q=service=checkout%20level=error", async (page) => {
    await rows(page);
    await page.locator("[data-id]").last().click();
    await page.locator("[data-testid=detail], aside, .detail").first().waitFor();
  }],
  context: ["/?q=service=checkout%20level=error", async (page) => {
    await rows(page);
    await page.keyboard.press("k");
    await page.keyboard.press("c");
    await page.waitForFunction(() => location.search.includes("context"));
    await rows(page);
  }],
  keys: ["/", async (page) => {
    await rows(page);
    await page.keyboard.press("?");
    await seen("dialog[open]")(page);
  }],
  palette: ["/", async (page) => {
    await rows(page);
    await page.keyboard.press("Control+k");
    await seen("dialog[open]")(page);
  }],
  errors: ["/errors", seen("li[data-signature]")],
  group: ["/errors?level=error", async (page) => {
    await page.locator("li[data-signature] .title a").first().click();
    await seen("li[data-id]")(page);
  }],
  task: ["/task/4711", rows],
  "task-none": ["/task", seen("main input")],
  plugin: ["/plugin/hello-plugin", rows],
  monitor: ["/monitor", rows],
  policies: ["/policies", seen("[data-policy], .empty, h1")],
  "policy-new": ["/policies?new=1", seen("form")],
  levels: ["/levels?service=checkout", seen("form")],
  agents: ["/agents", seen("main tbody tr, main li, main h1")],
  whoami: ["/whoami", seen("dl")],
};

const browser = await chromium.launch({ executablePath: process.env.CORDWOOD_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
for (const [view, [path, arrive]] of name ? [[name, ["", () => {}]]] : Object.entries(VIEWS).filter(([view]) => !wanted || wanted.includes(view))) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [width, height] of sizes) {
      if (only && !only.includes(`${colorScheme}-${width}`)) continue;
      const page = await browser.newPage({ viewport: { width, height }, colorScheme, locale: "en-GB" });
      page.on("console", (message) => message.type() === "error" && console.log(view, message.text()));
      page.on("pageerror", (error) => console.log(view, String(error)));
      await page.goto(address + path);
      await arrive(page);
      await page.waitForTimeout(1500);
      const file = join(folder, `${view}-${colorScheme}-${width}.png`);
      await page.screenshot({ path: file });
      console.log(file);
      await page.close();
    }
  }
}
await browser.close();
