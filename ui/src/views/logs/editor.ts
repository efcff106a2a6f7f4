// The query box's editor (CodeMirror 6): one line, completion by the gateway, a mistake underlined at its place. A chunk of its own.
import { acceptCompletion, autocompletion, closeBrackets, completionStatus, startCompletion, type CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { EditorState, Prec, StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, keymap, placeholder, ViewPlugin, MatchDecorator, type DecorationSet, type ViewUpdate } from "@codemirror/view";
import { api, ask } from "$lib/api/client";

const MARK = Decoration.mark({ class: "q-mistake", attributes: { "aria-invalid": "true" } });
const mistaken = StateEffect.define<number | null>();
const mistake = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(value, transaction) {
    let next = transaction.docChanged ? Decoration.none : value;
    for (const effect of transaction.effects) {
      if (!effect.is(mistaken)) continue;
      const length = transaction.state.doc.length;
      if (effect.value === null || length === 0) next = Decoration.none;
      else {
        const from = Math.min(effect.value, length - 1);
        const rest = transaction.state.doc.sliceString(from);
        const word = /^[^\s()]+/.exec(rest)?.[0].length ?? 1;
        next = Decoration.set([MARK.range(from, Math.min(length, from + Math.max(1, word)))]);
      }
    }
    return next;
  },
  provide: (field) => EditorView.decorations.from(field),
});

const WORDS = new MatchDecorator({
  regexp: /"(?:[^"\\]|\\.)*"?|\b(?:AND|OR|NOT|IN|LIKE|CONTAINS|REGEXP|EXISTS)\b|[\w.]+(?=\s*(?:!=|>=|<=|[:=<>]))|(?:!=|>=|<=|[:=<>])/g,
  decoration: ([text]) => {
    const kind = text.startsWith('"') ? "q-text" : /^[A-Z]+$/.test(text) ? "q-word" : /^[\w.]+$/.test(text) ? "q-field" : "q-sign";
    return Decoration.mark({ class: kind });
  },
});
const coloured = ViewPlugin.fromClass(
  class {
    decorations: DecorationSet;
    constructor(view: EditorView) {
      this.decorations = WORDS.createDeco(view);
    }
    update(update: ViewUpdate) {
      this.decorations = WORDS.updateDeco(update, this.decorations);
    }
  },
  { decorations: (plugin) => plugin.decorations },
);

const FONT = { font: "400 12px/20px var(--font-mono)", fontVariantLigatures: "none" };
const theme = EditorView.theme({
  "&": { background: "none", color: "var(--text)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { ...FONT, overflow: "auto hidden", scrollbarWidth: "none" },
  ".cm-content": { padding: "0", caretColor: "var(--text)" },
  ".cm-line": { padding: "0" },
  ".cm-placeholder": { color: "var(--text-3)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".q-field": { color: "var(--info)" },
  ".q-word": { color: "var(--debug)" },
  ".q-text": { color: "var(--accent)" },
  ".q-mistake": { textDecoration: "underline wavy var(--error)", textUnderlineOffset: "3px" },
  ".cm-tooltip.cm-tooltip-autocomplete": {
    padding: "4px",
    border: "1px solid var(--line-strong)",
    borderRadius: "var(--radius)",
    background: "var(--surface)",
    boxShadow: "var(--shadow)",
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { ...FONT, maxHeight: "320px" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "2px 8px", borderRadius: "var(--radius-s)", color: "var(--text)" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": { background: "var(--selected)", color: "var(--text)" },
  ".cm-completionDetail": { marginLeft: "12px", color: "var(--text-3)", fontStyle: "normal" },
  ".cm-completionMatchedText": { color: "var(--accent)", textDecoration: "none" },
});

/** Characters, as the API counts them, to code units and back. */
const units = (text: string, characters: number) => [...text].slice(0, characters).join("").length;
const characters = (text: string) => [...text].length;

async function completed(context: CompletionContext): Promise<CompletionResult | null> {
  const text = context.state.doc.toString();
  if (!context.explicit && text.slice(0, context.pos).trim() === "") return null;
  const abort = new AbortController();
  context.addEventListener("abort", () => abort.abort());
  try {
    const query = { text, at: characters(text.slice(0, context.pos)) };
    const { from, items } = await ask(api.GET("/api/platform/logs/completion", { params: { query: query as never }, signal: abort.signal }));
    return {
      from: units(text, from),
      options: items.map((item) => ({
        label: item.text,
        type: item.kind,
        ...(item.count == null ? {} : { detail: Intl.NumberFormat("en").format(item.count) }),
      })),
      filter: false,
    };
  } catch {
    return null;
  }
}

export interface Editor {
  set(text: string): void;
  /** Characters before the mistake; `null`: there is none. */
  mistake(position: number | null): void;
  focus(): void;
  /** Goes on where a plain field was: what was marked, and completion of what was typed. */
  goOn(from: number, to: number, typed: boolean): void;
  destroy(): void;
}

export interface EditorOptions {
  parent: ShadowRoot;
  text: string;
  hint: string;
  onchange(text: string): void;
  onsubmit(text: string): void;
}

/**
 * What is typed over marked text: left to itself, the browser keeps the colours of what was there by a style of its own making, which the policy
 * that lets nothing inline run refuses and tells in the console.
 */
const overwriting = EditorView.domEventHandlers({
  beforeinput(event, view) {
    if (event.inputType !== "insertText" || event.data === null || event.isComposing || view.state.selection.main.empty) return false;
    view.dispatch(view.state.replaceSelection(event.data), { userEvent: "input.type", scrollIntoView: true });
    return true;
  },
});

export function editor({ parent, text, hint, onchange, onsubmit }: EditorOptions): Editor {
  const view = new EditorView({
    parent,
    root: parent,
    state: EditorState.create({
      doc: text,
      extensions: [
        Prec.highest(
          keymap.of([
            {
              key: "Enter",
              run: (view) => {
                if (completionStatus(view.state) === "active" && acceptCompletion(view)) return true;
                onsubmit(view.state.doc.toString());
                return true;
              },
            },
            { key: "Tab", run: acceptCompletion },
            { key: "Ctrl-Space", run: startCompletion },
            { key: "Escape", run: (view) => (completionStatus(view.state) === null ? (view.contentDOM.blur(), true) : false) },
          ]),
        ),
        EditorState.transactionFilter.of((transaction) => (transaction.newDoc.lines > 1 ? [transaction, { changes: { from: 0, to: transaction.newDoc.length, insert: transaction.newDoc.toString().replace(/\n/g, " ") }, sequential: true }] : transaction)),
        overwriting,
        history(),
        closeBrackets(),
        autocompletion({ override: [completed], icons: false, activateOnTypingDelay: 120, selectOnOpen: false }),
        keymap.of([...defaultKeymap, ...historyKeymap]),
        mistake,
        coloured,
        theme,
        placeholder(hint),
        EditorView.contentAttributes.of({ "aria-label": "Filter", spellcheck: "false", autocapitalize: "off" }),
        EditorView.updateListener.of((update) => update.docChanged && onchange(update.state.doc.toString())),
      ],
    }),
  });
  return {
    set(next) {
      if (next !== view.state.doc.toString()) view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: next } });
    },
    mistake(position) {
      view.dispatch({ effects: mistaken.of(position === null ? null : units(view.state.doc.toString(), position)) });
    },
    focus: () => view.focus(),
    goOn(from, to, typed) {
      view.dispatch({ selection: { anchor: from, head: to } });
      view.focus();
      if (typed) startCompletion(view);
    },
    destroy: () => view.destroy(),
  };
}
