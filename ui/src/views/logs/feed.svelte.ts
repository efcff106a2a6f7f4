// The records that the log view holds: past and live in one list, from the oldest to the newest. It pages both ways, follows what comes, and holds
// what comes while somebody reads.
import { tick } from "svelte";
import { api, ask, type Schemas } from "$lib/api/client";
import { me } from "$lib/api/me.svelte";
import { asProblem, isAbort, type Problem } from "$lib/api/problem";
import { Pace } from "$lib/live/pace";
import { LiveStream } from "$lib/live/stream.svelte";
import { parseUs, rfc3339 } from "$lib/time";
import { gapRow, merged, recordRow, type Row } from "./rows";

type Page = Schemas["LogsPage"];

/** What is looked for, as the address says it. */
export interface Query {
  filter: string;
  from: string;
  to: string;
  /** A record's id or a time: the list opens there and not at its end. */
  at: string;
}

const PAGE = 200;
/** A search says this often how far it has come. */
const BUDGET_MS = 1000;
/** Records that the gateway may send before some are taken. */
const CREDIT = 2000;
const HELD_MAX = 5000;
/** So many that are taken may wait to be drawn: a page that nobody sees draws once a second or less. */
const UNDRAWN_MAX = 10_000;
export const ROWS_MAX = 100_000;

export class Feed {
  rows = $state.raw<readonly Row[]>([]);
  /** What came while the list stood still. */
  held = $state.raw<readonly Row[]>([]);
  following = $state(true);
  /** A first page is under way: the rows are those of the query before. */
  searching = $state(false);
  loadingOlder = $state(false);
  loadingNewer = $state(false);
  /** There is nothing older, or newer, that is not here. */
  atOldest = $state(false);
  atNewest = $state(false);
  /** How far the search has come where it is not at its end. */
  searchedBackTo = $state("");
  unindexed = $state.raw<readonly string[]>([]);
  problem = $state.raw<Problem | null>(null);
  /** What may be seen has changed while somebody looked. */
  rightsChanged = $state(false);
  /** Which query the rows are of. */
  shown = $state.raw<Query | null>(null);
  /** Raised with each first page. */
  epoch = $state(0);
  arrived = $state(0);
  readonly stream: LiveStream;

  #query: Query | null = null;
  #older: string | null = null;
  #newer: string | null = null;
  /** What failed last, to be asked again. */
  #failed: (() => Promise<void>) | null = null;
  #abort = new AbortController();
  #incoming: Row[] = [];
  readonly #pace = new Pace();
  #flushing: ReturnType<typeof setTimeout> | undefined;
  /** What was taken and not yet given back as credit. */
  #owed = 0;

  constructor() {
    this.stream = new LiveStream({
      records: (items) => this.#came(items.map(recordRow)),
      gap: (gap) => this.#came([gapRow(gap)]),
      error: (problem) => (this.problem = problem),
      changed: () => {
        this.rightsChanged = true;
        // What is shown may be what is not to be seen any more.
        this.rows = this.held = [];
        void me.load();
        if (this.#query) void this.search(this.#query);
      },
    });
  }

  get isLive(): boolean {
    return this.#query !== null && this.#query.to === "" && this.atNewest;
  }

  /** Starts a search. What is shown stays until the new query has its first records. */
  async search(query: Query): Promise<void> {
    if (query.at === "" && this.#query?.at) this.following = true;
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.stream.stop();
    this.#query = query;
    this.searching = true;
    this.searchedBackTo = "";
    this.held = [];
    this.#incoming = [];
    this.#owed = 0;
    try {
      await (query.at ? this.#around(query, signal) : this.#latest(query, signal));
      this.problem = null;
    } catch (error) {
      if (isAbort(error)) return;
      this.#fails(error, () => this.search(query));
    }
    if (!signal.aborted) this.searching = false;
  }

  #fails(error: unknown, what: () => Promise<void>): void {
    if (isAbort(error)) return;
    this.problem = asProblem(error);
    this.#failed = what;
  }

  /** Asks again for what failed; what is shown stays where it is. */
  async again(): Promise<void> {
    await this.#failed?.();
  }

  async #latest(query: Query, signal: AbortSignal): Promise<void> {
    let page = await this.#page(query, {}, signal);
    this.#begin(query, page.items ?? []);
    this.atNewest = true;
    // The stream goes on behind the newest record. Without one it begins now, and so sees what is stored from now on.
    this.#follow(query);
    this.#older = page.next ?? null;
    while (this.#goesOn(page, PAGE)) {
      page = await this.#page(query, { after: page.next! }, signal);
      this.#prepend(page);
    }
    this.atOldest = page.next == null;
  }

  async #around(query: Query, signal: AbortSignal): Promise<void> {
    // A time is a place before all records of its microsecond.
    const us = parseUs(query.at);
    const at = Number.isNaN(us) ? query.at : `${us}.0-0-0`;
    const [older, newer, own] = await Promise.all([
      this.#page(query, { after: at }, signal),
      this.#page(query, { before: at }, signal),
      Number.isNaN(us) ? this.#one(at, signal) : [],
    ]);
    this.#begin(query, [...(older.items ?? []), ...own, ...(newer.items ?? [])]);
    this.following = false;
    this.#older = older.next ?? null;
    this.atOldest = older.next == null;
    this.#newer = newer.previous ?? null;
    this.atNewest = newer.complete && (newer.previous == null || newer.items.length === 0);
    if (this.atNewest) this.#follow(query);
  }

