// Events of this node: what was said about Pods and the Node, merged and counted as Kubernetes does it (H-114 …
// H-117), bounded in number and age, kept over restarts of the agent.
import { randomUUID } from 'node:crypto';
import type { EventObject, EventSink, EventType } from '../api/events.ts';
import type { Event } from '../api/gen/kubernetes.ts';
import { type Clock, fromRfc3339, type Instant, toRfc3339 } from '../std/clock.ts';
import { messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { StateFile } from '../std/state-file.ts';

export interface EventStoreOptions {
  readonly nodeName: string;
  /** More than this many: the ones seen least recently go first. */
  readonly maxEvents?: number;
  /** An event not repeated for this long is forgotten; Kubernetes' own default is an hour. */
  readonly retentionMs?: number;
}

export interface EventStoreDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Where events outlive the agent; memory only when absent. */
  readonly file?: StateFile | undefined;
}

/** From this many different messages of one reason about one object within `similarWindowMs`, they are merged into one. */
const maxSimilar = 10;
const similarWindowMs = 10 * 60_000;
const maxMessageLength = 1024;
const saveDelayMs = 2_000;
const maxEarly = 100;

interface Entry {
  readonly event: Event;
  readonly key: string;
  readonly firstAt: Instant;
  readonly lastAt: Instant;
}

export class EventStore implements EventSink {
  readonly #nodeName: string;
  readonly #maxEvents: number;
  readonly #retentionMs: number;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #file: StateFile | undefined;
  /** By key, in the order of their last sighting: the first is the one to evict. */
  readonly #entries = new Map<string, Entry>();
  readonly #similar = new Map<string, { readonly messages: Set<string>; lastAt: Instant }>();
  readonly #listeners = new Set<() => void>();
  readonly #followers = new Set<EventSink>();
  /** What this agent has said while nobody followed. */
  readonly #early: Parameters<EventSink['record']>[] = [];
  #listed: readonly Event[] | undefined;
  #changes = 0;
  #sequence = 0;
  #wake: (() => void) | undefined;

  constructor(options: EventStoreOptions, deps: EventStoreDeps) {
    this.#nodeName = options.nodeName;
    this.#maxEvents = options.maxEvents ?? 1000;
    this.#retentionMs = options.retentionMs ?? 3_600_000;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#file = deps.file;
  }

