// The one store of what the address says. Whatever a view shows is in the address: views read it here and change it here, and Back undoes it.

export type Change = Record<string, string | readonly string[] | null | undefined>;

class UrlState {
  path = $state(location.pathname);
  /** Never changed in place. */
  query = $state.raw(new URLSearchParams(location.search));

  constructor() {
    addEventListener("popstate", () => this.#read());
  }

  #read(): void {
    this.path = location.pathname;
    this.query = new URLSearchParams(location.search);
  }

  /** Empty where the address does not say it. */
  get(name: string): string {
    return this.query.get(name) ?? "";
  }

  all(name: string): string[] {
    return this.query.getAll(name);
  }

  has(name: string): boolean {
    return this.query.has(name);
  }

  /** The address of this view with changes: `null` or an empty text takes a name out. */
  with(change: Change): string {
    return href(this.path, changed(this.query, change));
  }

  /** `replace`: no step for Back to come to (what is typed letter by letter, what only follows). */
  set(change: Change, { replace = false } = {}): void {
    this.go(this.with(change), { replace });
  }

  go(address: string, { replace = false } = {}): void {
    if (address === location.pathname + location.search) return;
    history[replace ? "replaceState" : "pushState"](null, "", address);
    this.#read();
  }
}

export function changed(query: URLSearchParams, change: Change): URLSearchParams {
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(change)) {
    next.delete(name);
    const values = value === null || value === undefined || value === "" ? [] : [value].flat();
    for (const one of values) next.append(name, one);
  }
  return next;
}

export function href(path: string, query: URLSearchParams | Change = {}): string {
  const parameters = query instanceof URLSearchParams ? query : changed(new URLSearchParams(), query);
  // Readable in an address bar: only what must be is written as %XX.
  const text = parameters
    .toString()
    .replace(/%3A/g, ":")
    .replace(/%2C/g, ",")
    .replace(/%2F/g, "/");
  return text ? `${path}?${text}` : path;
}

export const url = new UrlState();
