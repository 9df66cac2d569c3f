// Response bodies that go on for a while (watch, followed logs): an async iterable pulled as fast as the client reads,
// ended by the client's going away or by the server's stop.
import { linkSignals } from '../std/async.ts';

/**
 * `produce` is iterated only as fast as the client takes the bytes. Its signal aborts when the client is gone or
 * `serverSignal` aborts; then the body ends. `onError` gets whatever else it throws; the body is cut off.
 */
export function streamBody(
  produce: (signal: AbortSignal) => AsyncIterable<Uint8Array>,
  options: { readonly serverSignal: AbortSignal; readonly onError: (error: unknown) => void },
): ReadableStream<Uint8Array> {
  const link = linkSignals(options.serverSignal);
  const iterator = produce(link.signal)[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const next = await iterator.next();
          if (next.done !== true) {
            controller.enqueue(next.value);
            return;
          }
          link[Symbol.dispose]();
          controller.close();
        } catch (error) {
          link[Symbol.dispose]();
          if (link.signal.aborted) {
            controller.close();
            return;
          }
          options.onError(error);
          controller.error(error);
        }
      },
      async cancel() {
        link.abort(new DOMException('the client is gone', 'AbortError'));
        link[Symbol.dispose]();
        await iterator.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}