  record(object: EventObject, type: EventType, reason: string, fullMessage: string): void {
    if (this.#followers.size === 0 && this.#early.length < maxEarly) this.#early.push([object, type, reason, fullMessage]);
    for (const follower of this.#followers) follower.record(object, type, reason, fullMessage);
    const now = this.#clock.now();
    const text = fullMessage.length > maxMessageLength ? `${fullMessage.slice(0, maxMessageLength - 3)}...` : fullMessage;
    const group = JSON.stringify([object.kind, object.namespace, object.name, object.uid, object.fieldPath ?? '', type, reason]);
    const combined = this.#isOneOfMany(group, text, now);
    const message = combined ? `(combined from similar events): ${text}` : text;
    const key = combined ? group : `${group}${JSON.stringify(text)}`;
    const old = this.#entries.get(key);
    const known = old !== undefined && now - old.lastAt < this.#retentionMs ? old : undefined;
    const count = (known?.event.count ?? 0) + 1;
    const firstAt = known?.firstAt ?? now;
    const event: Event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: known?.event.metadata ?? {
        name: this.#name(object.name, now),
        namespace: object.namespace === '' ? 'default' : object.namespace,
        uid: randomUUID(),
        creationTimestamp: toRfc3339(now),
      },
      involvedObject: {
        apiVersion: 'v1',
        kind: object.kind,
        ...(object.namespace === '' ? {} : { namespace: object.namespace }),
        name: object.name,
        uid: object.uid,
        ...(object.fieldPath === undefined ? {} : { fieldPath: object.fieldPath }),
      },
      type,
      reason,
      message,
      source: { component: 'kubelet', host: this.#nodeName },
      firstTimestamp: toRfc3339(firstAt),
      lastTimestamp: toRfc3339(now),
      count,
      eventTime: null,
      reportingComponent: 'kubelet',
      reportingInstance: this.#nodeName,
    };
    this.#entries.delete(key);
    this.#entries.set(key, { event, key, firstAt, lastAt: now });
    this.#prune(now);
    this.#changed();
  }

  /**
   * As Kubernetes names events: by nanoseconds in hexadecimal, made unique by a running number. Lists are in the order of
   * names, so an object's events are in theirs.
   */
  #name(object: string, at: Instant): string {
    this.#sequence = (this.#sequence + 1) % 1_000_000;
    const stamp = (BigInt(Math.floor(at)) * 1_000_000n + BigInt(this.#sequence)).toString(16);
    return `${object.slice(0, 253 - stamp.length - 1)}.${stamp}`;
  }

  /** Oldest sighting first. The same array while nothing changed. */
  list(): readonly Event[] {
    if (this.#prune(this.#clock.now())) this.#listed = undefined;
    this.#listed ??= [...this.#entries.values()].map((entry) => entry.event);
    return this.#listed;
  }

  /** `listener` is called after every recorded event. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** From now on `sink` is told everything that is recorded here; the first one what was said before as well. Returns its end. */
  forwardTo(sink: EventSink): () => void {
    for (const record of this.#early.splice(0)) sink.record(...record);
    this.#followers.add(sink);
    return () => this.#followers.delete(sink);
  }

  /** Reads what an earlier agent left. Events recorded meanwhile are kept. Never throws for a bad file. */
  async load(): Promise<void> {
    let value: unknown;
    try {
      value = await this.#file?.load();
    } catch (error) {
      this.#log.warn('cannot read the kept events', { error: messageOf(error) });
    }
    if (!Array.isArray(value)) return;
    const recorded = [...this.#entries.values()];
    this.#entries.clear();
    for (const item of value as readonly unknown[]) {
      const entry = toEntry(item);
      if (entry !== undefined) this.#entries.set(entry.key, entry);
    }
    for (const entry of recorded) this.#entries.set(entry.key, entry);
    this.#prune(this.#clock.now());
    this.#changed();
  }

  /** Keeps the file up to date, some seconds behind, until the signal aborts; then writes a last time. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    if (this.#file === undefined) return;
    let saved = this.#changes;
    while (!signal.aborted) {
      if (saved === this.#changes) await this.#nextChange(signal);
      if (!signal.aborted) await this.#clock.sleep(saveDelayMs, signal).catch(() => undefined);
      if (saved === this.#changes) continue;
      saved = this.#changes;
      await this.#save(this.#file);
    }
    if (saved !== this.#changes) await this.#save(this.#file);
  }

  async #save(file: StateFile): Promise<void> {
    try {
      await file.save([...this.#entries.values()].map(({ key, event }) => ({ key, event })));
    } catch (error) {
      this.#log.warn('cannot keep the events', { error: messageOf(error) });
    }
  }

  #nextChange(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener('abort', done);
        this.#wake = undefined;
        resolve();
      };
      this.#wake = done;
      signal.addEventListener('abort', done, { once: true });
    });
  }

  #changed(): void {
    this.#listed = undefined;
    this.#changes += 1;
    this.#wake?.();
    for (const listener of [...this.#listeners]) listener();
  }

  /** Counts different messages of one kind, so that a message with a changing part does not fill the store. */
  #isOneOfMany(group: string, message: string, now: Instant): boolean {
    let seen = this.#similar.get(group);
    if (seen === undefined || now - seen.lastAt > similarWindowMs) {
      seen = { messages: new Set(), lastAt: now };
    }
    this.#similar.delete(group);
    this.#similar.set(group, seen);
    seen.lastAt = now;
    if (this.#similar.size > this.#maxEvents) {
      const oldest = this.#similar.keys().next().value;
      if (oldest !== undefined) this.#similar.delete(oldest);
    }
    if (seen.messages.has(message)) return false;
    if (seen.messages.size >= maxSimilar) return true;
    seen.messages.add(message);
    return false;
  }

  #prune(now: Instant): boolean {
    let pruned = false;
    for (const [key, entry] of this.#entries) {
      if (this.#entries.size <= this.#maxEvents && now - entry.lastAt < this.#retentionMs) break;
      this.#entries.delete(key);
      pruned = true;
    }
    return pruned;
  }
}

function toEntry(item: unknown): Entry | undefined {
  if (typeof item !== 'object' || item === null || !('key' in item) || !('event' in item)) return undefined;
  const { key, event } = item as { key: unknown; event: Event };
  if (typeof key !== 'string' || typeof event !== 'object' || event === null) return undefined;
  const firstAt = fromRfc3339(event.firstTimestamp ?? '');
  const lastAt = fromRfc3339(event.lastTimestamp ?? '');
  return firstAt === undefined || lastAt === undefined ? undefined : { key, event, firstAt, lastAt };
}
