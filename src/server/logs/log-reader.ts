// Reads a container's log over its rotated files, from wherever the client wants to start, and follows it (H-259 …
// H-261f). Bytes come out as the container wrote them. Memory does not grow with the size of the log.
import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { LogLine } from '../../api/cri-log.ts';
import { linkSignals } from '../../std/async.ts';
import { type Clock, fromRfc3339, type Instant } from '../../std/clock.ts';
import { AgentError, systemCode } from '../../std/errors.ts';
import { detectFormat, type LogFormat, parseLogLine, withNanoseconds } from './log-line.ts';

export interface LogOptions {
  /** The current file; rotated ones are beside it (`0.log.20260102-150405`, `….gz`). */
  readonly path: string;
  /** Only the last so many lines of the file. */
  readonly tailLines?: number | undefined;
  readonly since?: Instant | undefined;
  readonly timestamps: boolean;
  readonly limitBytes?: number | undefined;
  /** Goes on until the container has ended and everything was read. */
  readonly follow: boolean;
  readonly stream?: 'stdout' | 'stderr' | undefined;
}

export interface LogDeps {
  readonly clock: Clock;
  /** Asked about once a second while following. */
  isRunning(signal: AbortSignal): Promise<boolean>;
}

const blockSize = 64 * 1024;
/** Runtimes cut lines at 16 KiB; whatever is longer than this is no log line. */
const maxLineBytes = 16 * 1024 * 1024;
/** A rotated archive is unpacked in memory; larger ones are left out. */
const maxArchiveBytes = 256 * 1024 * 1024;
const pollMs = 1000;
const newline = 0x0a;
const unpack = promisify(gunzip);

/** Lines → the bytes a client sees. */
class LogPrinter {
  readonly #options: LogOptions;
  #format: LogFormat | undefined;
  #printed = 0;
  /** Streams that are inside a line: its time was already printed. */
  readonly #inside = new Set<LogLine['stream']>();

  constructor(options: LogOptions) {
    this.#options = options;
  }

  get isFull(): boolean {
    return this.#options.limitBytes !== undefined && this.#printed >= this.#options.limitBytes;
  }

  /** Another file starts: it may have another format. */
  nextFile(): void {
    this.#format = undefined;
  }

  print(raw: Buffer, out: Uint8Array[]): void {
    this.#format ??= detectFormat(raw);
    const line = this.#format === undefined ? undefined : parseLogLine(raw, this.#format);
    if (line === undefined) return;
    const { since, timestamps, stream } = this.#options;
    if (stream !== undefined && line.stream !== stream) return;
    if (since !== undefined && (fromRfc3339(line.time) ?? 0) < since) return;
    if (timestamps && !this.#inside.has(line.stream)) this.#emit(Buffer.from(`${withNanoseconds(line.time)} `), out);
    this.#emit(line.content, out);
    if (line.isComplete) {
      this.#emit(Buffer.of(newline), out);
      this.#inside.delete(line.stream);
    } else {
      this.#inside.add(line.stream);
    }
  }

  #emit(bytes: Uint8Array, out: Uint8Array[]): void {
    const left = (this.#options.limitBytes ?? Number.POSITIVE_INFINITY) - this.#printed;
    const piece = bytes.length > left ? bytes.subarray(0, left) : bytes;
    if (piece.length === 0) return;
    this.#printed += piece.length;
    out.push(piece);
  }
}

/** Splits what is appended into lines; keeps an unfinished one for later. */
class LineSplitter {
  #rest: Buffer = Buffer.alloc(0);
  #skipping = false;

