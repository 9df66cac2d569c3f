// Scenarios of spec 02, section 13, that need no fault but time, edits and restarts, by number: one agent on Debian's
// containerd, and a power cut at the end. Containers write what happens to them into a file of the node.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Pod, PodSpec } from '../../src/api/gen/kubernetes.ts';
import { systemClock } from '../../src/std/clock.ts';
import { startContainerd, type TestContainerd, whyNoContainerd } from '../support/containerd.ts';
import { exec, forever, goes, isOver, run, statusOf, stays, TellingPods } from '../support/telling-pods.ts';
import { eventually, freePort, options, TestAgent, uidOf } from '../support/test-agent.ts';

/** Says when it is asked to end, and goes on until it is killed. */
const stubborn = (name: string) =>
  run(name, `trap 'echo asked >>/o/log' TERM; echo ${name} begins >>/o/log; while :; do echo tick >>/o/log; sleep 1; done`);
const alive = { ...exec('false'), periodSeconds: 1, failureThreshold: 1 };
const sidecar = { restartPolicy: 'Always' };
const once = (deed: string): string => `test -e /o/again || { touch /o/again; ${deed}; }`;

/** How Pods end, or go on, by themselves. */
const courses: readonly {
  readonly title: string;
  readonly name: string;
  readonly spec: PodSpec;
  readonly becomes: (pod: Pod) => boolean;
  readonly check?: (pods: TellingPods, name: string) => void;
}[] = [
  {
    title: 'C-251 Always: an exit with 0 is a restart',
    name: 'always-0',
    spec: { containers: [run('app', `${once('exit 0')}; ${forever}`)] },
    becomes: (pod) => statusOf(pod, 'app')?.restartCount === 1 && statusOf(pod, 'app')?.state?.running !== undefined,
  },
  {
    title: 'C-251 C-338 OnFailure: an exit with 1 is a restart, with 0 the end',
    name: 'on-failure',
    spec: { restartPolicy: 'OnFailure', containers: [run('app', once('exit 1'))] },
    becomes: (pod) => pod.status?.phase === 'Succeeded' && statusOf(pod, 'app')?.restartCount === 1,
  },
  {
    title: 'C-218 C-251 C-310 Never: an exit with 1 is the end, and the address is still told',
    name: 'never-1',
    spec: { restartPolicy: 'Never', containers: [goes('app', 1)] },
    becomes: (pod) =>
      pod.status?.phase === 'Failed' && statusOf(pod, 'app')?.restartCount === 0 && /^\d+\.\d+\./.test(pod.status.podIP ?? ''),
  },
  {
    title: 'C-258 a rule NotIn: every other exit code is a restart',
    name: 'not-in',
    spec: {
      restartPolicy: 'Never',
      containers: [
        run('app', once('exit 7'), {
          restartPolicy: 'Never',
          restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'NotIn', values: [0] } }],
        }),
      ],
    },
    becomes: (pod) => pod.status?.phase === 'Succeeded' && statusOf(pod, 'app')?.restartCount === 1,
  },
  {
    title: 'C-253 not alive, Never: killed, and the Pod is over',
    name: 'dead-never',
    spec: { restartPolicy: 'Never', containers: [run('app', `trap 'exit 3' TERM; ${forever}`, { livenessProbe: alive })] },
    becomes: (pod) => pod.status?.phase === 'Failed' && statusOf(pod, 'app')?.restartCount === 0,
  },
  {
    title: 'C-254 not alive, a container of policy Always in a Pod of Never: restarted',
    name: 'dead-always',
    spec: { restartPolicy: 'Never', containers: [{ ...stays('app', { livenessProbe: alive }), restartPolicy: 'Always' }] },
    becomes: (pod) => pod.status?.phase === 'Running' && (statusOf(pod, 'app')?.restartCount ?? 0) > 0,
  },
  {
    title: 'C-266 a restart of a regular container does not run init containers again',
    name: 'init-once',
    spec: { initContainers: [goes('init')], containers: [run('app', `echo app begins >>/o/log; ${once('exit 1')}; ${forever}`)] },
    becomes: (pod) => statusOf(pod, 'app')?.restartCount === 1 && statusOf(pod, 'app')?.state?.running !== undefined,
    check: (pods, name) => assert.deepEqual(pods.lines(name), ['init begins', 'init ends', 'app begins', 'app begins']),
  },
  {
    title: 'C-270 a sidecar that is not alive is restarted alone',
    name: 'side-dead',
    spec: {
      initContainers: [stays('side', { ...sidecar, livenessProbe: { ...exec('test -e /o/well'), periodSeconds: 1, failureThreshold: 1 } })],
      containers: [stays('app')],
    },
    becomes: (pod) => (statusOf(pod, 'side')?.restartCount ?? 0) > 0 && statusOf(pod, 'app')?.restartCount === 0,
  },
  {
    title: 'C-271 a sidecar that exits in a loop does not hold up the rest',
    name: 'side-loop',
    spec: { initContainers: [goes('side', 1, sidecar)], containers: [stays('app')] },
    becomes: (pod) => (statusOf(pod, 'side')?.restartCount ?? 0) > 1 && statusOf(pod, 'app')?.ready === true,
  },
  {
    title: 'C-273 C-340 initialisation fails beside a sidecar, Never: the sidecar ends with the Pod',
    name: 'init-never',
    spec: { restartPolicy: 'Never', initContainers: [stays('side', sidecar), goes('init', 1)], containers: [goes('app')] },
    becomes: (pod) => pod.status?.phase === 'Failed' && statusOf(pod, 'side')?.state?.terminated !== undefined,
    check: (pods, name) => assert.deepEqual(pods.lines(name), ['side begins', 'init begins', 'init ends', 'side ends']),
  },
  {
    title: 'C-274 C-340 initialisation fails beside a sidecar, Always: tried again, the sidecar stays, the Pod is pending',
    name: 'init-always',
    spec: { initContainers: [stays('side', sidecar), goes('init', 1)], containers: [goes('app')] },
    becomes: (pod) => pod.status?.phase === 'Pending' && (statusOf(pod, 'init')?.restartCount ?? 0) > 1,
    check: (pods, name) => assert.equal(pods.count(name, 'side begins'), 1),
  },
  {
    title: 'C-290 the exit code of a sidecar does not count',
    name: 'side-code',
    spec: {
      restartPolicy: 'Never',
      initContainers: [run('side', `trap 'exit 9' TERM; ${forever}`, sidecar)],
      containers: [goes('app')],
    },
    becomes: (pod) => pod.status?.phase === 'Succeeded' && statusOf(pod, 'side')?.state?.terminated?.exitCode === 9,
  },
  {
    title: 'C-306 C-336 Always: one runs, one has failed and is backed off',
    name: 'half',
    spec: { containers: [stays('well'), goes('ill', 1)] },
    becomes: (pod) => {
      const { state, lastState } = statusOf(pod, 'ill') ?? {};
      const isBackedOff =
        state?.waiting?.reason === 'CrashLoopBackOff' &&
        /^back-off 2s restarting failed container=ill pod=half-edge1_default\(/.test(state.waiting.message ?? '');
      return pod.status?.phase === 'Running' && isBackedOff && lastState?.terminated?.exitCode === 1;
    },
  },
  {
    title: 'C-293 C-292 initialisation, then the hook after the start, and only then the next container',
    name: 'hook',
    spec: {
      initContainers: [goes('init')],
      containers: [stays('app', { lifecycle: { postStart: exec('sleep 1; echo hook >>/o/log') } }), stays('next')],
    },
    becomes: (pod) => statusOf(pod, 'next')?.state?.running !== undefined && statusOf(pod, 'app')?.state?.running !== undefined,
    check: (pods, name) =>
      assert.deepEqual(pods.lines(name).slice(0, 5), ['init begins', 'init ends', 'app begins', 'hook', 'next begins']),
  },
  {
    title: 'C-335 a volume that cannot be mounted: scheduled, initialised as far as there is nothing to do, not ready to start',
    name: 'no-volume',
    spec: {
      containers: [stays('app', { volumeMounts: [{ name: 'gone', mountPath: '/gone' }] })],
      volumes: [{ name: 'gone', hostPath: { path: '/no/such/folder', type: 'Directory' } }],
    },
    becomes: ({ status }) => {
      const of = (type: string): string | undefined => status?.conditions?.find((one) => one.type === type)?.status;
      const all = ['PodScheduled', 'Initialized', 'PodReadyToStartContainers', 'Ready'].map(of);
      return status?.phase === 'Pending' && all.join() === 'True,True,False,False';
    },
  },
  {
    title: 'C-345 long last words of five containers: each gets its share of what a Pod may say',
    name: 'words',
    spec: {
      restartPolicy: 'Never',
      containers: ['a', 'b', 'c', 'd', 'e'].map((name) => run(name, 'head -c 5000 /dev/zero | tr "\\0" x >/dev/termination-log')),
    },
    becomes: ({ status }) =>
      status?.phase === 'Succeeded' && (status.containerStatuses ?? []).every(({ state }) => state?.terminated?.message?.length === 2457),
  },
];

