// A limit on how long something may take, on the clock that was handed in.
import { Deadline, linkSignals } from './async.ts';
import type { Clock } from './clock.ts';

/**
 * Runs `task` with a signal that aborts with a `Deadline` after `ms`, or with `signal.reason` before. The task must end
 * when its signal aborts; what it then throws is what this rejects with.
 */
export async function withDeadline<T>(
  options: { readonly ms: number; readonly signal: AbortSignal; readonly clock: Clock },
  task: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  options.signal.throwIfAborted();
  using limited = linkSignals(options.signal);
  using timer = linkSignals(options.signal);
  const expiry = options.clock.sleep(options.ms, timer.signal).then(
    () => limited.abort(new Deadline()),
    // Ended because the task is done or the caller gave up.
    () => undefined,
  );
  try {
    return await task(limited.signal);
  } finally {
    timer.abort(undefined);
    await expiry;
  }
}