  *split(block: Buffer): Iterable<Buffer> {
    let start = 0;
    for (let end = block.indexOf(newline); end >= 0; end = block.indexOf(newline, start)) {
      const piece = block.subarray(start, end);
      start = end + 1;
      if (!this.#skipping) yield this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
      this.#skipping = false;
      this.#rest = Buffer.alloc(0);
    }
    const tail = block.subarray(start);
    if (this.#rest.length + tail.length > maxLineBytes) {
      this.#skipping = true;
      this.#rest = Buffer.alloc(0);
    } else if (tail.length > 0 && !this.#skipping) {
      // A copy: the block's memory is used again for the next read.
      this.#rest = Buffer.concat([this.#rest, tail]);
    }
  }
}

/** An uncompressed file, or the unpacked contents of an archive. */
interface Segment {
  read(buffer: Buffer, position: number): Promise<number>;
  size(): Promise<number>;
  close(): Promise<void>;
}

const fileSegment = (file: FileHandle): Segment => ({
  read: async (buffer, position) => (await file.read(buffer, 0, buffer.length, position)).bytesRead,
  size: async () => (await file.stat()).size,
  close: () => file.close(),
});

async function openSegment(file: string): Promise<Segment | undefined> {
  try {
    const handle = await open(file, 'r');
    if (!file.endsWith('.gz')) return fileSegment(handle);
    try {
      const { size } = await handle.stat();
      if (size > maxArchiveBytes) return undefined;
      const content = await unpack(await handle.readFile(), { maxOutputLength: maxArchiveBytes });
      return {
        read: async (buffer, position) => content.copy(buffer, 0, position),
        size: async () => content.length,
        close: async () => undefined,
      };
    } finally {
      await handle.close();
    }
  } catch (error) {
    // Deleted or packed meanwhile, or not an archive after all: its lines are gone.
    if (systemCode(error) !== undefined) return undefined;
    throw error;
  }
}

/** Where the last `lines` complete lines start, and how many there are. */
async function findTail(segment: Segment, lines: number): Promise<{ readonly offset: number; readonly lines: number }> {
  const size = await segment.size();
  const block = Buffer.alloc(blockSize);
  let found = -1; // the newline of the last complete line is not a line's start
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - blockSize);
    const view = block.subarray(0, end - start);
    const got = await segment.read(view, start);
    for (let at = view.subarray(0, got).lastIndexOf(newline); at >= 0; at = at === 0 ? -1 : view.lastIndexOf(newline, at - 1)) {
      found += 1;
      if (found === lines) return { offset: start + at + 1, lines };
    }
    end = start;
  }
  return { offset: 0, lines: Math.max(0, found + 1) };
}

