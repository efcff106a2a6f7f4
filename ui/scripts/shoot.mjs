// Pictures in both themes, wide and narrow: node scripts/shoot.mjs ADDRESS [NAME] [FOLDER]. ADDRESS with a NAME is one page; without, it is a gateway on the
// invented shop (`npm run demo`), and every place is taken (places.mjs): of SHOOT_VIEWS=group,task and SHOOT_ONLY=light-1440,dark-390 only
// those, SHOOT_SIZE=1280x800 instead of both widths. It says which pages need scrolling sideways, and fails when one could not be taken.
import { chromium } from "playwright-core";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { overflowing } from "./overflow.mjs";
import { PLACES } from "./places.mjs";

const [address, name, folder = "/tmp/cordwood-pictures"] = process.argv.slice(2);
const only = process.env.SHOOT_ONLY?.split(",");
const wanted = process.env.SHOOT_VIEWS?.split(",");
const sizes = process.env.SHOOT_SIZE ? [process.env.SHOOT_SIZE.split("x").map(Number)] : [[1440, 900], [390, 844]];
mkdirSync(folder, { recursive: true });

const browser = await chromium.launch({ executablePath: process.env.CORDWOOD_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
for (const [view, [path, arrive, before]] of name ? [[name, ["", () => {}]]] : Object.entries(PLACES).filter(([view]) => !wanted || wanted.includes(view))) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [width, height] of sizes) {
      if (only && !only.includes(`${colorScheme}-${width}`)) continue;
      const page = await browser.newPage({ viewport: { width, height }, colorScheme, locale: "en-GB" });
      page.setDefaultTimeout(12_000);
      page.on("pageerror", (error) => console.log(view, String(error)));
      const file = join(folder, `${view}-${colorScheme}-${width}.png`);
      try {
        await before?.(page);
        await page.goto(address + path);
        await arrive(page);
      } catch (error) {
        console.log(`${file}: ${String(error).slice(0, 300)}`);
        process.exitCode = 1;
      }
      await page.waitForTimeout(600);
      await page.screenshot({ path: file });
      const wide = await page.evaluate(overflowing);
      console.log([file, ...wide].join("\n    "));
      await page.close();
    }
  }
}
await browser.close();
