// The fake runtime against the suite that real runtimes pass, so that what is tested on it holds on them.
import { FakeClock, settle } from '../support/fake-clock.ts';
import { type FakeProcess, FakeRuntime } from '../support/fake-runtime.ts';
import { commands, execs, runtimeSuite } from './runtime-suite.ts';

const image = 'docker.io/library/busybox:latest';

const processes = new Map<string, FakeProcess>([
  [key(commands.ignoresTerm), { onTerm: 'ignore' }],
  [key(commands.exitsOnTerm), { onTerm: 0 }],
  [key(commands.exits0), { exitsWith: 0 }],
  [key(commands.exits3), { exitsWith: 3 }],
  [key(commands.missing), { startError: 'exec: "/no/such/program": stat /no/such/program: no such file or directory' }],
]);

runtimeSuite('fake', () => {
  const clock = new FakeClock();
  const text = new TextEncoder();
  const runtime = new FakeRuntime(
    {
      process: ({ command }) => processes.get(key(command)),
      exec({ command }) {
        if (key(command) === key(execs.hangs)) return 'hang';
        const talks = key(command) === key(execs.talks);
        return { exitCode: talks ? 3 : 0, stdout: text.encode(talks ? 'out\n' : ''), stderr: text.encode(talks ? 'err\n' : '') };
      },
    },
    { clock },
  );
  runtime.addImage(image);
  return Promise.resolve({
    runtime,
    image,
    missingImage: 'mini.test/no/such:image',
    logRoot: '',
    cgroupParent: '',
    async pass(ms) {
      await settle();
      await clock.advance(ms);
    },
    close: () => Promise.resolve(),
  });
});

function key(command: readonly string[]): string {
  return JSON.stringify(command);
}
