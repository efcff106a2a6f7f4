// Pictures of a view in both themes, wide and narrow: node scripts/shoot.mjs ADDRESS NAME [FOLDER]
import { chromium } from "playwright-core";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

const [address, name, folder = "/tmp/cordwood-pictures"] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CORDWOOD_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
for (const colorScheme of ["light", "dark"]) {
  for (const [width, height] of [[1440, 900], [390, 844]]) {
    const page = await browser.newPage({ viewport: { width, height }, colorScheme });
    page.on("console", (message) => message.type() === "error" && console.log(message.text()));
    page.on("pageerror", (error) => console.log(String(error)));
    await page.goto(address);
    await page.waitForTimeout(2500);
    const path = join(folder, `${name}-${colorScheme}-${width}.png`);
    await page.screenshot({ path });
    console.log(path);
    await page.close();
  }
}
await browser.close();
