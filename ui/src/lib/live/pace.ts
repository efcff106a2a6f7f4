// How often what comes is drawn. A few lines are drawn at once. More than anybody reads are drawn a few times a second, so that the page has time
// for its reader; a machine that draws slowly draws less often. Pure.

/** Within one picture of a screen. */
const AT_ONCE_MS = 16;
/** More lines than this in one change are no longer read one by one. */
const CALM = 20;
const BUSY_MS = 125;
/** Drawing takes at most so much of the time: one part in this many. */
const PART = 6;
const LONGEST_MS = 1000;

export class Pace {
  #next = 0;

  /** So long after now the next change is drawn. */
  delayMs(now: number): number {
    return Math.max(AT_ONCE_MS, this.#next - now);
  }

  /** A change of so many lines was drawn from one moment to another. */
  drew(lines: number, begin: number, end: number): void {
    const pause = lines > CALM ? Math.max(BUSY_MS, (end - begin) * PART) : 0;
    this.#next = begin + Math.min(LONGEST_MS, pause);
  }
}
