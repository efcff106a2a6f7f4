// Delivery: records wait in memory until there are 50, 5 s have passed, one is an ERROR, or the process ends. Writing never waits for a reader:
// what does not fit stays, and beyond the bound the lowest level goes first. What went is counted and told by a record of its own.
// Whole lines are written in pieces that a pipe takes in one go (PIPE_BYTES), so no line of that size is ever torn.

import { AUDIT, ERROR, levelName } from "./levels";
import type { Output } from "./output";

export interface Limits {
  /** So many records are written together. */
  records: number;
  /** A record waits no longer than this. */
  waitMs: number;
  /** What may wait while the output stalls; beyond it records are dropped. */
  bytesMax: number;
  recordsMax: number;
  /** How long the end of the process may wait for an output that stalls. */
  endMs: number;
}

export const LIMITS: Limits = { records: 50, waitMs: 5000, bytesMax: 8 << 20, recordsMax: 20_000, endMs: 1000 };
/** POSIX lets a pipe take this much at once or not at all (Linux). */
export const PIPE_BYTES = 4096;
const RETRY_MS = 50;
const FILE_CHARS = 1 << 20;

export type Dropped = Record<string, number>;

export class Delivery {
  readonly limits: Limits;
  #output: Output;
  #told: (dropped: Dropped, count: number) => string;
  #lines: string[] = [];
  #ranks: number[] = [];
  #chars = 0;
  /** The rest of a piece that the output took in part; it is never dropped, because its beginning is written. */
  #rest: Buffer | undefined;
  #restLines = 0;
  #timer: NodeJS.Timeout | undefined;
  #dropped: Dropped = {};
  #droppedCount = 0;
  #stalled = false;
  #closed = false;
  #ended = false;
  written = 0;
  lost = 0;

  /** `told` makes the record that says what was dropped. */
  constructor(output: Output, told: (dropped: Dropped, count: number) => string, limits: Partial<Limits> = {}) {
    this.#output = output;
    this.#told = told;
    this.limits = { ...LIMITS, ...limits };
  }

  /** Takes a line with its newline. `rank` is its level, AUDIT for an audit event. */
  push(rank: number, line: string): void {
    this.#lines.push(line);
    this.#ranks.push(rank);
    this.#chars += line.length;
    if (this.#stalled) this.#waiting(rank);
    else if (rank >= ERROR || this.#ended || this.#lines.length >= this.limits.records || this.#chars > this.limits.bytesMax) this.flush();
    else if (this.#timer === undefined) this.#later(this.limits.waitMs);
  }

  #waiting(rank: number): void {
    const over = this.#chars > this.limits.bytesMax || this.#lines.length > this.limits.recordsMax;
    if (rank >= ERROR || over) this.flush();
    if (this.#stalled && (this.#chars > this.limits.bytesMax || this.#lines.length > this.limits.recordsMax)) this.#shed();
  }

  #later(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.flush();
    }, ms);
    this.#timer.unref();
  }

  /** Writes what the output takes now. True when nothing waits any more. */
  flush(): boolean {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#closed) return this.#gone();
    const done = this.#drain() && this.#tell();
    this.#stalled = !done && !this.#closed;
    if (this.#stalled) {
      if (this.#chars > this.limits.bytesMax || this.#lines.length > this.limits.recordsMax) this.#shed();
      this.#later(RETRY_MS);
    }
    return this.#closed ? this.#gone() : done;
  }

  #drain(): boolean {
    if (this.#rest !== undefined) {
      const left = this.#write(this.#rest);
      if (left !== undefined) {
        this.#rest = left;
        return false;
      }
      this.written += this.#restLines;
      this.#rest = undefined;
    }
    const lines = this.#lines;
    const most = this.#output.isPipe ? PIPE_BYTES : FILE_CHARS;
    let at = 0;
    while (at < lines.length && this.#rest === undefined) {
      const { piece, end } = next(lines, at, most);
      const left = this.#write(piece);
      if (left === piece) break;
      if (left !== undefined) {
        this.#rest = left;
        this.#restLines = end - at;
      } else this.written += end - at;
      at = end;
    }
    this.#forget(at);
    return this.#lines.length === 0 && this.#rest === undefined;
  }