/** The rotated files of a log, oldest first, without `except` (by inode): a file renamed since it was opened. */
async function rotatedFiles(options: LogOptions, except: number): Promise<readonly string[]> {
  const folder = path.dirname(options.path);
  const prefix = `${path.basename(options.path)}.`;
  const names = (await readdir(folder)).filter((name) => name.startsWith(prefix) && !name.endsWith('.tmp')).sort();
  const files: string[] = [];
  for (const name of names) {
    const file = path.join(folder, name);
    try {
      const { ino, mtimeMs } = await stat(file);
      if (ino !== except && (options.since === undefined || mtimeMs >= options.since)) files.push(file);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
  }
  return files;
}

/**
 * The log's bytes. Throws an AgentError `log-not-found` when there is no file. Ends early when the signal aborts.
 */
export async function* readLog(options: LogOptions, deps: LogDeps, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const printer = new LogPrinter(options);
  let file: FileHandle;
  try {
    file = await open(options.path, 'r');
  } catch (error) {
    throw new AgentError('log-not-found', `cannot open the log file: ${systemCode(error) ?? 'unknown error'}`, { cause: error });
  }
  try {
    let inode = (await file.stat()).ino;
    let offset = 0;
    if (options.tailLines === undefined) {
      for (const older of await rotatedFiles(options, inode)) yield* printSegment(older, 0, printer, signal);
    } else {
      const tail = await findTail(fileSegment(file), options.tailLines);
      offset = tail.offset;
      yield* printOlderTail(options, inode, options.tailLines - tail.lines, printer, signal);
    }
    printer.nextFile();
    using changes = options.follow ? folderChanges(path.dirname(options.path)) : undefined;
    // With a tail and no follow, what is appended while reading is not part of the answer (H-261d).
    const end = options.tailLines !== undefined && !options.follow ? (await file.stat()).size : undefined;
    const block = Buffer.allocUnsafe(blockSize);
    let splitter = new LineSplitter();
    let isRunning = options.follow;
    let askAt: Instant = deps.clock.now();
    while (!signal.aborted && !printer.isFull) {
      if (isRunning && deps.clock.now() >= askAt) {
        isRunning = await deps.isRunning(signal);
        askAt = deps.clock.now() + pollMs;
      }
      const mark = changes?.count;
      for (;;) {
        const length = end === undefined ? blockSize : Math.min(blockSize, end - offset);
        const got = length <= 0 ? 0 : (await file.read(block, 0, length, offset)).bytesRead;
        if (got === 0) break;
        offset += got;
        const bytes = printBlock(block.subarray(0, got), splitter, printer);
        if (bytes.length > 0) yield bytes;
        if (printer.isFull || signal.aborted) return;
      }
      const successor = end === undefined ? await openIfRotated(options.path, inode) : undefined;
      if (successor !== undefined) {
        // Lines written between the last read and the rename are still in the old file.
        const rest = Buffer.alloc(blockSize);
        for (let got = 1; got > 0; ) {
          got = (await file.read(rest, 0, rest.length, offset)).bytesRead;
          offset += got;
          const bytes = printBlock(rest.subarray(0, got), splitter, printer);
          if (bytes.length > 0) yield bytes;
        }
        await file.close();
        file = successor;
        inode = (await file.stat()).ino;
        offset = 0;
        splitter = new LineSplitter();
        printer.nextFile();
        continue;
      }
      if (!isRunning) return;
      if (changes !== undefined && mark !== undefined) await changes.wait(mark, deps.clock, signal);
    }
  } finally {
    await file.close();
  }
}

function printBlock(block: Buffer, splitter: LineSplitter, printer: LogPrinter): Uint8Array {
  const out: Uint8Array[] = [];
  for (const line of splitter.split(block)) {
    printer.print(line, out);
    if (printer.isFull) break;
  }
  return Buffer.concat(out);
}

async function* printSegment(file: string, from: number, printer: LogPrinter, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const segment = await openSegment(file);
  if (segment === undefined) return;
  try {
    printer.nextFile();
    const splitter = new LineSplitter();
    const block = Buffer.allocUnsafe(blockSize);
    for (let offset = from; !signal.aborted && !printer.isFull; ) {
      const got = await segment.read(block, offset);
      if (got === 0) return;
      offset += got;
      const bytes = printBlock(block.subarray(0, got), splitter, printer);
      if (bytes.length > 0) yield bytes;
    }
  } finally {
    await segment.close();
  }
}

/** The last `missing` lines of the rotated files. */
async function* printOlderTail(
  options: LogOptions,
  inode: number,
  missing: number,
  printer: LogPrinter,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  if (missing <= 0) return;
  const parts: { readonly file: string; readonly offset: number }[] = [];
  let left = missing;
  for (const file of [...(await rotatedFiles(options, inode))].reverse()) {
    if (left <= 0) break;
    const segment = await openSegment(file);
    if (segment === undefined) continue;
    try {
      const tail = await findTail(segment, left);
      parts.unshift({ file, offset: tail.offset });
      left -= tail.lines;
    } finally {
      await segment.close();
    }
  }
  for (const part of parts) yield* printSegment(part.file, part.offset, printer, signal);
}

async function openIfRotated(file: string, inode: number): Promise<FileHandle | undefined> {
  try {
    if ((await stat(file)).ino === inode) return undefined;
    return await open(file, 'r');
  } catch (error) {
    // Between the rename and the runtime's opening of the new file there is none.
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

interface FolderChanges extends Disposable {
  readonly count: number;
  /** Resolves when there was a change after `mark`, and at the latest after a second. */
  wait(mark: number, clock: Clock, signal: AbortSignal): Promise<void>;
}

function folderChanges(folder: string): FolderChanges {
  let count = 0;
  let wake: (() => void) | undefined;
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(folder, () => {
      count += 1;
      wake?.();
    });
    // Without events there is still the poll.
    watcher.on('error', () => undefined);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
  }
  return {
    get count() {
      return count;
    },
    async wait(mark, clock, signal) {
      if (mark !== count) return;
      using link = linkSignals(signal);
      wake = () => link.abort(undefined);
      try {
        await clock.sleep(pollMs, link.signal);
      } catch (error) {
        if (!link.signal.aborted) throw error;
      } finally {
        wake = undefined;
      }
    },
    [Symbol.dispose]: () => watcher?.close(),
  };
}
