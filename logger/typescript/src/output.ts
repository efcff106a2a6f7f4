// Where lines go. Standard output is opened so that writing never waits: a pipe or terminal by its own description (other processes
// that share it keep theirs), a socket by the description that there is.

import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";

export interface Output {
  /** Whether only pieces of PIPE_BYTES are taken whole or not at all. */
  readonly isPipe: boolean;
  /** How many bytes were taken; 0 when none are taken now; less than 0 when never again. */
  write(piece: Buffer): number;
}

const AGAIN = new Set(["EAGAIN", "EWOULDBLOCK", "EINTR", "ENOBUFS", "ENOSPC", "EDQUOT"]);

export class FileOutput implements Output {
  readonly isPipe: boolean;
  #fd: number;

  constructor(fd: number) {
    const stat = statOf(fd);
    this.isPipe = stat === undefined || !stat.isFile();
    // Whatever gets the number of a closed one later is not ours.
    this.#fd = stat === undefined ? -1 : stat.isFile() ? fd : withoutWaiting(fd);
  }

  write(piece: Buffer): number {
    let taken = 0;
    while (taken < piece.length) {
      try {
        taken += writeSync(this.#fd, piece, taken);
      } catch (error) {
        if (AGAIN.has((error as NodeJS.ErrnoException).code ?? "")) return taken;
        return -1;
      }
    }
    return taken;
  }

  close(): void {
    if (this.#fd > 2) closeSync(this.#fd);
  }
}

function statOf(fd: number) {
  try {
    return fstatSync(fd);
  } catch {
    return undefined;
  }
}

function withoutWaiting(fd: number): number {
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    // A socket, or no /proc: Node's own stream makes the description one that does not wait.
    if (fd === 1) void process.stdout.writable;
    if (fd === 2) void process.stderr.writable;
    return fd;
  }
}

/** Lines into memory, for tests of applications and of this package. */
export class MemoryOutput implements Output {
  readonly isPipe = false;
  text = "";
  write(piece: Buffer): number {
    this.text += piece.toString("utf8");
    return piece.length;
  }
}
