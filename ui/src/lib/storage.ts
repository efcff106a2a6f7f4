// What this browser keeps, for itself or for a tab. A browser may keep nothing, and what it kept may be of another version or of anybody's making.

type Where = "localStorage" | "sessionStorage";

/** `null`: nothing is kept under the name, or the browser does not say it. */
export function stored(where: Where, name: string): string | null {
  try {
    return window[where].getItem(name);
  } catch {
    return null;
  }
}

/** `null` takes it away. A browser that keeps nothing still shows everything. */
export function store(where: Where, name: string, text: string | null): void {
  try {
    if (text === null) window[where].removeItem(name);
    else window[where].setItem(name, text);
  } catch {
    // It is known for as long as the page is there.
  }
}

/** What was kept as JSON, where it is of the kind that is read. */
export function kept<T>(name: string, otherwise: T, isOne: (value: unknown) => boolean = (value) => typeof value === typeof otherwise): T {
  try {
    const value: unknown = JSON.parse(stored("localStorage", `cordwood.${name}`) ?? "");
    return isOne(value) ? (value as T) : otherwise;
  } catch {
    return otherwise;
  }
}

export function keep(name: string, value: unknown): void {
  store("localStorage", `cordwood.${name}`, JSON.stringify(value));
}