  #forget(count: number): void {
    if (count === this.#lines.length) {
      this.#lines = [];
      this.#ranks = [];
      this.#chars = 0;
      return;
    }
    if (count === 0) return;
    for (let i = 0; i < count; i++) this.#chars -= (this.#lines[i] as string).length;
    this.#lines.splice(0, count);
    this.#ranks.splice(0, count);
  }

  /** What of the piece is left: undefined for nothing, the same piece for all. */
  #write(piece: Buffer): Buffer | undefined {
    const taken = this.#output.write(piece);
    if (taken < 0) this.#closed = true;
    if (taken >= piece.length) return undefined;
    return taken <= 0 ? piece : piece.subarray(taken);
  }

  #tell(): boolean {
    if (this.#droppedCount === 0) return true;
    const [dropped, count] = [this.#dropped, this.#droppedCount];
    const piece = Buffer.from(this.#told(dropped, count));
    const left = this.#write(piece);
    if (left === piece) return false;
    this.#dropped = {};
    this.#droppedCount = 0;
    if (left === undefined) return true;
    this.#rest = left;
    this.#restLines = 0;
    return false;
  }

  /** Makes room: lowest level first, of one level the oldest first, down to seven eighths of the bound. */
  #shed(): void {
    let chars = this.#chars - (this.limits.bytesMax * 7) / 8;
    let records = this.#lines.length - (this.limits.recordsMax * 7) / 8;
    const goes = new Set<number>();
    for (const rank of [...new Set(this.#ranks)].sort((a, b) => a - b)) {
      for (let i = 0; i < this.#ranks.length && (chars > 0 || records > 0); i++) {
        if (this.#ranks[i] !== rank) continue;
        goes.add(i);
        chars -= (this.#lines[i] as string).length;
        records--;
      }
    }
    for (const at of goes) {
      this.#chars -= (this.#lines[at] as string).length;
      this.#count(this.#ranks[at] as number);
    }
    this.#lines = this.#lines.filter((_, at) => !goes.has(at));
    this.#ranks = this.#ranks.filter((_, at) => !goes.has(at));
  }

  #count(rank: number): void {
    const name = rank >= AUDIT ? "AUDIT" : levelName(rank);
    this.#dropped[name] = (this.#dropped[name] ?? 0) + 1;
    this.#droppedCount++;
    this.lost++;
  }

  /** Nobody reads any more: everything is dropped and counted. */
  #gone(): boolean {
    for (const rank of this.#ranks) this.#count(rank);
    this.lost += this.#rest === undefined ? 0 : this.#restLines;
    this.#rest = undefined;
    this.#forget(this.#lines.length);
    return true;
  }

  /**
   * The end of the process: waits for a stalled output, but no longer than `endMs`. Returns how many records could not be written, those among them
   * that were dropped and could not be told. What comes afterwards, of other handlers of the end, is written at once.
   */
  end(): number {
    this.#ended = true;
    const until = Date.now() + this.limits.endMs;
    while (!this.flush() && Date.now() < until) pause(5);
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    return this.#lines.length + (this.#rest === undefined ? 0 : this.#restLines) + this.#droppedCount;
  }

  /** How many records wait. */
  get waiting(): number {
    return this.#lines.length + (this.#rest === undefined ? 0 : this.#restLines);
  }
}

/** The next lines that together are at most `most` bytes; one line at least. */
function next(lines: string[], at: number, most: number): { piece: Buffer; end: number } {
  let text = lines[at] as string;
  let end = at + 1;
  while (end < lines.length && text.length + (lines[end] as string).length <= most) text += lines[end++];
  let piece = Buffer.from(text);
  // Characters outside ASCII take more bytes than one each.
  while (piece.length > most && end - at > 1) {
    end = at + Math.max(1, Math.floor(((end - at) * most) / piece.length));
    piece = Buffer.from(lines.slice(at, end).join(""));
  }
  return { piece, end };
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));
function pause(ms: number): void {
  Atomics.wait(sleeper, 0, 0, ms);
}
