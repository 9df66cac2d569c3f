// A limit on how long something may take, on the clock that was handed in.
import { Deadline, linkSignals, Superseded } from './async.ts';
import type { Clock } from './clock.ts';

/**
 * Runs `task` with a signal that aborts with a `Deadline` after `ms`, or with `signal.reason` before. The task must end
 * when its signal aborts; what it then throws is what this rejects with. Time in which this process did not get to run
 * (a busy or suspended machine) hardly counts: what came in meanwhile is heard before the time is up.
 */
export async function withDeadline<T>(
  options: { readonly ms: number; readonly signal: AbortSignal; readonly clock: Clock },
  task: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  options.signal.throwIfAborted();
  using limited = linkSignals(options.signal);
  using timer = linkSignals(options.signal);
  const expiry = waitInSlices(options.ms, options.clock, timer.signal).then(
    () => limited.abort(new Deadline()),
    // Ended because the task is done or the caller gave up.
    () => undefined,
  );
  try {
    return await task(limited.signal);
  } finally {
    timer.abort(taskEnded);
    await expiry;
  }
}

/** A slice that ends late makes all that follow later; between any two of them the process hears what has come in. */
async function waitInSlices(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  const slice = ms / 4;
  const last = Math.min(slice, 1);
  for (const part of [slice, slice, slice, slice - last, last]) await clock.sleep(part, signal);
}

/** Not left out: a reason of its own would be made each time, with a stack. */
const taskEnded = new Superseded('the task has ended');
