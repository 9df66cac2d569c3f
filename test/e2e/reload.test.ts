// The whole agent on real containerd: its configuration is changed under it by SIGHUP, and `pinpod diff` foretells what
// then really happens.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Event, Pod } from '../../src/api/gen/kubernetes.ts';
import { offlineImages, whyNoContainerd } from '../support/containerd.ts';
import { eventually, nodeName, options, TestAgent, uidOf } from '../support/test-agent.ts';

const restarts = (pod: Pod): number | undefined => pod.status?.containerStatuses?.[0]?.restartCount;

describe('SIGHUP and pinpod diff', { skip: whyNoContainerd() }, () => {
  const agent = new TestAgent({ kubelet: { maxPods: 1 } });
  const configFile = path.join(agent.dir, 'config.yaml');
  const manifest = (name: string, change: { readonly uid?: string; readonly image?: string; readonly value?: string } = {}): string => {
    const { uid, image = offlineImages.pause, value = 'a' } = change;
    const containers = [{ name: 'main', image, env: [{ name: 'E', value }] }];
    const spec = { hostNetwork: true, terminationGracePeriodSeconds: 1, containers };
    return JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name, ...(uid === undefined ? {} : { uid }) }, spec });
  };
  const events = async (reason: string): Promise<readonly Event[]> => {
    const { items } = (await agent.client.json('/api/v1/events', options)) as { readonly items: readonly Event[] };
    return items.filter((event) => event.reason === reason);
  };
  /** Rewrites the configuration file's first document. */
  const edit = (change: (fields: Record<string, unknown>) => void): void => {
    const [kubelet = '', own = ''] = readFileSync(configFile, 'utf8').split('\n---\n');
    const fields = JSON.parse(kubelet) as Record<string, unknown>;
    change(fields);
    writeFileSync(configFile, `${JSON.stringify(fields)}\n---\n${own}`);
    agent.signal('SIGHUP');
  };
  const inForce = async (): Promise<Record<string, unknown>> => {
    const answer = (await agent.client.json('/pinpod/v1/config', options)) as { readonly kubelet: Record<string, unknown> };
    return answer.kubelet;
  };

  before(async () => {
    await agent.configure();
    agent.put('a.json', manifest('a', { uid: 'uid-a' }));
    agent.put('b.json', manifest('b'));
    await agent.start();
  });
  after(() => agent.destroy());

  it('a Pod that was refused is admitted when a reload makes room (D4)', async () => {
    await agent.ready('a');
    const refused = await eventually(agent, 'b is refused', async () => {
      const pod = await agent.pod('b');
      return pod?.status?.reason === 'OutOfpods' ? pod : undefined;
    });
    assert.equal(refused.status?.phase, 'Failed');
    edit((fields) => {
      fields['maxPods'] = 5;
    });
    await agent.ready('b');
    const { message, involvedObject } = (await eventually(
      agent,
      'it is told',
      async () => (await events('ConfigurationReloaded'))[0],
    )) as Event;
    assert.equal(message, 'The configuration was read again; applied: maxPods');
    assert.deepEqual([involvedObject?.kind, involvedObject?.name], ['Node', nodeName]);
    assert.equal((await inForce())['maxPods'], 5);
  });

  it('a configuration that cannot be used changes nothing, and says why', async () => {
    const before = await agent.ready('a');
    edit((fields) => {
      fields['maxPods'] = -5;
      fields['colour'] = 'red';
    });
    const { message } = await eventually(agent, 'it is told', async () => (await events('ConfigurationRejected'))[0]);
    assert.match(message ?? '', /maxPods: Invalid value: -5/);
    assert.match(message ?? '', /unknown field "colour"/);
    assert.equal((await inForce())['maxPods'], 5);
    assert.match((await agent.cli('doctor')).out, /unknown field "colour"/);
    const still = await agent.ready('a');
    assert.deepEqual([uidOf(still), restarts(still)], [uidOf(before), 0]);
    edit((fields) => {
      fields['maxPods'] = 5;
      delete fields['colour'];
    });
    await eventually(agent, 'the fault is gone', async () => (/"colour"/.test((await agent.cli('doctor')).out) ? undefined : true));
  });

  it('a log level and a folder of manifests are taken over, a port waits for a restart', async () => {
    const other = path.join(agent.dir, 'other');
    mkdirSync(other);
    writeFileSync(path.join(other, 'c.json'), manifest('c'));
    const { output } = agent;
    edit((fields) => {
      fields['logging'] = { verbosity: 4 };
      fields['staticPodPath'] = other;
      fields['podPidsLimit'] = 100;
    });
    await agent.ready('c');
    await agent.gone('a');
    await agent.gone('b');
    const said = agent.output.slice(output.length);
    assert.match(said, / debug /);
    assert.match(said, /changed, but only applied by a restart of the agent: podPidsLimit/);
    edit((fields) => {
      fields['logging'] = { verbosity: 2 };
      fields['staticPodPath'] = agent.folder;
    });
    await agent.gone('c');
    await agent.ready('a');
    await agent.ready('b');
  });

  it('diff: what it foretells of a Pod with a fixed UID is what happens', async () => {
    const before = await agent.ready('a');
    const container = await agent.running(uidOf(before));
    const file = path.join(agent.dir, 'a.json');
    writeFileSync(file, manifest('a', { uid: 'uid-a', value: 'b' }));
    const kept = await agent.cli('diff', file);
    assert.equal(kept.code, 1, kept.err);
    assert.equal(
      kept.out,
      `default/a-${nodeName}: updated (${path.join(agent.folder, 'a.json')})
  - spec.containers[main].env[E].value: "a"
  + spec.containers[main].env[E].value: "b"
  container main: kept (its new definition counts from its next start)
`,
    );
    agent.put('a.json', readFileSync(file));
    await eventually(agent, 'nothing is left to do', async () => ((await agent.cli('diff', file)).code === 0 ? true : undefined));
    assert.equal((await agent.running(uidOf(before))).id, container.id);
    writeFileSync(file, manifest('a', { uid: 'uid-a', image: offlineImages.busybox, value: 'b' }));
    assert.match((await agent.cli('diff', file)).out, /container main: restarted \(Container main definition changed, will be restarted\)/);
  });

  it('diff: a Pod without one is replaced; a new one starts; nothing is nothing', async () => {
    const before = await agent.ready('b');
    const changed = manifest('b', { value: 'c' });
    const file = path.join(agent.dir, 'b.json');
    writeFileSync(file, changed);
    const { code, out } = await agent.cli('diff', file, '-o', 'json');
    assert.equal(code, 1);
    const answer = JSON.parse(out) as { readonly pods: readonly Record<string, unknown>[] };
    assert.deepEqual(
      answer.pods.map(({ pod, change, containers }) => ({ pod, change, containers })),
      [{ pod: `default/b-${nodeName}`, change: 'replaced', containers: [{ name: 'main', change: 'restarted' }] }],
    );
    agent.put('b.json', changed);
    const next = await agent.ready('b', (pod) => uidOf(pod) !== uidOf(before));
    assert.notEqual(uidOf(next), uidOf(before));
    assert.deepEqual(await agent.cli('diff', agent.folder), { code: 0, out: '', err: '' });
    const fresh = path.join(agent.dir, 'new.json');
    writeFileSync(fresh, manifest('new'));
    assert.match((await agent.cli('diff', fresh)).out, /^default\/new-edge1: new /);
    const pruned = await agent.cli('diff', '--prune', fresh);
    assert.match(pruned.out, /default\/a-edge1: removed/);
    assert.match(pruned.out, /default\/b-edge1: removed/);
  });
});
