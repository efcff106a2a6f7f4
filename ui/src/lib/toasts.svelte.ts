// What is told in passing ("copied"), with at most one thing to do about it.

export interface Toast {
  text: string;
  action?: { label: string; run: () => void };
}

class Toasts {
  now = $state.raw<Toast | null>(null);
  #timer: ReturnType<typeof setTimeout> | undefined;

  say(text: string, action?: Toast["action"]): void {
    clearTimeout(this.#timer);
    this.now = { text, action };
    this.#timer = setTimeout(() => (this.now = null), action ? 8000 : 2500);
  }

  dismiss(): void {
    this.now = null;
  }
}

export const toasts = new Toasts();
