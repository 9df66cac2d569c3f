// Which Pods the node ended before their time, kept over restarts of the agent: a Pod that does not restart by itself
// would otherwise be taken for one that failed for good (D4). Pods with `restartPolicy: Always` need no entry.
import { annotationKeys, type Pod } from '../api/pod.ts';
import type { TerminationCause } from '../pod/work.ts';
import { Mailbox } from '../std/async.ts';
import { messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { StateFile } from '../std/state-file.ts';

export type Disruption = Extract<TerminationCause, { readonly kind: 'disrupted' }>;

interface Entry {
  readonly source: string;
  readonly cause: Disruption;
}

export interface DisruptionsDeps {
  readonly file: StateFile;
  readonly logger: Logger;
}

export class Disruptions {
  readonly #deps: DisruptionsDeps;
  readonly #changed = new Mailbox<true>();
  #entries = new Map<string, Entry>();

  constructor(deps: DisruptionsDeps) {
    this.#deps = deps;
  }

  /** Call before the first Pod. */
  async load(): Promise<void> {
    this.#entries = decode(await this.#deps.file.load());
  }

  get(uid: string): Disruption | undefined {
    return this.#entries.get(uid)?.cause;
  }

  add(pod: Pod, cause: Disruption): void {
    if ((pod.spec.restartPolicy ?? 'Always') === 'Always') return;
    this.#entries.set(pod.metadata.uid, { source: pod.metadata.annotations[annotationKeys.configSource] ?? '', cause });
    this.#changed.put(true);
  }

  delete(uid: string): void {
    if (this.#entries.delete(uid)) this.#changed.put(true);
  }

  /** Forgets those that are gone. */
  prune(isGone: (uid: string, source: string) => boolean): void {
    for (const [uid, { source }] of this.#entries) if (isGone(uid, source)) this.delete(uid);
  }

  /** Saves each change until the signal aborts. One that is lost costs a one-shot Pod its return, nothing else. */
  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    for (;;) {
      await this.#changed.take(signal);
      try {
        await this.#deps.file.save([...this.#entries]);
      } catch (error) {
        this.#deps.logger.warn('what the node ended cannot be kept', { error: messageOf(error) });
      }
    }
  }
}

/** What is of another form is left out: an older or newer agent wrote it. */
function decode(value: unknown): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const row of Array.isArray(value) ? (value as readonly unknown[]) : []) {
    const [uid, entry] = Array.isArray(row) ? (row as readonly unknown[]) : [];
    const { source, cause } = (entry ?? {}) as Partial<Entry>;
    const texts = [uid, source, cause?.reason, cause?.message, cause?.conditionMessage];
    if (cause?.kind === 'disrupted' && texts.every((text) => typeof text === 'string'))
      entries.set(String(uid), { source: String(source), cause });
  }
  return entries;
}
