// Tells a manifest that was deleted and made anew with the same contents, which is to restart its Pod, from one that an
// editor moved away or something was moved over (decision 0012). Only the watch knows: afterwards all look alike.

export class PutBack {
  /** How often a name came or went, since the folder was last seen at rest. */
  readonly #events = new Map<string, number>();
  #last: string | undefined;

  /** The name came or went. Both halves of a move are told one after the other, the old name first. */
  renamed(path: string): void {
    if (this.#last !== undefined && this.#last !== path) this.#events.delete(this.#last);
    this.#events.set(path, (this.#events.get(path) ?? 0) + 1);
    this.#last = path;
  }

  /** The file was written in its place. */
  written(): void {
    this.#last = undefined;
  }

  /** Whether something of this name came or went at all. */
  isSuspected(path: string): boolean {
    return this.#events.has(path);
  }

  /** Whether the name went, not by a move, and came back. Counts once. */
  take(path: string): boolean {
    const events = this.#events.get(path) ?? 0;
    this.#events.delete(path);
    return events >= 2;
  }

  /** Nothing is unsettled: what comes or goes from here on is another story. */
  rest(): void {
    this.#events.clear();
    this.#last = undefined;
  }
}