  /** One that is gone, or not to be seen, leaves its place: its neighbours are shown. */
  async #one(id: string, signal: AbortSignal): Promise<Schemas["Record"][]> {
    try {
      return [await ask(api.GET("/api/platform/logs/{id}", { params: { path: { id } }, signal }))];
    } catch (error) {
      if (asProblem(error).status === 404) return [];
      throw error;
    }
  }

  #page(query: Query, place: { after?: string; before?: string }, signal: AbortSignal): Promise<Page> {
    const { filter, from, to } = query;
    const asked = {
      ...(filter ? { filter } : {}),
      ...(from ? { from } : {}),
      ...(to ? { to } : {}),
      ...place,
      limit: PAGE,
      budgetMs: BUDGET_MS,
    };
    return ask(api.GET("/api/platform/logs", { params: { query: asked as never }, signal }));
  }

  /** The budget ended before the page was full. */
  #goesOn(page: Page, wanted: number): boolean {
    this.searchedBackTo = page.complete ? "" : (page.searchedBackTo ?? "");
    return !page.complete && page.next != null && this.rows.length < wanted;
  }

  #begin(query: Query, items: Schemas["Record"][]): void {
    this.rows = merged([], items.map(recordRow));
    this.shown = query;
    this.#cleared = null;
    this.#older = this.#newer = null;
    this.atOldest = this.atNewest = false;
    this.epoch++;
  }

  #prepend(page: Page): void {
    this.rows = merged(this.rows, (page.items ?? []).map(recordRow));
    this.#older = page.next ?? null;
    this.unindexed = page.unindexed ?? [];
    this.atOldest = page.next == null;
  }

  async older(): Promise<void> {
    // What is before what was cleared would stand beside what comes, with a hole between.
    if (this.isCleared || this.loadingOlder || this.atOldest || this.#older === null || !this.#query || this.searching) return;
    const { signal } = this.#abort;
    this.loadingOlder = true;
    try {
      const wanted = this.rows.length + PAGE;
      let page;
      do {
        page = await this.#page(this.#query, { after: this.#older }, signal);
        this.#prepend(page);
      } while (this.#goesOn(page, wanted));
      this.problem = null;
    } catch (error) {
      this.#fails(error, () => this.older());
    }
    this.loadingOlder = false;
  }

  async newer(): Promise<void> {
    if (this.loadingNewer || this.atNewest || this.#newer === null || !this.#query || this.searching) return;
    const { signal } = this.#abort;
    this.loadingNewer = true;
    try {
      const page = await this.#page(this.#query, { before: this.#newer }, signal);
      this.rows = merged(this.rows, (page.items ?? []).map(recordRow));
      if (page.previous) this.#newer = page.previous;
      // An answer that names no page before it has the newest.
      this.atNewest = page.complete && (page.previous == null || page.items.length === 0);
      if (this.atNewest) this.#follow(this.#query);
      this.problem = null;
    } catch (error) {
      this.#fails(error, () => this.newer());
    }
    this.loadingNewer = false;
  }

  #follow(query: Query): void {
    if (query.to !== "") return;
    const newest = this.rows.findLast(({ kind }) => kind === "record");
    this.stream.start(query.filter, newest?.key ?? null, CREDIT);
  }

  #came(rows: Row[]): void {
    for (const row of rows) this.#incoming.push(row);
    this.#owed += rows.length;
    // What is read in time is asked for on, whether it is drawn already or not.
    if (this.#owed > CREDIT / 4 && this.following && this.#incoming.length < UNDRAWN_MAX) this.#giveBack();
    this.#flushing ??= setTimeout(() => this.#flush(), this.#pace.delayMs(performance.now()));
  }

  #giveBack(): void {
    this.stream.credit(this.#owed);
    this.#owed = 0;
  }

  #flush(): void {
    const begin = performance.now();
    this.#flushing = undefined;
    const rows = this.#incoming;
    this.#incoming = [];
    this.arrived += rows.length;
    if (this.following) this.#append(rows);
    else this.held = merged(this.held, rows);
    if (this.following || this.held.length < HELD_MAX) this.#giveBack();
    // Behind what this change draws.
    void tick().then(() => this.#pace.drew(rows.length, begin, performance.now()));
  }

  #append(rows: readonly Row[]): void {
    const all = merged(this.rows, rows);
    if (all.length <= ROWS_MAX * 1.1) {
      this.rows = all;
      return;
    }
    this.rows = all.slice(all.length - ROWS_MAX);
    this.#older = this.rows.find(({ kind }) => kind === "record")?.key ?? null;
    this.atOldest = false;
  }

  pause(): void {
    this.following = false;
  }

  resume(): void {
    this.following = true;
    if (!this.atNewest && this.#query) {
      void this.search({ ...this.#query, at: "" });
      return;
    }
    const { held } = this;
    this.held = [];
    this.#append(held);
    this.#giveBack();
  }

  /** Fills a gap by what a search finds within it, the newest of it first. */
  async fill(key: string): Promise<void> {
    const gap = this.rows.find((row) => row.key === key);
    if (gap?.kind !== "gap" || !this.#query) return;
    const { signal } = this.#abort;
    const range = { from: gap.fromUs === null ? "" : rfc3339(gap.fromUs), to: rfc3339(gap.us + 1) };
    try {
      let after = gap.next;
      let found: readonly Row[] = [];
      // What another gap brought already does not count: an answer shows something, or fills the gap.
      const here = new Set(this.rows.map((row) => row.key));
      let fresh = 0;
      do {
        const page: Page = await this.#page({ ...this.#query, ...range }, after ? { after } : {}, signal);
        const more = (page.items ?? []).map(recordRow);
        fresh += more.filter((row) => !here.has(row.key)).length;
        found = merged(found, more);
        after = page.next ?? undefined;
      } while (after && fresh < HELD_MAX);
      const before = this.rows.length;
      const rows = merged(this.rows.filter((row) => row.key !== key), found);
      const more = gap.count === null ? 0 : gap.count - (rows.length - (before - 1));
      // What was found may be of another gap too: then nobody knows how many are left.
      const left = more > 0 ? more : null;
      // Of a large gap a part is left, to be asked for again.
      this.rows = after && found[0] ? merged(rows, [{ ...gap, us: found[0].us, count: left, next: after }]) : rows;
      this.problem = null;
    } catch (error) {
      this.#fails(error, () => this.fill(key));
    }
  }

  /** What `clear` took away. It is of the query that is shown. */
  #cleared = $state.raw<readonly Row[] | null>(null);

  get isCleared(): boolean {
    return this.#cleared !== null;
  }

  clear(): void {
    this.#cleared = merged(merged(this.#cleared ?? [], this.rows), this.held);
    this.rows = [];
    this.held = [];
  }

  /** Back to what `clear` took away, with what came since. */
  undoClear(): void {
    if (this.#cleared) this.rows = merged(this.#cleared, this.rows);
    this.#cleared = null;
  }

  stop(): void {
    this.#abort.abort();
    this.stream.stop();
    clearTimeout(this.#flushing);
  }
}
