// Time enters the program here and nowhere else (the architecture test forbids Date and timers outside std/).

/** Milliseconds since the Unix epoch, wall clock; fractions are allowed. */
export type Instant = number;

export interface Clock {
  now(): Instant;
  /** Milliseconds since some beginning of its own; for times within this process. The wall clock may be set meanwhile. */
  elapsed(): number;
  /** Resolves after `ms` (≥ 0) milliseconds; rejects with `signal.reason` as soon as the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** The longest delay a Node timer can hold: a longer one would fire at once. */
const maxTimerMs = 2 ** 31 - 1;

/** As that of node:timers/promises, without an error object of its own for each that is cut short: every call has one. */
function timer(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(handle);
      reject(signal.reason);
    };
    const handle = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  async sleep(ms, signal) {
    signal.throwIfAborted();
    for (let left = Math.max(0, ms); ; left -= maxTimerMs) {
      await timer(Math.min(left, maxTimerMs), signal);
      if (left <= maxTimerMs) return;
    }
  },
};

/** The time given to files whose time must not matter. */
export const unixEpoch: Readonly<Date> = new Date(0);

/** RFC 3339 in UTC with whole seconds, as Kubernetes prints `metav1.Time` (L-484). */
export function toRfc3339(instant: Instant): string {
  return `${new Date(instant).toISOString().slice(0, 19)}Z`;
}

/** RFC 3339 in UTC with milliseconds, for the log. */
export function toRfc3339Milli(instant: Instant): string {
  return new Date(instant).toISOString();
}

/** RFC 3339 in UTC with six fractional digits, as Kubernetes prints `metav1.MicroTime`. */
export function toRfc3339Micro(instant: Instant): string {
  return `${new Date(instant).toISOString().slice(0, 23)}000Z`;
}

/** RFC 3339 in UTC with nine fractional digits (S-094); the wall clock gives milliseconds only. */
export function toRfc3339Nano(instant: Instant): string {
  return `${new Date(instant).toISOString().slice(0, 23)}000000Z`;
}

/** The instant an RFC 3339 text names, or undefined when it names none. */
export function fromRfc3339(text: string): Instant | undefined {
  const instant = Date.parse(text);
  return Number.isNaN(instant) ? undefined : instant;
}

/** For libraries that take nothing else; whole seconds are what X.509 keeps. */
export function toDate(instant: Instant): Date {
  return new Date(instant);
}

/** `YYYYMMDD-HHMMSS` in local time, the ending of rotated logs (L-391). */
export function toLocalStamp(instant: Instant): string {
  const date = new Date(instant);
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}`;
  return `${day}-${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`;
}
