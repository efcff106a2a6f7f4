// What the palette offers for what is typed: where to go, what to search for, how to show times. Pure.
import type { IconName } from "$lib/components/icons";
import type { Theme } from "$lib/settings.svelte";
import { clicked } from "$lib/filter";
import { href } from "$lib/url/state.svelte";
import type { View } from "../views";

export interface Command {
  id: string;
  /** What kind of thing it is. */
  kind: string;
  label: string;
  icon: IconName;
  /** Where it leads; or what it sets. */
  go?: string;
  zone?: "utc" | "local";
  theme?: Theme;
}

export interface Known {
  views: readonly Pick<View, "name" | "path" | "label" | "icon">[];
  zone: "utc" | "local";
  theme: Theme;
  /** Searches that were kept: their names and the queries of their addresses. */
  searches: readonly { name: string; query: string }[];
  /** The last filters, the latest first. */
  history: readonly string[];
}

const THEME_COMMANDS: readonly Command[] = [
  { id: "theme system", kind: "Theme", label: "Light or dark as the system is", icon: "theme", theme: "system" },
  { id: "theme light", kind: "Theme", label: "Light theme", icon: "theme", theme: "light" },
  { id: "theme dark", kind: "Theme", label: "Dark theme", icon: "theme", theme: "dark" },
];
const HISTORY_SHOWN = 5;
/** As tasks and plugins are called: a text with spaces is none. */
const ID = /^[\w.:-]{1,200}$/;
const GROUP = /^v\d+:[0-9a-f]+$/i;

/** What fits what is typed, the best first; then what can be made of the text itself. */
export function offered(typed: string, known: Known): Command[] {
  const text = typed.trim();
  const fixed = commands(known);
  if (!text) return fixed;
  const fitting = fixed
    .map((command, n) => ({ command, n, fit: fit(text, command.label) ?? fit(text, `${command.kind} ${command.label}`) }))
    .filter((one): one is { command: Command; n: number; fit: number } => one.fit !== null)
    .sort((a, b) => a.fit - b.fit || a.n - b.n)
    .map(({ command }) => command);
  return [...fitting, ...made(text, known)];
}

function commands({ views, zone, theme, searches, history }: Known): Command[] {
  return [
    ...views.map(({ name, path, label, icon }) => ({ id: `view ${name}`, kind: "Go to", label, icon, go: path })),
    ...searches.map(({ name, query }) => ({ id: `search ${name}`, kind: "Saved search", label: name, icon: "star" as const, go: query ? `/?${query}` : "/" })),
    ...history.slice(0, HISTORY_SHOWN).map((filter) => ({ id: `history ${filter}`, kind: "Searched before", label: filter, icon: "clock" as const, go: href("/", { q: filter }) })),
    ...THEME_COMMANDS.filter((command) => command.theme !== theme),
    zone === "utc"
      ? { id: "zone", kind: "Times", label: "Show local times", icon: "clock", zone: "local" }
      : { id: "zone", kind: "Times", label: "Show times in UTC", icon: "clock", zone: "utc" },
  ];
}

function made(text: string, { views }: Known): Command[] {
  const all: Command[] = [];
  const at = (name: string) => views.find((view) => view.name === name);
  const into = (name: string, kind: string) => {
    const view = at(name);
    if (view && ID.test(text)) all.push({ id: `${name} id`, kind, label: text, icon: view.icon, go: `${view.path}/${encodeURIComponent(text)}` });
  };
  if (GROUP.test(text)) into("errors", "Group of errors");
  else {
    into("task", "Task");
    into("plugin", "Plugin");
    if (ID.test(text) && at("logs")) all.push({ id: "service", kind: "Logs of the service", label: text, icon: "logs", go: href("/", { q: clicked("", "service", text, "only") }) });
    if (ID.test(text) && at("levels")) all.push({ id: "level", kind: "Level of the service", label: text, icon: "levels", go: href("/levels", { service: text }) });
  }
  all.push({ id: "filter", kind: "Search the logs", label: text, icon: "search", go: href("/", { q: text }) });
  return all;
}

/** How well a label fits; `null`: not. Its begin is best, then the begin of a word, then anywhere, then its letters in order. */
function fit(text: string, label: string): number | null {
  const [wanted, given] = [text.toLowerCase(), label.toLowerCase()];
  if (given.startsWith(wanted)) return 0;
  if (given.includes(` ${wanted}`)) return 1;
  if (given.includes(wanted)) return 2;
  let from = 0;
  for (const letter of wanted.replace(/\s/g, "")) {
    from = given.indexOf(letter, from) + 1;
    if (from === 0) return null;
  }
  return wanted.length >= 2 && given.length <= 40 ? 3 : null;
}
