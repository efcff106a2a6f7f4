// Where the rows of a long list lie: measured heights where a row was shown, an estimate elsewhere. Pure, so that the arithmetic can be tested.

export class Heights {
  readonly estimate: number;
  #keys: readonly string[] = [];
  #measured = new Map<string, number>();
  /** `#tops[i]`: where row i begins; one more than there are rows. */
  #tops: Float64Array = new Float64Array(1);
  #valid = 0;

  constructor(estimate: number) {
    this.estimate = estimate;
  }

  get count(): number {
    return this.#keys.length;
  }

  /** The rows, from the first on; what was measured of a key stays. */
  rows(keys: readonly string[]): void {
    const old = this.#keys;
    const grew = old.length > 0 && keys.length >= old.length && keys[0] === old[0] && keys[old.length - 1] === old[old.length - 1];
    this.#keys = keys;
    if (this.#tops.length < keys.length + 1) {
      const tops = new Float64Array(Math.ceil((keys.length + 1) * 1.5));
      if (grew) tops.set(this.#tops.subarray(0, old.length + 1));
      this.#tops = tops;
    }
    if (!grew) this.#valid = 0;
  }

  /** True where the height is news. */
  measure(index: number, height: number): boolean {
    const key = this.#keys[index];
    if (key === undefined || this.height(index) === height) return false;
    this.#measured.set(key, height);
    this.#valid = Math.min(this.#valid, index);
    return true;
  }

  /** Forgets what was measured: the width has changed. */
  forget(): void {
    this.#measured.clear();
    this.#valid = 0;
  }

  height(index: number): number {
    const key = this.#keys[index];
    return (key === undefined ? undefined : this.#measured.get(key)) ?? this.estimate;
  }

  top(index: number): number {
    const wanted = Math.max(0, Math.min(index, this.#keys.length));
    for (; this.#valid < wanted; this.#valid++) {
      this.#tops[this.#valid + 1] = this.#tops[this.#valid]! + this.height(this.#valid);
    }
    return this.#tops[wanted]!;
  }

  total(): number {
    return this.top(this.#keys.length);
  }

  /** The row at a place; the last one for what lies below all. */
  at(y: number): number {
    let low = 0;
    let high = Math.max(0, this.#keys.length - 1);
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
    const length = this.#keys.length;
    for (let step = 0; step < length; step++) {
      if (this.#keys[near - step] === key) return near - step;
      if (this.#keys[near + step] === key) return near + step;
      if (near - step < 0 && near + step >= length) return -1;
    }
    return -1;
  }
}
