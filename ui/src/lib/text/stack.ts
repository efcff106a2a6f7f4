// A stack trace as frames, those of the application's own code apart from those of libraries. The rules are those of signatures (core/src/signature). Pure.

import { DOTNET, FOREIGN_PATHS, GO, JAVA, RUST } from "./libraries";

export interface Frame {
  /** As it was written: a line, or two where the place stands on its own. */
  text: string;
  own: boolean;
}

export type Part = { kind: "text"; text: string } | { kind: "frames"; frames: Frame[] };

const foreign = (text: string) => FOREIGN_PATHS.some((part) => text.includes(part));
const begins = (name: string, list: readonly string[]) => list.some((prefix) => name.startsWith(prefix));

/** `<core::pin::Pin<P> as core::future::Future>::poll` is of `core`. */
function isOwnCrate(name: string): boolean {
  const crate = /^\w*/.exec(name.replace(/^[<&*([]+/, "").replace(/^(?:mut|dyn) /, ""))![0];
  return crate !== "" && !crate.startsWith("_") && !RUST.includes(crate);
}

/** What a trace is made of, in its order. */
export function stackParts(stack: string): Part[] {
  const lines = stack.split(/\r?\n/);
  const parts: Part[] = [];
  const text = (line: string) => {
    const last = parts[parts.length - 1];
    if (last?.kind === "text") last.text += `\n${line}`;
    else parts.push({ kind: "text", text: line });
  };
  for (let n = 0; n < lines.length; n++) {
    const line = lines[n]!;
    const found = frameAt(line, lines[n + 1] ?? "");
    if (!found) {
      if (line.trim() !== "") text(line);
      continue;
    }
    n += found.lines - 1;
    const last = parts[parts.length - 1];
    if (last?.kind === "frames") last.frames.push(found.frame);
    else parts.push({ kind: "frames", frames: [found.frame] });
  }
  return parts;
}

function frameAt(line: string, next: string): { frame: Frame; lines: number } | null {
  const trimmed = line.trim();
  const one = (own: boolean) => ({ frame: { text: trimmed, own }, lines: 1 });
  const two = (own: boolean) => ({ frame: { text: `${trimmed}\n    ${next.trim()}`, own }, lines: 2 });

  const python = /^File "([^"]+)", line \d+/.exec(trimmed);
  if (python) {
    const own = !foreign(python[1]!) && !python[1]!.startsWith("<");
    // The line of code stands below it.
    const code = /^\s{4,}\S/.test(next) && !next.trim().startsWith('File "');
    return code ? two(own) : one(own);
  }
  const at = /^at ((?:async )?\S+:\d+:\d+|.*\(.*)$/.exec(trimmed);
  if (at) return one(ownAt(at[1]!));
  if (/^\s+\S+\.go:\d+/.test(next) && trimmed !== "" && !/^(?:goroutine |created by )/.test(trimmed)) return two(!foreign(next) && !begins(trimmed, GO) && trimmed !== "panic");
  const rust = /^\d{1,4}: (?:\s*0x[0-9a-f]+ - )?(\S.*)$/.exec(trimmed);
  if (rust && (rust[1]!.includes("::") || /^\w+$/.test(rust[1]!))) {
    const place = /^\s+at \S/.test(next);
    const own = isOwnCrate(rust[1]!) && !(place && foreign(next));
    return place ? two(own) : one(own);
  }
  return null;
}

/** What follows `at`: of Node, Java or .NET. */
function ownAt(rest: string): boolean {
  if (foreign(rest)) return false;
  if (/^(?:async )?\S+:\d+:\d+$/.test(rest)) return true;
  const open = rest.indexOf("(");
  const name = open < 0 ? rest : rest.slice(0, open);
  if (name.endsWith(" ")) return /:\d+:\d+\)$/.test(rest) && !rest.includes("<anonymous>");
  const plain = name.slice(name.lastIndexOf("/") + 1);
  return !begins(plain, JAVA) && !begins(plain, DOTNET);
}
