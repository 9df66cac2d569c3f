// `npm run dev`: the agent from its sources with a runtime that only pretends, on a temporary folder that goes when it
// ends. No root, no containers: for work on everything that is not the runtime. Manifests: copies of examples/.
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createLogger } from '../src/agent/logger.ts';
import { systemClock } from '../src/std/clock.ts';
import { FakeAgent } from '../test/support/fake-agent.ts';

const checkout = path.join(import.meta.dirname, '..');
const verbosity = Number(process.argv[2] ?? 4);
const dir = mkdtempSync(path.join(tmpdir(), 'pinpod-dev-'));
const logger = createLogger({ format: 'text', verbosity, write: (line) => void process.stderr.write(line) });
const agent = new FakeAgent({ dir, nodeName: 'dev', agent: { kubeAPI: { port: 0 } } }, { clock: systemClock, logger });
cpSync(path.join(checkout, 'examples'), agent.folder, { recursive: true });
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void agent.stop());
try {
  await agent.start();
  console.error(`
The agent runs with a pretended runtime: nothing is really started. Edit, add and remove manifests in

    ${agent.folder}

and look at it from another terminal:

    export PINPOD_RUN_DIR=${agent.runDir}
    ./bin/pinpod get pods -w
    ./bin/pinpod manifests
    kubectl --kubeconfig ${path.join(agent.runDir, 'kubeconfig.yaml')} get pods

Ctrl-C ends it and removes the folder.
`);
  await agent.ended();
} finally {
  rmSync(dir, { recursive: true, force: true });
}
