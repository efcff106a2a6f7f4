// Who called: file, line and function of the first frame outside of this package. A stack costs microseconds, so only who asks for it gets it.

import { basename, dirname } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(__filename);

interface Place {
  file?: string;
  line?: number;
  function?: string;
}

export function caller(): Place {
  const [prepare, limit] = [Error.prepareStackTrace, Error.stackTraceLimit];
  try {
    Error.stackTraceLimit = 15;
    Error.prepareStackTrace = (_, frames) => frames;
    const frames = new Error().stack as unknown as NodeJS.CallSite[];
    Error.prepareStackTrace = prepare;
    for (const frame of frames) {
      const file = path(frame.getFileName());
      if (file === undefined || dirname(file) === HERE || file.startsWith("node:")) continue;
      return { file, line: frame.getLineNumber() ?? undefined, function: frame.getFunctionName() ?? `<${basename(file)}>` };
    }
    return {};
  } catch {
    return {};
  } finally {
    Error.prepareStackTrace = prepare;
    Error.stackTraceLimit = limit;
  }
}

function path(name: string | null | undefined): string | undefined {
  if (!name) return undefined;
  return name.startsWith("file:") ? fileURLToPath(name) : name;
}
