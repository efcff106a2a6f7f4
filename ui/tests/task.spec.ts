import { expect, it } from "vitest";
import { accessible, address, log, messages, stored, until, visit } from "./harness.ts";

const step = (task: string, n: number, more: object = {}) => ({
  time: new Date(Date.now() - 60_000 + n * 10).toISOString(),
  level: "info",
  service: "worker",
  source: n % 2 ? "plugin" : "superset_api",
  taskId: task,
  msg: `step ${n}`,
  metadata: { dashboard: n, progress: n * 10 },
  ...more,
});

/** Nine steps (progress 10 to 90), one of them a warning, and a line of DEBUG. */
async function run(task: string): Promise<void> {
  const steps = Array.from({ length: 9 }, (_, n) => step(task, n + 1, n + 1 === 4 ? { level: "warn" } : {}));
  await log(task, [...steps, step(task, 0, { level: "debug", msg: "details", metadata: {} })]);
  await stored(`taskId=${task}`, 10);
}

it("shows a task's history with its progress, INFO and above, and what comes", async () => {
  await run("task-history");
  const page = await visit("/task/task-history");
  await until(() => messages(page), (shown) => shown.filter((text) => text.startsWith("step")).length === 9, "nine steps");
  expect(await messages(page)).not.toContain("details");
  expect(await page.getByRole("progressbar", { name: "Progress of the task" }).getAttribute("aria-valuenow")).toBe("90");
  await page.getByText("live", { exact: true }).waitFor();
  await log("task-history", [step("task-history", 6000, { time: new Date().toISOString(), msg: "the last step", metadata: { progress: 100 } })]);
  await until(() => messages(page), (shown) => shown.includes("the last step"), "the live line");
  expect(await page.getByRole("progressbar", { name: "Progress of the task" }).getAttribute("aria-valuenow")).toBe("100");
  await page.getByText("11 lines").waitFor();
});

it("narrows by level and source at once, and by text and metadata", async () => {
  await run("task-filter");
  const page = await visit("/task/task-filter");
  const steps = async () => (await messages(page)).filter((text) => text.startsWith("step") || text === "details");
  await until(steps, (shown) => shown.length === 9);
  const sources = page.getByRole("group", { name: "Sources" });
  await sources.getByRole("button", { name: "superset_api" }).click();
  await until(steps, (shown) => shown.join() === "step 2,step 4,step 6,step 8");
  const levels = page.getByRole("group", { name: "Levels" });
  for (const name of ["INFO", "ERROR"]) await levels.getByRole("button", { name }).click();
  await until(steps, (shown) => shown.join() === "step 4", "the warning of this source");
  expect(new URL(page.url()).searchParams.getAll("level")).toEqual(["WARNING"]);

  await page.goto(`${new URL(page.url()).origin}/task/task-filter?level=DEBUG`);
  await until(steps, (shown) => shown.join() === "details", "DEBUG when it is asked for");

  await page.goto(`${new URL(page.url()).origin}/task/task-filter`);
  await until(steps, (shown) => shown.length === 9);
  const metadata = page.getByLabel("Metadata, as key=value");
  await metadata.fill("dashboard");
  await metadata.press("Enter");
  await page.getByText("a key, then").waitFor();
  await metadata.fill("dashboard=7");
  await metadata.press("Enter");
  await until(steps, (shown) => shown.join() === "step 7");
  await page.getByRole("button", { name: /Remove/ }).click();
  await page.getByLabel("Text in the message").fill("STEP 3");
  await until(steps, (shown) => shown.join() === "step 3");
  await page.getByLabel("Text in the message").fill("nowhere");
  await page.getByText("No line is like this").waitFor();
  await page.getByRole("button", { name: "Show all lines" }).click();
  await until(steps, (shown) => shown.length === 10, "all of them, DEBUG too");
});

it("shows the source at once: without an answer of the gateway", async () => {
  await run("task-offline");
  const page = await visit("/task/task-offline", { expected: /ERR_|WebSocket|Failed to load/ });
  await until(() => messages(page), (shown) => shown.includes("step 9"));
  await page.context().setOffline(true);
  await page.getByRole("group", { name: "Sources" }).getByRole("button", { name: "plugin" }).click();
  await until(() => messages(page), (shown) => shown.includes("step 9") && !shown.includes("step 8"), "only the plugin's");
});

it("pauses by the keyboard and by scrolling up, and counts what is new", async () => {
  await log("task-pause", Array.from({ length: 200 }, (_, n) => step("task-pause", n)));
  await stored("taskId=task-pause", 200);
  const page = await visit("/task/task-pause");
  await until(() => messages(page), (shown) => shown.includes("step 199"), "the end");
  await page.getByRole("heading", { name: "Task" }).click();
  await page.keyboard.press("Space");
  await page.getByRole("button", { name: "Follow" }).waitFor();
  await log("task-pause", [step("task-pause", 5000, { time: new Date().toISOString(), msg: "new one" })]);
  await page.getByRole("button", { name: "1 new — follow" }).waitFor();
  expect(await messages(page)).toContain("step 199");
  await page.keyboard.press("Space");
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await until(() => messages(page), (shown) => shown.includes("new one"));
  await page.getByRole("log").hover();
  await page.mouse.wheel(0, -1500);
  await page.getByRole("button", { name: "Follow" }).waitFor();
});

it("comes to a history's beginning by scrolling up", async () => {
  await log("task-long", Array.from({ length: 2500 }, (_, n) => step("task-long", n, { metadata: { n } })));
  const total = async () => ((await (await fetch(`${address()}/api/tasks/task-long/logs/stats`)).json()) as { total?: number }).total;
  await until(total, (lines) => lines === 2500, "all lines");
  const page = await visit("/task/task-long");
  await until(() => messages(page), (shown) => shown.includes("step 2499"));
  await page.getByRole("group", { name: "Lines of the task" }).focus();
  const further = async () => {
    await page.keyboard.press("Home");
    return messages(page);
  };
  await until(further, (shown) => shown.includes("step 0"), "the beginning");
});

it("asks for an id, and waits for a task that is not there yet", async () => {
  const page = await visit("/task", { expected: /404/ });
  await page.getByLabel("Task id").fill("task-later");
  await page.keyboard.press("Enter");
  await page.getByText("No line yet").waitFor();
  expect(await page.getByRole("link", { name: "Its records in the logs" }).getAttribute("href")).toBe("/?q=taskId%3Dtask-later");
  await page.getByText("live", { exact: true }).waitFor();
  await log("task-later", [step("task-later", 1, { time: new Date().toISOString() })]);
  await until(() => messages(page), (shown) => shown.includes("step 1"), "its first line");
});

it.each(["light", "dark"] as const)("keeps the rules of accessibility in the %s theme", async (colorScheme) => {
  await run(`task-${colorScheme}`);
  const page = await visit(`/task/task-${colorScheme}?source=plugin&level=DEBUG&level=INFO`, { colorScheme });
  await until(() => messages(page), (shown) => shown.includes("step 9"));
  await accessible(page);
});
