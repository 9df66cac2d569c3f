// The inotify watches of the folder source. They only wake it: what is there is found by reading, and lost events are
// made up for by the rescan. A watch is on a folder's inode, so it is put anew when the path leads to another one.
import { basename, dirname, join } from 'node:path';

import { messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { FileSystem, FolderWatch } from './file-system.ts';

interface Wanted {
  readonly folder: string;
  /** Events of one name only. */
  readonly name: string | undefined;
  /** The path that the source knows the named file by. */
  readonly pathOf: (name: string) => string;
}

interface Attached {
  readonly identity: string;
  readonly watch: FolderWatch;
}

export class FolderWatches {
  readonly #path: string;
  readonly #fileSystem: FileSystem;
  readonly #log: Logger;
  readonly #onEvent: (path: string | undefined, event: 'changed' | 'renamed') => void;
  readonly #attached = new Map<string, Attached>();
  /** Why the folder with the manifests, or the one above it, cannot be watched. */
  #fault: string | undefined;

  constructor(
    options: { readonly path: string; readonly onEvent: (path: string | undefined, event: 'changed' | 'renamed') => void },
    deps: { readonly fileSystem: FileSystem; readonly log: Logger },
  ) {
    this.#path = options.path;
    this.#onEvent = options.onEvent;
    this.#fileSystem = deps.fileSystem;
    this.#log = deps.log;
  }

  /** Why changes are not told; undefined when they are. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /**
   * Makes the watches fit what the path is now. Answers whether the folder that holds the manifests was being watched
   * already, so that a write in place has been told. Never throws.
   */
  async attach(): Promise<boolean> {
    const wanted = await this.#wanted();
    for (const [folder, { watch }] of this.#attached) {
      if (wanted.some((w) => w.folder === folder)) continue;
      watch.close();
      this.#attached.delete(folder);
    }
    const before = this.#fault;
    this.#fault = undefined;
    let wasWatched = false;
    for (const one of wanted) {
      const stayed = await this.#attachOne(one);
      if (one === wanted[0]) wasWatched = stayed;
    }
    if (before === undefined && this.#fault !== undefined)
      this.#log.warn('Cannot watch a manifest folder: changes are only seen by the rescan', { path: this.#path, err: this.#fault });
    return wasWatched;
  }

  close(): void {
    for (const { watch } of this.#attached.values()) watch.close();
    this.#attached.clear();
  }

  /** The folder with the manifests first. */
  async #wanted(): Promise<readonly Wanted[]> {
    const parent: Wanted = { folder: dirname(this.#path), name: basename(this.#path), pathOf: () => this.#path };
    try {
      const { kind } = await this.#fileSystem.stat(this.#path);
      if (kind === 'directory') return [{ folder: this.#path, name: undefined, pathOf: (name) => join(this.#path, name) }, parent];
      const target = await this.#fileSystem.resolve(this.#path);
      if (target === this.#path) return [parent];
      return [{ folder: dirname(target), name: basename(target), pathOf: () => this.#path }, parent];
    } catch {
      return [parent]; // missing or unreadable: the source says so, and comes back
    }
  }

  /** Answers whether it was there before. */
  async #attachOne({ folder, name, pathOf }: Wanted): Promise<boolean> {
    try {
      const { identity } = await this.#fileSystem.stat(folder);
      const before = this.#attached.get(folder);
      if (before?.identity === identity) return true;
      before?.watch.close();
      this.#attached.delete(folder);
      const watch = this.#fileSystem.watch(
        folder,
        (event, changed) => {
          if (name === undefined || changed === undefined || changed === name)
            this.#onEvent(changed === undefined ? undefined : pathOf(changed), event);
        },
        () => {
          if (this.#attached.get(folder)?.watch === watch) this.#attached.delete(folder);
          this.#onEvent(undefined, 'renamed');
        },
      );
      // Should the folder be exchanged right now, the identity does not fit at the next look, and the watch is put anew.
      this.#attached.set(folder, { identity, watch });
      return false;
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') this.#fault ??= messageOf(error);
      return false;
    }
  }
}
