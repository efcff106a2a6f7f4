// The same question for a shell. Pure.
import type { Query } from "./feed.svelte";

/** For a shell: what is in single quotes is taken as it is. */
function shell(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replace(/'/g, `'\\''`)}'`;
}

export function curl(origin: string, { filter, from, to }: Query): string {
  const parts = [
    ["filter", filter],
    ["from", from],
    ["to", to],
  ].filter(([, value]) => value);
  const data = parts.map(([name, value]) => ` --data-urlencode ${shell(`${name}=${value}`)}`).join("");
  return `curl -sG ${shell(`${origin}/api/platform/logs`)}${data}`;
}

export function cordwood({ filter, from, to }: Query): string {
  const since = from ? ` --since ${shell(from.replace(/^-/, ""))}` : "";
  const until = to ? ` --until ${shell(to.replace(/^-/, ""))}` : "";
  return `cordwood query${since}${until}${filter ? ` -- ${shell(filter)}` : ""}`;
}
