/** What is cut off, or wider than what holds it and does not scroll. */
export function overflowing(): string[];
