// Searches that this browser remembers: those that somebody kept under a name, and the last ones.
import { keep, kept } from "$lib/settings.svelte";

export interface Search {
  name: string;
  /** The address's query, without the range of a moment. */
  query: string;
}

const HISTORY_MAX = 20;

class Saved {
  searches = $state.raw<readonly Search[]>(kept<Search[]>("searches", []));
  history = $state.raw<readonly string[]>(kept<string[]>("history", []));

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
