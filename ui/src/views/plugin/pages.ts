// Which page numbers are offered: pure. People count pages from 1; nobody knows how many there are.

export const SIZES = [100, 250, 1000] as const;

/** What an address says of a page, or the first. */
export function pageOf(text: string): number {
  const page = /^[1-9]\d{0,6}$/.test(text) ? Number(text) : 1;
  return Math.min(page, 1_000_001);
}

/** The first, those around this one, and the one behind it if this one is full. `null`: some are left out. */
export function offered(page: number, full: boolean): (number | null)[] {
  const from = Math.max(1, page - 3);
  const numbers: (number | null)[] = from > 1 ? [1] : [];
  if (from > 2) numbers.push(null);
  for (let n = from; n <= page + (full ? 1 : 0); n++) numbers.push(n);
  return numbers;
}