describe('scenarios of Pods', { skip: whyNoContainerd() ?? false, timeout: 280_000 }, () => {
  let containerd: TestContainerd;
  let agent: TestAgent;
  let pods: TellingPods;
  const logFolder = (name: string, uid: string): string => path.join(agent.rootDir, 'logs', `default_${name}-edge1_${uid}`, 'app');
  const begins = (name: string, line: string): Promise<true> =>
    eventually(agent, `${name}: ${line}`, () => (pods.lines(name).includes(line) ? true : undefined), 40);
  const ticksAfterAsked = (name: string): number => {
    const lines = pods.lines(name);
    const from = lines.indexOf('asked');
    assert.ok(from >= 0, `${name}: ${lines.join()}`);
    const rest = lines.slice(from);
    const next = rest.findIndex((line) => line.endsWith('begins'));
    return rest.slice(0, next < 0 ? rest.length : next).filter((line) => line === 'tick').length;
  };

  before(async () => {
    containerd = await startContainerd({ name: 'scenarios' });
    agent = new TestAgent({ endpoint: containerd.endpoint, kubelet: { crashLoopBackOff: { maxContainerRestartPeriod: '2s' } } });
    pods = new TellingPods(agent);
    await agent.configure();
    agent.put('bad.json', '{"apiVersion": "v1", "kind": "Pod", ');
    agent.put(
      'wrong.yaml',
      'apiVersion: v1\nkind: Pod\nmetadata: {name: wrong}\nspec: {containers: [{name: a, image: b, ports: [{containerPort: 99999}]}]}\n',
    );
    symlinkSync('/no/such/file', path.join(agent.folder, 'dangling.yaml'));
    for (const { name, spec } of courses) pods.put(name, spec);
    await agent.start();
  });
  after(async () => {
    for (const file of readdirSync(agent.folder)) rmSync(path.join(agent.folder, file));
    await eventually(
      agent,
      'all is removed',
      async () => ((await agent.runtime.listPodSandboxes({}, options)).length === 0 ? true : undefined),
      40,
    );
    await agent.destroy();
    await containerd.stop();
  });

  for (const { title, name, becomes, check } of courses) {
    it(title, async () => {
      await agent.until(name, title, becomes, 60);
      check?.(pods, name);
    });
  }

  it('C-201 C-217 bad files among good ones: the good ones run', async () => {
    const verdicts = await agent.verdicts();
    assert.deepEqual(
      ['bad.json', 'wrong.yaml'].map((file) => verdicts.get(file)?.verdict.kind),
      ['rejected', 'rejected'],
    );
    for (const { name } of courses) assert.equal(verdicts.get(`${name}.json`)?.verdict.kind, 'accepted', name);
  });

  it('C-203 a container renamed in a Pod on the node’s network: the port is free for its successor', async () => {
    const port = await freePort();
    const server = (name: string): PodSpec => ({
      hostNetwork: true,
      containers: [run(name, `httpd -p 127.0.0.1:${port} -h /o; trap 'exit 0' TERM; ${forever}`, { ports: [{ containerPort: port }] })],
    });
    pods.put('port', server('before'));
    await agent.ready('port');
    pods.put('port', server('after'));
    await agent.ready('port', (pod) => pod.status?.containerStatuses?.[0]?.name === 'after' && statusOf(pod, 'after')?.restartCount === 0);
    assert.deepEqual(
      (await agent.events('port')).filter((event) => event.startsWith('NodePorts')),
      [],
    );
  });

  it('C-202 C-204 C-205 C-207 the grace is given at a removal, at an edit, and before a Pod that was put back', async () => {
    const spec = (name: string): PodSpec => ({ terminationGracePeriodSeconds: 6, containers: [stubborn(name)] });
    for (const name of ['removed', 'edited', 'back']) pods.put(name, spec('app'));
    await Promise.all(['removed', 'edited', 'back'].map((name) => begins(name, 'tick')));
    agent.remove('removed.json');
    agent.remove('back.json');
    pods.put('edited', { ...spec('app'), containers: [stays('second')] });
    await begins('back', 'asked');
    pods.put('back', spec('app'));
    await agent.gone('removed');
    await begins('edited', 'second begins');
    await eventually(agent, 'back runs again', () => (pods.count('back', 'app begins') === 2 ? true : undefined));
    // A tick a second, the first at once.
    for (const name of ['removed', 'edited', 'back']) {
      const ticks = ticksAfterAsked(name);
      assert.ok(ticks >= 4 && ticks <= 9, `${name}: ${ticks} ticks`);
    }
    agent.remove('back.json');
  });

  it('C-280 C-281 a hook before the end uses up the grace, wholly or in part; a sidecar ends all the same', async () => {
    const hooked = (hook: string): PodSpec => ({
      terminationGracePeriodSeconds: 5,
      initContainers: [stays('side', sidecar)],
      containers: [{ ...stubborn('app'), lifecycle: { preStop: exec(hook) } }],
    });
    pods.put('part-hook', hooked('sleep 2; echo hook ends >>/o/log'));
    pods.put('long-hook', hooked('echo hook begins >>/o/log; sleep 600'));
    await Promise.all(['part-hook', 'long-hook'].map((name) => begins(name, 'tick')));
    for (const name of ['part-hook', 'long-hook']) agent.remove(`${name}.json`);
    await Promise.all(['part-hook', 'long-hook'].map((name) => agent.gone(name)));
    const part = pods.lines('part-hook');
    assert.ok(part.indexOf('hook ends') < part.indexOf('asked') && part.includes('hook ends'), part.join());
    const left = ticksAfterAsked('part-hook');
    assert.ok(left >= 2 && left <= 5, `${left} ticks of the grace are left after the hook`);
    const long = pods.lines('long-hook');
    assert.ok(long.includes('hook begins'));
    for (const name of ['part-hook', 'long-hook'])
      assert.ok(pods.lines(name).includes('side ends'), `${name}: ${pods.lines(name).slice(-4).join()}`);
  });

  it('C-206 many edits while the first version ends: only the last one starts', async () => {
    pods.put('edits', { terminationGracePeriodSeconds: 10, containers: [stubborn('first')] });
    await begins('edits', 'tick');
    for (let version = 1; version <= 60; version++) {
      pods.put('edits', { containers: [stays(`v${version}`)] });
      // A little slower than an editor that saves at every key.
      await systemClock.sleep(40, options.signal);
    }
    await begins('edits', 'v60 begins');
    assert.deepEqual(
      pods.lines('edits').filter((line) => line.endsWith('begins')),
      ['first begins', 'v60 begins'],
    );
  });

  it('C-208 the runtime goes away while a Pod ends: it ends when the runtime is back', async () => {
    pods.put('away', { terminationGracePeriodSeconds: 3, containers: [stubborn('app')] });
    await begins('away', 'tick');
    agent.remove('away.json');
    await begins('away', 'asked');
    await containerd.kill();
    await eventually(agent, 'the agent has seen it', async () => ((await agent.cli('doctor')).code === 0 ? undefined : true));
    assert.ok((await agent.pod('away')) !== undefined, 'it counts as ending');
    await containerd.restart();
    await agent.gone('away');
  });

  it('C-211 C-212 three manifests of one Pod: one runs, the next starts when it goes, one that was taken back never does', async () => {
    const put = (file: string, container: string): void => pods.put('same', { containers: [stays(container)] }, {}, file);
    put('same-1.json', 'one');
    await begins('same', 'one begins');
    put('same-2.json', 'two');
    put('same-3.json', 'three');
    await eventually(agent, 'both wait', async () => {
      const verdicts = await agent.verdicts();
      return ['same-2.json', 'same-3.json'].every((file) => verdicts.get(file)?.verdict.kind === 'shadowed') ? true : undefined;
    });
    agent.remove('same-3.json');
    agent.remove('same-1.json');
    await begins('same', 'two begins');
    agent.remove('same-2.json');
    await agent.gone('same');
    assert.deepEqual(pods.lines('same'), ['one begins', 'one ends', 'two begins', 'two ends']);
  });

  it('C-235 no record is left but a log file: counts and logs go on from it', async () => {
    const uid = '33333333-3333-3333-3333-333333333333';
    mkdirSync(logFolder('counted', uid), { recursive: true });
    symlinkSync('/dev/null', path.join(logFolder('counted', uid), '3.log'));
    pods.put('counted', { containers: [stays('app')] }, { uid });
    const pod = await agent.ready('counted');
    assert.equal(statusOf(pod, 'app')?.restartCount, 4);
    assert.deepEqual(readdirSync(logFolder('counted', uid)).sort(), ['3.log', '4.log']);
  });

  it('C-334 the conditions come true in their order', async () => {
    pods.put('conditions', {
      initContainers: [run('init', 'sleep 2')],
      containers: [
        run('app', `sleep 2; touch /tmp/up; trap 'exit 0' TERM; ${forever}`, {
          readinessProbe: { ...exec('test -e /tmp/up'), periodSeconds: 1 },
        }),
      ],
    });
    const pod = await agent.ready('conditions');
    const at = (type: string): number => Date.parse(String(pod.status?.conditions?.find((one) => one.type === type)?.lastTransitionTime));
    const times = ['PodScheduled', 'PodReadyToStartContainers', 'Initialized', 'ContainersReady', 'Ready'].map(at);
    assert.deepEqual(
      times,
      [...times].sort((a, b) => a - b),
    );
    assert.ok((times[2] ?? 0) > (times[1] ?? 0) && (times[3] ?? 0) > (times[2] ?? 0), times.join());
  });

  it('C-223 C-227 C-228 C-238 a restart of the agent: nothing is noticed, what was done is not done again, what is missing is made', async () => {
    const most = { resources: { requests: { cpu: String(os.cpus().length * 0.6) } } };
    pods.put('plain', { containers: [stays('app')] });
    pods.put('lost-side', { initContainers: [stays('side', sidecar)], containers: [stays('app')] });
    pods.put('slow-init', {
      initContainers: [goes('first'), run('second', 'until test -e /o/go; do sleep 0.2; done')],
      containers: [stays('app')],
    });
    pods.put('done', { restartPolicy: 'Never', containers: [goes('app', 0, most)] });
    await Promise.all([
      agent.ready('plain'),
      agent.ready('lost-side'),
      begins('slow-init', 'first ends'),
      agent.until('done', 'is over', isOver),
    ]);
    pods.put('after', { containers: [stays('app', most)] });
    await agent.ready('after');
    const before = await agent.pod('plain');
    const slow = await agent.pod('slow-init');
    const records = await agent.containers(uidOf((await agent.pod('lost-side')) ?? {}));
    const firsts = await agent.containers(uidOf(slow ?? {}));
    await agent.until('slow-init', 'is in its second step', (pod) => statusOf(pod, 'second')?.state?.running !== undefined);
    await agent.end('SIGKILL');
    const side = records.find(({ name }) => name === 'side')?.id ?? '';
    await agent.runtime.stopContainer({ containerId: side, timeoutSeconds: 0 }, options);
    await agent.runtime.removeContainer(side, options);
    await agent.runtime.removeContainer(firsts.find(({ name }) => name === 'first')?.id ?? '', options);
    await agent.start();
    await eventually(agent, 'the sidecar is made again', () => (pods.count('lost-side', 'side begins') === 2 ? true : undefined));
    await agent.ready('lost-side');
    assert.equal(pods.count('lost-side', 'app begins'), 1);
    const same = await agent.pod('plain');
    assert.deepEqual(same?.status?.containerStatuses, before?.status?.containerStatuses);
    assert.deepEqual(same?.status?.conditions, before?.status?.conditions);
    mkdirSync(path.join(agent.dir, 'host', 'slow-init', 'go'));
    await agent.ready('slow-init');
    assert.equal(pods.count('slow-init', 'first begins'), 1);
    assert.equal((await agent.pod('after'))?.status?.phase, 'Running');
    assert.equal((await agent.pod('done'))?.status?.phase, 'Succeeded');
  });

  it('C-237 many short Pods and restarts of the agent: no address stays taken', async () => {
    const taken = (): readonly string[] =>
      readdirSync(path.join(containerd.dir, 'run', 'containerd', 'ipam', containerd.bridge)).filter((name) => /^\d/.test(name));
    const names = Array.from({ length: 12 }, (_, i) => `short-${i}`);
    for (let round = 0; round < 2; round++) {
      for (const name of names) pods.put(name, { restartPolicy: 'Never', containers: [goes(`r${round}`)] });
      await Promise.all(names.slice(0, 4).map((name) => begins(name, `r${round} begins`)));
      await agent.end('SIGKILL');
      await agent.start();
      await Promise.all(
        names.map((name) => agent.until(name, 'is over', (pod) => isOver(pod) && pod.spec?.containers[0]?.name === `r${round}`, 60)),
      );
    }
    for (const name of names) agent.remove(`${name}.json`);
    await Promise.all(names.map((name) => agent.gone(name)));
    await eventually(agent, 'as many addresses as sandboxes', async () => {
      const ready = (await agent.runtime.listPodSandboxes({}, options)).filter(({ state }) => state === 'ready');
      const statuses = await Promise.all(ready.map(({ id }) => agent.runtime.podSandboxStatus(id, options)));
      return statuses.filter((status) => (status?.ips.length ?? 0) > 0).length === taken().length ? true : undefined;
    });
  });

  it('C-231 C-232 C-233 C-241 C-242 a power cut: what was done stays done, what was cut off is begun again or has failed', async () => {
    pods.put('order', { initContainers: [goes('init'), stays('side', sidecar)], containers: [stays('app')] });
    pods.put('mid', { restartPolicy: 'Never', containers: [stays('app')] });
    pods.put('over', { restartPolicy: 'OnFailure', containers: [goes('app'), goes('other')] });
    pods.put('part', { restartPolicy: 'OnFailure', containers: [goes('fine'), stays('cut')] });
    await Promise.all([agent.ready('order'), agent.ready('mid'), agent.until('over', 'is over', isOver), begins('part', 'fine ends')]);
    await agent.until('part', 'is half over', (pod) => statusOf(pod, 'fine')?.state?.terminated !== undefined);
    assert.equal((await agent.pod('done'))?.status?.phase, 'Succeeded');
    await agent.end('SIGTERM');
    await containerd.powerLoss();
    rmSync(agent.runDir, { recursive: true, force: true });
    await containerd.restart();
    await agent.start();
    await agent.ready('order', (pod) => statusOf(pod, 'app')?.restartCount === 1);
    assert.deepEqual(pods.lines('order').slice(-4), ['init begins', 'init ends', 'side begins', 'app begins']);
    const mid = await agent.until('mid', 'has failed', ({ status }) => status?.phase === 'Failed');
    assert.equal(pods.count('mid', 'app begins'), 1);
    assert.equal((await agent.sandboxes(uidOf(mid))).filter(({ state }) => state === 'ready').length, 0);
    await eventually(agent, 'what was cut off runs again', () => (pods.count('part', 'cut begins') === 2 ? true : undefined));
    assert.equal(pods.count('part', 'fine begins'), 1);
    for (const name of ['over', 'done']) {
      assert.equal((await agent.pod(name))?.status?.phase, 'Succeeded', name);
      assert.equal(pods.count(name, 'app begins'), 1, name);
    }
  });
});
