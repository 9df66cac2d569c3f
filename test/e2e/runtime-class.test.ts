// RuntimeClass by the node's own table: a containerd with a second handler, whose runc leaves a trace of being used.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { PodSpec } from '../../src/api/gen/kubernetes.ts';
import { offlineImages, startContainerd, type TestContainerd, whyNoContainerd } from '../support/containerd.ts';
import { eventually, TestAgent, uidOf } from '../support/test-agent.ts';

const forever = 'trap "exit 0" TERM; while :; do sleep 1000 & wait; done';

function spec(runtimeClassName?: string): PodSpec {
  const containers = [{ name: 'app', image: offlineImages.busybox, command: ['sh', '-c', forever] }];
  return { terminationGracePeriodSeconds: 2, containers, ...(runtimeClassName !== undefined && { runtimeClassName }) };
}

describe('RuntimeClass', { skip: whyNoContainerd() ?? false }, () => {
  let containerd: TestContainerd;
  let daemon: ChildProcess | undefined;
  let agent: TestAgent;
  const cgroupParents: string[] = [];
  const trace = (): string => path.join(containerd.dir, 'trace');
  const handlerOf = async (name: string): Promise<string | undefined> => {
    const pod = await agent.ready(name);
    const [sandbox] = await agent.sandboxes(uidOf(pod));
    return sandbox?.runtimeHandler;
  };

  before(async () => {
    containerd = await startContainerd({ name: 'handlers', cgroupParents });
    await containerd.halt();
    const text = readFileSync(path.join(containerd.dir, 'run', 'containerd', 'config.toml'), 'utf8');
    const runc = /BinaryName = "(.+)"/.exec(text)?.[1] ?? '';
    const second = path.join(containerd.dir, 'second-runc');
    writeFileSync(second, `#!/bin/sh\necho "$*" >>${trace()}\nexec ${runc} "$@"\n`);
    chmodSync(second, 0o755);
    const table = '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.';
    const own = text.slice(text.indexOf(`${table}runc]`));
    const config = path.join(containerd.dir, 'two-handlers.toml');
    writeFileSync(config, `${text}\n${own.replaceAll('runtimes.runc', 'runtimes.second').replace(`"${runc}"`, `"${second}"`)}`);
    daemon = spawn('setpriv', ['--pdeathsig', 'KILL', '/usr/bin/containerd', '--config', config], { stdio: 'ignore' });
    agent = new TestAgent({
      endpoint: containerd.endpoint,
      agent: { runtimeHandlers: { traced: 'second', plain: 'runc', gone: 'not-there' } },
    });
    cgroupParents.push(agent.cgroupRoot.slice(1));
    await agent.configure();
    await agent.start();
  });
  after(async () => {
    await agent?.end('SIGKILL');
    if (daemon !== undefined && daemon.exitCode === null) {
      daemon.kill('SIGTERM');
      await once(daemon, 'exit');
    }
    await containerd?.stop();
    await agent?.destroy();
  });

  it('L-194 a class of the table runs with its handler; none runs with the default one', async () => {
    agent.putPod('default', spec());
    agent.putPod('plain', spec('plain'));
    assert.equal(await handlerOf('default'), '');
    assert.equal(await handlerOf('plain'), 'runc');
    assert.equal(existsSync(trace()), false);
    agent.putPod('traced', spec('traced'));
    assert.equal(await handlerOf('traced'), 'second');
    // The sandbox and its container.
    assert.equal(readFileSync(trace(), 'utf8').match(/ create /g)?.length, 2);
    assert.equal((await agent.pod('traced'))?.spec?.runtimeClassName, 'traced');
  });

  it('a handler that the runtime has not, and a class that the table has not, are told', async () => {
    agent.putPod('gone', spec('gone'));
    agent.putPod('unknown', spec('kata'));
    for (const [name, text] of [
      ['gone', /no runtime for "not-there" is configured/],
      ['unknown', /RuntimeClass "kata" is not known to this node: in AgentConfiguration runtimeHandlers has gone, plain, traced/],
    ] as const) {
      await eventually(agent, name, async () => {
        const events = await agent.events(name);
        return events.some((event) => event.startsWith('FailedCreatePodSandBox: ') && text.test(event)) ? true : undefined;
      });
      agent.remove(`${name}.json`);
      await agent.gone(name);
    }
  });

  it('D2: after kill -9 of the agent the handlers are as they were, and nothing was made anew', async () => {
    const before = readFileSync(trace(), 'utf8').match(/ create /g)?.length;
    await agent.end('SIGKILL');
    await agent.start();
    assert.equal(await handlerOf('traced'), 'second');
    assert.equal(readFileSync(trace(), 'utf8').match(/ create /g)?.length, before);
    for (const name of ['default', 'plain', 'traced']) agent.remove(`${name}.json`);
    for (const name of ['default', 'plain', 'traced']) await agent.gone(name);
  });
});
