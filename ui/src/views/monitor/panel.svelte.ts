// One panel of the monitor: what came of its kind, as many rows as the page keeps, and what is held while somebody reads.
import { api, ask } from "$lib/api/client";
import { asProblem, type Problem } from "$lib/api/problem";
import { LiveLines } from "$lib/live/lines.svelte";
import { href } from "$lib/url/state.svelte";
import { frameOf, kept, type Kind, type MonitorFrame, type MonitorRow } from "./rows";

export const KEPT_MAX = 5000;

export class Panel {
  rows = $state.raw<MonitorRow[]>([]);
  held = $state.raw<MonitorRow[]>([]);
  /** Rows that were shown and then dropped. */
  gone = $state(0);
  /** Rows that came while the panel was paused, and were dropped unseen. */
  unseen = $state(0);
  paused = $state(false);
  /** What may be seen has changed while somebody looked. */
  rightsChanged = $state(false);
  problem = $state.raw<Problem | null>(null);

  readonly live: LiveLines<MonitorFrame>;
  readonly kind: Kind;
  #next = 0;
  #run = 0;

  constructor(kind: Kind) {
    this.kind = kind;
    this.live = new LiveLines({ lines: (frames) => this.#came(frames), changed: () => this.#reloadByRights() });
  }

  /** A filter with a mistake changes nothing: what was watched is watched on. What is shown stays. */
  async watch(filter: string): Promise<void> {
    const run = ++this.#run;
    if (filter !== "") {
      try {
        await ask(api.GET("/api/platform/logs", { params: { query: { filter, from: "-1s", limit: 1 } } }));
      } catch (error) {
        if (run === this.#run) this.problem = asProblem(error);
        return;
      }
    }
    if (run !== this.#run) return;
    this.problem = null;
    this.live.start(href("/ws/monitor", { category: this.kind, filter }));
  }

  stop(): void {
    this.#run += 1;
    this.live.stop();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    const { held } = this;
    this.held = [];
    this.gone += this.unseen;
    this.unseen = 0;
    this.#show(held);
  }

  clear(): void {
    this.rows = [];
    this.gone = 0;
  }

  #reloadByRights(): void {
    this.rightsChanged = true;
    this.rows = this.held = [];
    this.gone = this.unseen = 0;
  }

  #came(frames: MonitorFrame[]): void {
    const rows = frames.flatMap((frame) => frameOf(frame, this.kind, () => this.#next++) ?? []);
    if (!this.paused) return this.#show(rows);
    const next = kept(this.held, rows, KEPT_MAX);
    this.held = next.rows;
    this.unseen += next.gone;
  }

  #show(rows: readonly MonitorRow[]): void {
    const next = kept(this.rows, rows, KEPT_MAX);
    this.rows = next.rows;
    this.gone += next.gone;
  }
}
