// The lines of one task that are in the page: its history from the end backwards, and what comes.
import { api, ask, fetchRaw, type Schemas } from "$lib/api/client";
import { asProblem, type Problem } from "$lib/api/problem";
import { LiveLines } from "$lib/live/lines.svelte";
import { asked, joined, matcher, type TaskFilter, type TaskLine } from "./lines";

const PAGE = 1000;
/** Lines beyond this number are dropped at the beginning; scrolling up loads them again. */
const KEPT_MAX = 50_000;
const OVERLAP = 50;
/** Counts are asked for again so long after lines came. */
const STATS_MS = 1500;

export class TaskFeed {
  lines = $state.raw<TaskLine[]>([]);
  /** So many lines of the history are before the first. */
  before = $state(0);
  stats = $state.raw<Schemas["TaskStats"] | null>(null);
  problem = $state.raw<Problem | null>(null);
  busy = $state(false);
  /** It was asked for, and an answer is there. */
  shown = $state(false);
  /** What may be seen has changed while somebody looked. */
  rightsChanged = $state(false);
  /** Lines that came since it was last told to forget them. */
  fresh = $state(0);

  readonly live: LiveLines<TaskLine>;
  readonly #path: string;
  readonly #id: string;
  #namespace = "";
  #filter: TaskFilter | null = null;
  #run = 0;
  #older = false;
  #loaded: Promise<void> = Promise.resolve();
  #stats: ReturnType<typeof setTimeout> | undefined;

  constructor(id: string) {
    this.#id = id;
    this.#path = `/api/tasks/${encodeURIComponent(id)}/logs`;
    // A stream begins at its opening: what came before it is asked for behind it, so that nothing falls between.
    this.live = new LiveLines({ lines: (lines) => this.#came(lines), opened: () => void this.#catchUp(), changed: () => this.#reloadByRights() });
  }

  /** The view narrows at once what it already shows; this fetches the rest. */
  look(filter: TaskFilter, namespace: string): void {
    this.#filter = filter;
    this.#namespace = namespace;
    this.#run += 1;
    this.live.start(`${this.#path}/stream?${asked(filter, namespace)}`);
    this.#loaded = this.#load();
  }

  #reloadByRights(): void {
    this.rightsChanged = true;
    this.lines = [];
    this.stats = null;
    this.again();
  }

  again(): void {
    if (this.#filter) this.look(this.#filter, this.#namespace);
  }

  stop(): void {
    this.#run += 1;
    clearTimeout(this.#stats);
    this.live.stop();
  }

  async #page(offset: number, limit: number): Promise<Schemas["TaskLogs"]> {
    const query = asked(this.#filter!, this.#namespace);
    query.set("offset", String(offset));
    query.set("limit", String(limit));
    return (await (await fetchRaw(`${this.#path}?${query}`)).json()) as Schemas["TaskLogs"];
  }

  async #load(): Promise<void> {
    const run = ++this.#run;
    this.busy = true;
    try {
      let page = await this.#page(0, PAGE);
      if (page.total > PAGE) page = await this.#page(page.total - PAGE, PAGE);
      if (run !== this.#run) return;
      const last = page.items[page.items.length - 1];
      // What came live in the meantime, of this filter, stays.
      const fits = matcher(this.#filter!);
      const newer = this.lines.filter((line) => fits(line) && (!last || line.timestamp >= last.timestamp));
      this.lines = joined(page.items, newer);
      this.before = page.offset;
      this.problem = null;
      void this.#count();
    } catch (error) {
      if (run !== this.#run) return;
      const problem = asProblem(error);
      // A task that is not there yet is waited for.
      this.problem = problem.status === 404 ? null : problem;
      if (problem.status === 404) this.lines = [];
    }
    this.busy = false;
    this.shown = true;
  }

  /** What was stored since the last line in the page; a few lines more, for those that were stored out of their order. */
  async #catchUp(): Promise<void> {
    await this.#loaded;
    const run = this.#run;
    try {
      let from = Math.max(this.before, this.before + this.lines.length - OVERLAP);
      for (;;) {
        const page = await this.#page(from, PAGE);
        if (run !== this.#run) return;
        this.#came(page.items);
        from += page.items.length;
        if (from >= page.total || page.items.length === 0) break;
      }
      this.problem = null;
    } catch (error) {
      const problem = asProblem(error);
      if (run === this.#run && problem.status !== 404) this.problem = problem;
    }
  }

  /** Somebody came to the beginning of what is in the page. */
  async older(): Promise<void> {
    if (this.#older || this.before === 0) return;
    this.#older = true;
    const run = this.#run;
    const from = Math.max(0, this.before - PAGE);
    try {
      const page = await this.#page(from, this.before - from);
      if (run === this.#run) {
        this.lines = joined(page.items, this.lines);
        this.before = from;
        this.problem = null;
      }
    } catch (error) {
      if (run === this.#run) this.problem = asProblem(error);
    }
    this.#older = false;
  }

  #came(lines: TaskLine[]): void {
    const next = joined(this.lines, lines);
    this.fresh += next.length - this.lines.length;
    const over = Math.max(0, next.length - KEPT_MAX);
    this.lines = over > 0 ? next.slice(over) : next;
    this.before += over;
    this.#stats ??= setTimeout(() => void this.#count(), STATS_MS);
  }

  async #count(): Promise<void> {
    this.#stats = undefined;
    const params = { path: { task_id: this.#id }, query: { namespace: this.#namespace || undefined } };
    this.stats = await ask(api.GET("/api/tasks/{task_id}/logs/stats", { params })).catch(() => this.stats);
  }
}
