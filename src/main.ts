// Process entry: arguments, signals, exit codes. Nothing else.
import { main } from './cli/main.ts';
import { Shutdown } from './std/async.ts';
import { messagesOf } from './std/errors.ts';

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // A second signal does not wait.
    if (stop.signal.aborted) process.exit(130);
    stop.abort(new Shutdown());
  });
}

function write(stream: NodeJS.WriteStream, text: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => (error ? reject(error) : resolve()));
  });
}

async function readInput(): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of process.stdin) parts.push(part as Uint8Array);
  return Buffer.concat(parts);
}

// A reader that goes away (`| head`) ends the command quietly.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

async function start(): Promise<void> {
  try {
    process.exitCode = await main({
      argv: process.argv.slice(2),
      env: process.env,
      io: {
        out: (text) => write(process.stdout, text),
        err: (text) => write(process.stderr, text),
        stdin: readInput,
        signal: stop.signal,
      },
      // Other commands end with their terminal.
      onReload: (listener) => void process.on('SIGHUP', listener),
      writeLog: (line) => void process.stderr.write(line),
    });
  } catch (error) {
    if (stop.signal.aborted && error === stop.signal.reason) return;
    console.error(`pinpod: ${messagesOf(error)}`);
    if (process.env['PINPOD_DEBUG'] !== undefined) console.error(error);
    else console.error('pinpod: this was not foreseen; with PINPOD_DEBUG=1 in the environment it also says where it happened');
    process.exitCode = 1;
  }
}

start().then(
  () => process.exit(),
  () => process.exit(1),
);
