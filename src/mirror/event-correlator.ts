// Turns what is recorded into the Events a server should have: repeats are counted, floods of similar messages are
// folded into one Event, and what is left of a flood is dropped (S-401 … S-404). Synchronous; time comes in.

import type { EventObject, EventType } from '../api/events.ts';
import type { Event } from '../api/gen/kubernetes.ts';
import { type Instant, toRfc3339 } from '../std/clock.ts';

export interface Occurrence {
  readonly object: EventObject;
  readonly type: EventType;
  readonly reason: string;
  readonly message: string;
  readonly at: Instant;
}

/** One Event as it should be at the server. */
export interface CorrelatedEvent {
  readonly key: string;
  readonly event: Event;
}

/** Entries per table; the least recently used go first (S-404). */
const maxEntries = 4096;
/** S-402 */
const maxSimilar = 10;
const similarWindowMs = 600_000;
/** S-403 */
const bucketSize = 25;
const bucketRefillMs = 300_000;

interface Similar {
  readonly messages: Set<string>;
  readonly lastAt: Instant;
}

interface Bucket {
  readonly tokens: number;
  readonly at: Instant;
}

export class EventCorrelator {
  readonly #nodeName: string;
  readonly #similar = new Lru<Similar>(maxEntries);
  readonly #buckets = new Lru<Bucket>(maxEntries);
  readonly #events = new Lru<Event>(maxEntries);
  #sequence = 0;

  constructor(options: { readonly nodeName: string }) {
    this.#nodeName = options.nodeName;
  }

  /** The Event to create or update, or undefined when this occurrence is dropped. */
  correlate(occurrence: Occurrence): CorrelatedEvent | undefined {
    const { object, type, at } = occurrence;
    const source = [object.kind, object.namespace, object.name, object.uid];
    const { key, message } = this.#aggregate(source, occurrence);
    const event = this.#count(key, message, occurrence);
    return this.#takeToken([...source, type].join('\0'), at) ? { key, event } : undefined;
  }

  /** The server has lost or never had it: count on, under a new name. */
  renew(key: string, at: Instant): Event | undefined {
    const event = this.#events.get(key);
    if (event === undefined) return undefined;
    const renewed = { ...event, metadata: { ...event.metadata, name: this.#name(event.involvedObject.name ?? '', at) } };
    this.#events.set(key, renewed);
    return renewed;
  }

  #aggregate(
    source: readonly string[],
    { object, type, reason, message, at }: Occurrence,
  ): { readonly key: string; readonly message: string } {
    const group = [...source, object.fieldPath ?? '', type, reason].join('\0');
    const old = this.#similar.get(group);
    const isFresh = old === undefined || at - old.lastAt > similarWindowMs;
    const messages = isFresh ? new Set<string>() : old.messages;
    messages.add(message);
    this.#similar.set(group, { messages, lastAt: at });
    if (messages.size < maxSimilar) return { key: `${group}\0${message}`, message };
    // Bounded: of the messages folded only the number counts.
    const oldest = messages.values().next();
    if (messages.size > maxSimilar && oldest.done !== true) messages.delete(oldest.value);
    return { key: group, message: `(combined from similar events): ${message}` };
  }

  #count(key: string, message: string, { object, type, reason, at }: Occurrence): Event {
    const old = this.#events.get(key);
    const now = toRfc3339(at);
    const event: Event =
      old !== undefined
        ? { ...old, message, count: (old.count ?? 0) + 1, lastTimestamp: now }
        : {
            apiVersion: 'v1',
            kind: 'Event',
            // Events about the Node live in `default` (S-397).
            metadata: { name: this.#name(object.name, at), namespace: object.namespace === '' ? 'default' : object.namespace },
            involvedObject: {
              apiVersion: 'v1',
              kind: object.kind,
              name: object.name,
              ...(object.namespace === '' ? {} : { namespace: object.namespace }),
              ...(object.uid === '' ? {} : { uid: object.uid }),
              ...(object.fieldPath === undefined ? {} : { fieldPath: object.fieldPath }),
            },
            reason,
            message,
            source: { component: 'kubelet', host: this.#nodeName },
            reportingComponent: 'kubelet',
            reportingInstance: this.#nodeName,
            firstTimestamp: now,
            lastTimestamp: now,
            count: 1,
            type,
          };
    this.#events.set(key, event);
    return event;
  }

  #takeToken(key: string, at: Instant): boolean {
    const old = this.#buckets.get(key) ?? { tokens: bucketSize, at };
    const tokens = Math.min(bucketSize, old.tokens + Math.max(0, at - old.at) / bucketRefillMs);
    this.#buckets.set(key, { tokens: tokens >= 1 ? tokens - 1 : tokens, at });
    return tokens >= 1;
  }

  /** Unique: nanoseconds of the time in hexadecimal, made so by a running number. */
  #name(object: string, at: Instant): string {
    this.#sequence = (this.#sequence + 1) % 1_000_000;
    const stamp = (BigInt(Math.floor(at)) * 1_000_000n + BigInt(this.#sequence)).toString(16);
    return `${object.slice(0, 253 - stamp.length - 1)}.${stamp}`;
  }
}

class Lru<T> {
  readonly #max: number;
  readonly #entries = new Map<string, T>();

  constructor(max: number) {
    this.#max = max;
  }

  get(key: string): T | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: T): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    const oldest = this.#entries.keys().next();
    if (this.#entries.size > this.#max && oldest.done !== true) this.#entries.delete(oldest.value);
  }
}
