// Searches that this browser remembers: those that somebody kept under a name, and the last ones. Its other tabs keep theirs beside them.
import { keep, kept } from "$lib/storage";

export interface Search {
  name: string;
  /** The address's query, without the range of a moment. */
  query: string;
}

const HISTORY_MAX = 20;

const isText = (value: unknown): value is string => typeof value === "string";

/** Those that can be shown, each name once. */
export function searchesOf(value: readonly unknown[]): Search[] {
  const named = new Map<string, Search>();
  for (const one of value as (Partial<Search> | null)[]) if (isText(one?.name) && isText(one.query)) named.set(one.name, { name: one.name, query: one.query });
  return [...named.values()];
}

export function historyOf(value: readonly unknown[]): string[] {
  return [...new Set(value.filter(isText))].slice(0, HISTORY_MAX);
}

class Saved {
  searches = $state.raw<readonly Search[]>([]);
  history = $state.raw<readonly string[]>([]);

  constructor() {
    this.#read();
    addEventListener("storage", ({ key }) => (key === "cordwood.searches" || key === "cordwood.history") && this.#read());
  }

  #read(): void {
    this.searches = searchesOf(kept<unknown[]>("searches", [], Array.isArray));
    this.history = historyOf(kept<unknown[]>("history", [], Array.isArray));
  }

  save(name: string, query: string): void {
    this.searches = [...this.searches.filter((one) => one.name !== name), { name, query }];
    keep("searches", this.searches);
  }

  remove(name: string): void {
    this.searches = this.searches.filter((one) => one.name !== name);
    keep("searches", this.searches);
  }

  remember(filter: string): void {
    this.history = [filter, ...this.history.filter((one) => one !== filter)].slice(0, HISTORY_MAX);
    keep("history", this.history);
  }
}

export const saved = new Saved();
