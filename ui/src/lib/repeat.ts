// Something that is done again and again for as long as somebody looks at the page.

/** Every so many milliseconds after it ended, not while the page is hidden, and at once when it is seen again. The answer ends it. */
export function repeat(ms: () => number, what: () => Promise<void> | void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let over = false;
  let running = false;

  async function round(): Promise<void> {
    clearTimeout(timer);
    if (over || running) return;
    if (!document.hidden) {
      running = true;
      await what();
      running = false;
    }
    if (!over) timer = setTimeout(() => void round(), ms());
  }
  const seen = () => void (document.hidden || round());
  document.addEventListener("visibilitychange", seen);
  timer = setTimeout(() => void round(), ms());
  return () => {
    over = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
  };
}
