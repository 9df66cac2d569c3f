// The folder source: a folder of manifests, or a single one → complete snapshots. Events only wake it; it then looks at
// the whole folder, reading what changed. What to believe of a file that is being written is decided in
// docs/decisions/0012-settled-files.md; what keeps running without a good manifest, in promise D1.
import { createHash } from 'node:crypto';
import { basename, dirname, join } from 'node:path';

import type { Pod } from '../api/pod.ts';
import type { Clock, Instant } from '../std/clock.ts';
import { ManifestError, messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import { isHidden, whyIgnored } from './file-names.ts';
import { byBytes, type FileContents, type FileStat, type FileSystem } from './file-system.ts';
import { FolderWatches } from './folder-watch.ts';
import type { LastGood } from './last-good.ts';
import { combine, type ManifestState, type Outcome, type ParsedManifest, type ParseManifest } from './manifest-set.ts';
import { PutBack } from './put-back.ts';
import type { PodSource, SourceSnapshot } from './source.ts';
import { Wakeup } from './wakeup.ts';

/** A manifest has fewer bytes than this (S-029). */
export const manifestLimitBytes = 10 * 2 ** 20;

export interface FileSourceOptions {
  /** Absolute, without a trailing slash. */
  readonly path: string;
  readonly fileCheckFrequencyMs: number;
  readonly sourceFaultPolicy: 'keep' | 'follow';
  /** How long a file written in its place, or gone, must stay as it is before that is believed. */
  readonly quietMs?: number;
  /** The longest that a file held open for writing is waited for. */
  readonly longestWriteMs?: number;
}

export interface FileSourceDeps {
  readonly parse: ParseManifest;
  readonly fileSystem: FileSystem;
  readonly lastGood: LastGood;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How often a missing path is looked for; its parent is watched as well. */
const missingPathCheckMs = 1000;
/** The first snapshot waits this long for files that are just being written. */
const longestFirstLookMs = 1000;

interface ManifestFile {
  readonly path: string;
  outcome: Outcome;
  /** Pods of the last good contents. */
  goodPods: readonly Pod[];
  /** What the outcome was made from; undefined: to be read again. */
  signature: string | undefined;
  identity: string | undefined;
  contentHash: string | undefined;
  /** Written in its place, not yet believed. */
  writing: Writing | undefined;
  /** Not in the folder, not yet believed. */
  goneSince: Instant | undefined;
}

interface Writing {
  readonly signature: string;
  /** When this signature was first seen. */
  readonly since: Instant;
  readonly firstSeen: Instant;
  readonly checkAt: Instant;
}

const notReadYet: Outcome = { kind: 'ignored', why: 'it is just being written' };

function newFile(path: string): ManifestFile {
  return {
    path,
    outcome: notReadYet,
    goodPods: [],
    signature: undefined,
    identity: undefined,
    contentHash: undefined,
    writing: undefined,
    goneSince: undefined,
  };
}

export class FileSource implements PodSource {
  readonly name = 'file';
  readonly #options: Required<FileSourceOptions>;
  readonly #deps: FileSourceDeps;
  readonly #files = new Map<string, ManifestFile>();
  /** Files that a watch told to have been written in their place. */
  readonly #changedInPlace = new Set<string>();
  readonly #putBack = new PutBack();
  /** Files that were deleted and made anew with the same contents: their Pods are to be seen gone once. */
  readonly #madeAnew = new Set<string>();
  #fault: string | undefined;
  #unwatched: string | undefined;
  /** What the path was when it was last read well. */
  #root: { readonly kind: 'directory' | 'file'; readonly inode: string } | undefined;
  /** Something is known: the path was read, in this life or an earlier one. */
  #hasSpoken = false;
  /** To be kept or forgotten on disk. */
  #unsaved = new Map<string, Uint8Array | undefined>();

  constructor(options: FileSourceOptions, deps: FileSourceDeps) {
    this.#options = { quietMs: 100, longestWriteMs: 10_000, ...options };
    this.#deps = deps;
  }

  /** To be iterated once. */
  async *snapshots({ signal }: { readonly signal: AbortSignal }): AsyncGenerator<SourceSnapshot> {
    const { clock } = this.#deps;
    const wakeup = new Wakeup(clock);
    const watches = new FolderWatches(
      {
        path: this.#options.path,
        onEvent: (path, event) => {
          if (path !== undefined) this.#hear(path, event);
          wakeup.wake();
        },
      },
      this.#deps,
    );
    let saving = Promise.resolve();
    try {
      await this.#restore();
      const startedAt = clock.now();
      let last: SourceSnapshot | undefined;
      let rescanAt = startedAt;
      while (!signal.aborted) {
        const isWatched = await watches.attach();
        this.#unwatched = watches.fault;
        // Further away than it was ever set: the clock was set back.
        const isRescan = clock.now() >= rescanAt || rescanAt - clock.now() > this.#options.fileCheckFrequencyMs;
        if (isRescan) rescanAt = clock.now() + this.#options.fileCheckFrequencyMs;
        await this.#look({ isWatched: isWatched && last !== undefined, isRescan });
        if (signal.aborted) return;
        const isAtRest = this.#nextCheck() === undefined;
        if (isAtRest) this.#putBack.rest();
        const isUnsettled = !isAtRest && clock.now() - startedAt < longestFirstLookMs;
        if (this.#madeAnew.size > 0) {
          last = this.#snapshot(this.#madeAnew);
          this.#madeAnew.clear();
          yield last;
        }
        const snapshot = this.#snapshot();
        if (last === undefined ? !isUnsettled : !isSame(snapshot, last)) {
          this.#logChanges(last, snapshot);
          last = snapshot;
          yield snapshot;
        }
        saving = saving.then(() => this.#save());
        const checkAt = Math.min(
          rescanAt,
          this.#nextCheck() ?? rescanAt,
          this.#fault === undefined ? rescanAt : clock.now() + missingPathCheckMs,
        );
        await wakeup.wait(Math.max(0, checkAt - clock.now()), signal);
      }
    } catch (error) {
      if (!signal.aborted || error !== signal.reason) throw error;
    } finally {
      watches.close();
      await saving;
    }
  }

  /**
   * The snapshot there would be with these contents in the files of these paths; undefined: the file is gone. Contents
   * that cannot be used keep the Pods of the file's last good ones. Changes nothing.
   */
  preview(contents: ReadonlyMap<string, Uint8Array | undefined>): SourceSnapshot {
    const states = new Map<string, ManifestState>(this.#files);
    for (const [path, bytes] of contents) {
      const goodPods = states.get(path)?.goodPods ?? [];
      const why = path === this.#options.path ? undefined : whyIgnored(basename(path));
      if (bytes === undefined) states.delete(path);
      else if (why !== undefined) states.set(path, { path, outcome: { kind: 'ignored', why }, goodPods });
      else {
        const { pods, problems, name } = this.#parse(bytes, path);
        const isGood = problems.length === 0;
        const outcome: Outcome = isGood ? { kind: 'accepted' } : { kind: 'rejected', problems, name };
        states.set(path, { path, outcome, goodPods: isGood ? pods : goodPods });
      }
    }
    const { pods, reports } = combine([...states.values()].sort((a, b) => byBytes(a.path, b.path)));
    return { source: this.name, pods, manifests: reports, readAt: this.#deps.clock.now() };
  }

  #hear(path: string, event: 'changed' | 'renamed'): void {
    if (event === 'renamed') {
      this.#putBack.renamed(path);
      return;
    }
    this.#putBack.written();
    this.#changedInPlace.add(path);
  }

  // ---- looking at the path

  async #look(look: Look): Promise<void> {
    const { fileSystem } = this.#deps;
    const { path } = this.#options;
    let root: FileStat;
    try {
      root = await fileSystem.stat(path);
    } catch (error) {
      await this.#pathUnreadable(error, look);
      return;
    }
    switch (root.kind) {
      case 'directory':
        await this.#lookAtFolder(root, look);
        return;
      case 'file':
        await this.#lookAtSingleFile(root, look);
        return;
      default:
        this.#suspend(`${path} is a ${root.kind}, neither a folder nor a file`); // S-014
    }
  }

  async #lookAtFolder(root: FileStat, look: Look): Promise<void> {
    const { path, sourceFaultPolicy } = this.#options;
    let names: readonly string[];
    try {
      names = (await this.#deps.fileSystem.list(path)).filter((name) => !isHidden(name));
    } catch (error) {
      await this.#pathUnreadable(error, look);
      return;
    }
    const inode = inodeOf(root);
    const isAnother = this.#root !== undefined && (this.#root.kind !== 'directory' || this.#root.inode !== inode);
    if (isAnother && names.length === 0 && sourceFaultPolicy === 'keep' && this.#hasPods()) {
      // An unmounted file system looks like this: nobody removed a manifest.
      this.#suspend(`${path} was replaced by an empty folder; the Pods of the one before keep running until a manifest is put here`);
      return;
    }
    this.#fault = undefined;
    this.#readWell({ kind: 'directory', inode });
    const paths = names.map((name) => join(path, name));
    // Asked all at once: with thousands of files, one after the other takes its time.
    const stats = await Promise.all(
      paths.map(async (file, i) => {
        const why = whyIgnored(names[i] ?? '');
        return why === undefined ? await this.#statFile(file) : why;
      }),
    );
    const present = new Set<string>();
    for (const [i, file] of paths.entries()) {
      const stat = stats[i];
      if (stat === undefined) continue;
      present.add(file);
      await this.#lookAtFile(file, stat, look);
    }
    this.#lookForGone(present);
    this.#dropAsKubelet(look);
  }

  async #lookAtSingleFile(root: FileStat, look: Look): Promise<void> {
    const { path } = this.#options;
    await this.#lookAtFile(path, root, look);
    const file = this.#files.get(path);
    if (this.#root?.kind === 'directory' && this.#hasPods() && file?.outcome.kind !== 'accepted') {
      this.#fault = `${path} was replaced by a file that cannot be used; the Pods of the folder before keep running`;
      for (const other of this.#files.values()) other.goneSince = undefined;
      return;
    }
    this.#fault = undefined;
    this.#readWell({ kind: 'file', inode: inodeOf(root) });
    this.#lookForGone(new Set([path]));
  }

  /** The path is missing or may not be read: what ran keeps running, unless the kubelet's behaviour is asked for. */
  async #pathUnreadable(error: unknown, look: Look): Promise<void> {
    const { path, sourceFaultPolicy } = this.#options;
    const isMissing = ['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '');
    if (isMissing && this.#root?.kind === 'file' && (await this.#isReadable(dirname(path)))) {
      // A single file removed from a readable folder: as explicit as can be (S-057).
      this.#fault = `${path} does not exist`;
      this.#lookForGone(new Set());
      return;
    }
    const keeps = this.#hasPods() && sourceFaultPolicy === 'keep' ? '; its last Pods keep running' : '';
    this.#suspend(`${path} ${isMissing ? 'does not exist' : `cannot be read: ${messageOf(error)}`}${keeps}`);
    // S-008, S-017: missing, or a folder that cannot be listed, is the empty set for a kubelet; other failures are not (S-009).
    if (sourceFaultPolicy === 'follow' && (isMissing || (look.isRescan && this.#root?.kind === 'directory'))) {
      for (const file of this.#files.keys()) this.#forget(file);
      this.#hasSpoken = true;
    }
  }

  /** Nothing can be said of the files until the path can be read again. */
  #suspend(fault: string): void {
    this.#fault = fault;
    for (const file of this.#files.values()) {
      file.goneSince = undefined;
      file.writing = undefined;
    }
  }

  async #isReadable(folder: string): Promise<boolean> {
    try {
      await this.#deps.fileSystem.list(folder);
      return true;
    } catch {
      return false; // the answer itself
    }
  }

  // ---- looking at one file

  /** undefined: it is gone; a text: why it is not a manifest; else what it is, or the error. */
  async #statFile(path: string): Promise<FileStat | ManifestError | undefined> {
    const { fileSystem } = this.#deps;
    try {
      return await fileSystem.stat(path);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') return unreadable(error);
    }
    try {
      await fileSystem.lstat(path);
      return new ManifestError('dangling-link', 'is a symbolic link to a file that does not exist'); // S-019
    } catch {
      return undefined; // gone between listing and looking
    }
  }

  async #lookAtFile(path: string, stat: FileStat | ManifestError | string, look: Look): Promise<void> {
    const file = this.#files.get(path) ?? newFile(path);
    this.#files.set(path, file);
    file.goneSince = undefined;
    if (typeof stat === 'string') {
      file.outcome = { kind: 'ignored', why: stat };
    } else if (stat instanceof ManifestError) {
      this.#reject(file, stat.message);
    } else if (stat.kind !== 'file') {
      const what = `is a ${stat.kind}${stat.kind === 'directory' ? '; folders are not searched' : ''}`;
      if (file.goodPods.length > 0) this.#reject(file, what);
      else this.#settle(file, { kind: 'ignored', why: what }, undefined);
    } else if (stat.signature !== file.signature || file.writing !== undefined) {
      await this.#read(file, stat, look);
    }
  }

  async #read(file: ManifestFile, stat: FileStat, look: Look): Promise<void> {
    const { clock, fileSystem } = this.#deps;
    if (file.writing?.signature === stat.signature && clock.now() < file.writing.checkAt) return;
    let contents: FileContents;
    try {
      contents = await fileSystem.read(file.path, manifestLimitBytes);
    } catch (error) {
      // Too large or not a file stays so until the file changes; anything else may pass.
      this.#reject(file, error instanceof ManifestError ? error.message : unreadable(error).message);
      if (error instanceof ManifestError) file.signature = stat.signature;
      return;
    }
    const contentHash = hash(contents.bytes);
    if (contentHash === file.contentHash && !contents.torn) {
      if (this.#putBack.isSuspected(file.path)) await fileSystem.eventsDelivered();
      if (this.#putBack.take(file.path) && look.isWatched) this.#madeAnew.add(file.path);
      this.#settle(file, file.outcome, contents.stat); // touched, not changed (S-048)
      return;
    }
    if (await this.#isBeingWritten(file, contents, look)) return;
    this.#take(file, contents, contentHash);
  }

  /** The rule of decision 0012. Sets `file.writing` to when to look again. */
  async #isBeingWritten(file: ManifestFile, { bytes, stat, torn, isLink }: FileContents, look: Look): Promise<boolean> {
    const { clock, fileSystem } = this.#deps;
    const { quietMs, longestWriteMs } = this.#options;
    const before = file.writing;
    // An empty one was made just now, and whoever made it is about to write.
    if (before === undefined && !torn && file.identity !== stat.identity && bytes.length > 0) {
      await fileSystem.eventsDelivered();
      const isFresh = Math.abs(clock.now() - stat.modifiedMs) < quietMs;
      const wouldBeTold = look.isWatched && !isLink;
      if (!this.#changedInPlace.has(file.path) && (wouldBeTold || !isFresh)) return false; // moved in: whole
    }
    this.#changedInPlace.delete(file.path);
    const now = clock.now();
    const since = before?.signature === stat.signature && !torn ? before.since : now;
    const firstSeen = before?.firstSeen ?? now;
    const quietFor = now - since;
    const isOverdue = now - firstSeen >= longestWriteMs;
    if (quietFor >= quietMs && (isOverdue || !(await this.#isOpenForWriting(file.path, stat)))) return false;
    // A writer that pauses is asked after less and less often.
    const wait = quietFor < quietMs ? quietMs - quietFor : Math.min(1000, quietFor);
    file.writing = { signature: stat.signature, since, firstSeen, checkAt: now + wait };
    return true;
  }

  /** Also true when it was written, and closed, while its writers were looked for. */
  async #isOpenForWriting(path: string, { signature }: FileStat): Promise<boolean> {
    const { fileSystem } = this.#deps;
    try {
      return (await fileSystem.isOpenForWriting(path)) || (await fileSystem.stat(path)).signature !== signature;
    } catch {
      return false; // it cannot be seen; quiet has to do
    }
  }

  #take(file: ManifestFile, { bytes, stat }: FileContents, contentHash: string): void {
    const parsed = this.#parse(bytes, file.path);
    file.contentHash = contentHash;
    if (parsed.problems.length > 0) {
      this.#settle(file, { kind: 'rejected', problems: parsed.problems, name: parsed.name }, stat);
      return;
    }
    file.goodPods = parsed.pods;
    this.#settle(file, { kind: 'accepted' }, stat);
    this.#unsaved.set(file.path, bytes);
  }

  #parse(bytes: Uint8Array, path: string): ParsedManifest {
    try {
      return this.#deps.parse(bytes, path);
    } catch (error) {
      // Whatever is wrong with one manifest stays with that one.
      return { pods: [], problems: [{ field: '', message: messageOf(error) }] };
    }
  }

  #settle(file: ManifestFile, outcome: Outcome, stat: FileStat | undefined): void {
    file.outcome = outcome;
    file.signature = stat?.signature;
    file.identity = stat?.identity;
    file.writing = undefined;
    this.#changedInPlace.delete(file.path);
  }

  #reject(file: ManifestFile, message: string): void {
    file.contentHash = undefined;
    this.#settle(file, { kind: 'rejected', problems: [{ field: '', message }] }, undefined);
  }

  // ---- what is gone

  /** A name that vanished and comes back at once is an editor's way of saving: absence must last to be believed. */
  #lookForGone(present: ReadonlySet<string>): void {
    const now = this.#deps.clock.now();
    for (const file of this.#files.values()) {
      if (present.has(file.path)) continue;
      file.goneSince ??= now;
      file.writing = undefined;
      if (file.goodPods.length === 0 || now - file.goneSince >= this.#options.quietMs) this.#forget(file.path);
    }
  }

  #forget(path: string): void {
    this.#files.delete(path);
    this.#changedInPlace.delete(path);
    this.#unsaved.set(path, undefined);
  }

  /** `follow`: at a rescan, a file that cannot be used gives no Pods any more (S-024). */
  #dropAsKubelet(look: Look): void {
    if (this.#options.sourceFaultPolicy !== 'follow' || !look.isRescan) return;
    for (const file of this.#files.values()) {
      if (file.outcome.kind === 'accepted' || file.goodPods.length === 0 || file.writing !== undefined) continue;
      file.goodPods = [];
      this.#unsaved.set(file.path, undefined);
    }
  }

  #hasPods(): boolean {
    for (const file of this.#files.values()) if (file.goodPods.length > 0) return true;
    return false;
  }

  /** When something not yet believed has to be looked at again. */
  #nextCheck(): Instant | undefined {
    let next: Instant | undefined;
    for (const { writing, goneSince } of this.#files.values()) {
      const at = goneSince === undefined ? writing?.checkAt : goneSince + this.#options.quietMs;
      if (at !== undefined && (next === undefined || at < next)) next = at;
    }
    return next;
  }

  // ---- the outside

  /** `without`: as if these files were not there. */
  #snapshot(without: ReadonlySet<string> = new Set()): SourceSnapshot {
    const now = this.#deps.clock.now();
    // A file that is written for the first time is worth a word only when that takes long.
    const isWorthAWord = ({ outcome, goodPods, writing }: ManifestFile): boolean =>
      outcome !== notReadYet || goodPods.length > 0 || (writing !== undefined && now - writing.firstSeen >= longestFirstLookMs);
    const files = [...this.#files.values()]
      .filter((file) => isWorthAWord(file) && !without.has(file.path))
      .sort((a, b) => byBytes(a.path, b.path));
    const { pods, shadowed, reports } = combine(files);
    return {
      source: this.name,
      pods,
      shadowed,
      manifests: reports,
      fault: this.#fault,
      ...(this.#unwatched === undefined ? {} : { unwatched: this.#unwatched }),
      ...(this.#hasSpoken ? {} : { unread: true as const }),
      readAt: now,
    };
  }

  #logChanges(last: SourceSnapshot | undefined, next: SourceSnapshot): void {
    const { log } = this.#deps;
    if (next.fault !== undefined && next.fault !== last?.fault)
      log.warn('A source of manifests cannot be read', { source: this.name, err: next.fault });
    if (next.fault === undefined && last?.fault !== undefined) log.info('A source of manifests can be read again', { source: this.name });
    const before = new Map(last?.manifests.map((report) => [`${report.path}[${report.index ?? ''}]`, JSON.stringify(report.verdict)]));
    for (const { path, index, pod, verdict } of next.manifests) {
      if (before.get(`${path}[${index ?? ''}]`) === JSON.stringify(verdict)) continue;
      const fields = { source: this.name, path, ...(pod === undefined ? {} : { pod }) };
      if (verdict.kind === 'rejected') {
        const [first] = verdict.problems;
        const place = first?.line === undefined ? '' : `:${first.line}:${first.column ?? 1}`;
        log.warn('A manifest was rejected', {
          ...fields,
          path: path + place,
          field: first?.field,
          err: first?.message,
          problems: verdict.problems.length,
          keptPods: verdict.keptPods,
        });
      } else if (verdict.kind === 'shadowed') log.warn('A manifest has the Pod of another one', { ...fields, by: verdict.by });
      else log.debug('A manifest was read', { ...fields, verdict: verdict.kind });
    }
  }

  // ---- what outlives the process

  /** Begins with the last good manifests, as if they had just been read: bad ones among today's keep their Pods (D1, D2). */
  async #restore(): Promise<void> {
    const { path, sourceFaultPolicy } = this.#options;
    if (sourceFaultPolicy === 'follow') return;
    for (const [kept, bytes] of await this.#deps.lastGood.load()) {
      if (kept === `${path}/`) {
        this.#root = decodeRoot(bytes);
        this.#hasSpoken = true;
      }
      if (kept === `${path}/`) continue;
      if (kept !== path && dirname(kept) !== path) {
        // Of a path that is not configured any more.
        if (kept.startsWith('/')) this.#unsaved.set(kept, undefined);
        continue;
      }
      const { pods, problems } = this.#parse(bytes, kept);
      if (problems.length > 0) {
        this.#deps.log.warn('A kept manifest cannot be used any more', { source: this.name, path: kept });
        continue;
      }
      this.#files.set(kept, { ...newFile(kept), outcome: { kind: 'accepted' }, goodPods: pods, contentHash: hash(bytes) });
    }
  }

  #readWell(root: { readonly kind: 'directory' | 'file'; readonly inode: string }): void {
    // For a kubelet, a single file must have been good once (S-013).
    const isGood = root.kind === 'directory' || this.#files.get(this.#options.path)?.outcome.kind === 'accepted';
    if (isGood || this.#options.sourceFaultPolicy === 'keep') this.#hasSpoken = true;
    if (this.#root?.kind === root.kind && this.#root.inode === root.inode) return;
    this.#root = root;
    this.#unsaved.set(`${this.#options.path}/`, Buffer.from(JSON.stringify(root)));
  }

  async #save(): Promise<void> {
    const unsaved = this.#unsaved;
    this.#unsaved = new Map();
    if (this.#options.sourceFaultPolicy === 'follow') return;
    for (const [path, bytes] of unsaved) {
      if (bytes === undefined) await this.#deps.lastGood.forget(path);
      else await this.#deps.lastGood.keep(path, bytes);
    }
  }
}

interface Look {
  /** The folder has been watched since the look before. */
  readonly isWatched: boolean;
  readonly isRescan: boolean;
}

/** Without the device: its number may change when the machine starts. */
function inodeOf(stat: FileStat): string {
  return stat.identity.slice(stat.identity.indexOf(':') + 1);
}

function decodeRoot(bytes: Uint8Array): { readonly kind: 'directory' | 'file'; readonly inode: string } | undefined {
  const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
  if (value === null || typeof value !== 'object' || !('kind' in value) || !('inode' in value)) return undefined;
  const { kind, inode } = value;
  return (kind === 'directory' || kind === 'file') && typeof inode === 'string' ? { kind, inode } : undefined;
}

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64');
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'may not be read: permission denied',
  EPERM: 'may not be read: permission denied',
  ELOOP: 'is a loop of symbolic links',
  ENAMETOOLONG: 'has a name that is too long',
};

function unreadable(error: unknown): ManifestError {
  const code = systemCode(error) ?? '';
  return new ManifestError('unreadable', reasons[code] ?? `cannot be read: ${messageOf(error)}`, { cause: error });
}

function isSame(a: SourceSnapshot, b: SourceSnapshot): boolean {
  const areSame = (some: readonly Pod[] = [], others: readonly Pod[] = []): boolean =>
    some.length === others.length && some.every((pod, i) => pod === others[i]);
  return (
    a.fault === b.fault &&
    a.unwatched === b.unwatched &&
    areSame(a.pods, b.pods) &&
    areSame(a.shadowed, b.shadowed) &&
    JSON.stringify(a.manifests) === JSON.stringify(b.manifests)
  );
}
