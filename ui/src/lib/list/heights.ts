// Where the rows of a long list lie: measured heights where a row was shown, an estimate elsewhere. Pure, so that the arithmetic can be tested.

/** Measures of rows that are gone are dropped when so many are known. */
const PRUNED_FROM = 4000;

export class Heights<T> {
  readonly estimate: number;
  readonly #key: (item: T) => string;
  #items: readonly T[] = [];
  #first = "";
  #last = "";
  #measured = new Map<string, number>();
  #pruneAt = PRUNED_FROM;
  /** `#tops[i]`: where row i begins; one more than there are rows. Not kept while no row was measured. */
  #tops: Float64Array = new Float64Array(1);
  #valid = 0;

  constructor(estimate: number, key: (item: T) => string) {
    this.estimate = estimate;
    this.#key = key;
  }

  get count(): number {
    return this.#items.length;
  }

  /** Of so many rows something is known. */
  get known(): number {
    return this.#measured.size;
  }

  /** The rows, from the first on; what was measured of a key stays. */
  rows(items: readonly T[]): void {
    if (items === this.#items) return;
    const count = this.#items.length;
    const grew = count > 0 && items.length >= count && this.#key(items[0]!) === this.#first && this.#key(items[count - 1]!) === this.#last;
    this.#items = items;
    this.#first = items.length > 0 ? this.#key(items[0]!) : "";
    this.#last = items.length > 0 ? this.#key(items[items.length - 1]!) : "";
    if (!grew) this.#valid = 0;
    if (this.#measured.size > this.#pruneAt) this.#prune();
  }

  #prune(): void {
    const next = new Map<string, number>();
    for (const item of this.#items) {
      const key = this.#key(item);
      const height = this.#measured.get(key);
      if (height !== undefined) next.set(key, height);
    }
    this.#measured = next;
    this.#pruneAt = Math.max(PRUNED_FROM, next.size * 2);
  }

  /** True where the height is news. */
  measure(index: number, height: number): boolean {
    const item = this.#items[index];
    if (item === undefined || this.height(index) === height) return false;
    if (this.#measured.size === 0) this.#valid = 0;
    this.#measured.set(this.#key(item), height);
    this.#valid = Math.min(this.#valid, index);
    return true;
  }

  /** Forgets what was measured: the width has changed. */
  forget(): void {
    this.#measured.clear();
    this.#valid = 0;
  }

  height(index: number): number {
    const item = this.#items[index];
    if (item === undefined || this.#measured.size === 0) return this.estimate;
    return this.#measured.get(this.#key(item)) ?? this.estimate;
  }

  top(index: number): number {
    const wanted = Math.max(0, Math.min(index, this.#items.length));
    if (this.#measured.size === 0) return wanted * this.estimate;
    if (this.#tops.length < this.#items.length + 1) {
      const tops = new Float64Array(Math.ceil((this.#items.length + 1) * 1.5));
      tops.set(this.#tops.subarray(0, this.#valid + 1));
      this.#tops = tops;
    }
    for (; this.#valid < wanted; this.#valid++) {
      this.#tops[this.#valid + 1] = this.#tops[this.#valid]! + this.height(this.#valid);
    }
    return this.#tops[wanted]!;
  }

  total(): number {
    return this.top(this.#items.length);
  }

  /** The row at a place; the last one for what lies below all. */
  at(y: number): number {
    let low = 0;
    let high = Math.max(0, this.#items.length - 1);
    if (this.#measured.size === 0) return Math.max(0, Math.min(high, Math.floor(y / this.estimate)));
    this.total();
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#tops[middle]! <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Where a key is now, near where it was; -1 when it is gone. */
  find(key: string, near: number): number {
    const length = this.#items.length;
    const is = (index: number) => index >= 0 && index < length && this.#key(this.#items[index]!) === key;
    for (let step = 0; step < length; step++) {
      if (is(near - step)) return near - step;
      if (is(near + step)) return near + step;
      if (near - step < 0 && near + step >= length) return -1;
    }
    return -1;
  }
}
