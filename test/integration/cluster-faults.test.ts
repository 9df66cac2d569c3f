// The whole agent with an API server that misbehaves in one way after another (issue 6, point 5): Pods start, change and
// stop as without it (D3), the cause is said by doctor, an Event and a metric (D5), requests stay few, and everything comes
// right without a restart. Each has an agent and a server of its own; all run side by side.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Event, Pod } from '../../src/api/gen/kubernetes.ts';
import type { DoctorReport } from '../../src/api/trouble.ts';
import { systemClock } from '../../src/std/clock.ts';
import { FakeAgent } from '../support/fake-agent.ts';
import { KubeApiDouble, type Rule, type SeenRequest } from '../support/kube-api-double.ts';
import { freePort } from '../support/test-agent.ts';

const { signal } = new AbortController();
const nodeName = 'node1';

interface World {
  readonly agent: FakeAgent;
  readonly double: KubeApiDouble;
  readonly port: number;
  readonly metricsPort: number;
}

interface Fault {
  readonly what: string;
  /** From before the agent starts. */
  readonly begin: (w: World) => void | Promise<void>;
  readonly end?: (w: World) => void | Promise<void>;
  /** As doctor says it: `<what is held up> <cause>`; none for what heals by itself. */
  readonly says: string | undefined;
  /** The reason of the Event. */
  readonly event?: string;
  /** The mirror is there although it lasts. */
  readonly isShown?: boolean;
}

const all =
  (code: number, reason: string, more: { readonly retryAfterSeconds?: number } = {}): Rule =>
  () => ({ kind: 'status', status: { code, reason, message: `${reason}, says the test` }, ...more });

const onPods =
  (method: string, code: number, reason: string, message: string, isStatus = false): Rule =>
  (r: SeenRequest) =>
    r.method === method && /\/pods(\/|$)/.test(r.path) && r.path.endsWith('/status') === isStatus
      ? { kind: 'status', status: { code, reason, message } }
      : undefined;

const rule =
  (...rules: readonly Rule[]) =>
  ({ double }: World): void => {
    double.rules = [...rules];
  };

const faults: readonly Fault[] = [
  {
    what: 'absent',
    begin: ({ double }) => double.close(),
    end: async ({ double, port }) => void (await double.listen(port)),
    says: 'server unreachable',
  },
  { what: 'hanging', begin: rule(() => ({ kind: 'hang' })), says: 'server timeout' },
  { what: 'cutting connections', begin: rule(() => ({ kind: 'drop' })), says: 'server unreachable' },
  { what: '401', begin: rule(all(401, 'Unauthorized')), says: 'server unauthorized' },
  { what: '403 for everything', begin: rule(all(403, 'Forbidden')), says: 'node forbidden' },
  {
    what: '403 of NodeRestriction for mirrors',
    begin: rule(
      onPods('POST', 403, 'Forbidden', 'pods "a-node1" is forbidden: node "x" can only create pods with spec.nodeName set to itself'),
    ),
    says: `mirror of default/a-${nodeName} forbidden`,
    event: 'MirrorPodFault',
  },
  {
    what: '409 for every status',
    begin: rule(onPods('PATCH', 409, 'Conflict', 'the object has been modified', true)),
    says: `mirror of default/a-${nodeName} conflict`,
    event: 'MirrorPodFault',
    isShown: true,
  },
  {
    what: '422 for mirrors',
    begin: rule(onPods('POST', 422, 'Invalid', 'Pod "a-node1" is invalid: spec.x: Invalid value')),
    says: `mirror of default/a-${nodeName} invalid`,
    event: 'MirrorPodFault',
  },
  { what: '429 with Retry-After', begin: rule(all(429, 'TooManyRequests', { retryAfterSeconds: 2 })), says: 'server too-many-requests' },
  { what: '500', begin: rule(all(500, 'InternalError')), says: 'server server-error' },
  {
    what: 'an admission webhook that denies mirrors',
    begin: rule(onPods('POST', 400, 'BadRequest', 'admission webhook "no.example.com" denied the request: no')),
    says: `mirror of default/a-${nodeName} rejected`,
    event: 'MirrorPodFault',
  },
  {
    what: 'a missing namespace',
    begin: ({ double }) => {
      double.namespaces = new Set(['kube-node-lease']);
    },
    end: ({ double }) => {
      double.namespaces = undefined;
    },
    says: `mirror of default/a-${nodeName} namespace-missing`,
    event: 'MirrorPodFault',
  },
  {
    what: 'a clock an hour ahead',
    begin: ({ double }) => {
      double.serverTimeSkewMs = 3_600_000;
    },
    end: ({ double }) => {
      double.serverTimeSkewMs = 0;
    },
    says: 'clock clock-skew',
    isShown: true,
  },
  { what: "a proxy's page", begin: rule(() => ({ kind: 'text', code: 200, text: '<html>sign in</html>' })), says: 'server bad-answer' },
  {
    what: 'watches that expire',
    begin: ({ double }) => {
      double.oldestVersion = Number.MAX_SAFE_INTEGER;
    },
    end: ({ double }) => {
      double.oldestVersion = 0;
    },
    says: undefined,
    isShown: true,
  },
];

async function until<T>(what: string, look: () => Promise<T | undefined> | T | undefined, limitMs = 90_000): Promise<T> {
  const end = systemClock.now() + limitMs;
  for (;;) {
    const value = await look();
    if (value !== undefined) return value;
    assert.ok(systemClock.now() < end, `not so: ${what}`);
    await systemClock.sleep(50, signal);
  }
}

async function setUp(t: TestContext): Promise<World & { readonly say: () => Promise<readonly string[]> }> {
  const dir = await mkdtemp(path.join(tmpdir(), 'pinpod-faults-'));
  const double = new KubeApiDouble({ clock: systemClock });
  const url = await double.listen();
  const kubeconfig = path.join(dir, 'cluster.conf');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server: url } }],
    users: [{ name: 'u', user: { token: 't' } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  await writeFile(kubeconfig, JSON.stringify(config));
  const metricsPort = await freePort();
  const agent = new FakeAgent(
    {
      dir,
      nodeName,
      kubelet: { enableServer: true, readOnlyPort: metricsPort, address: '127.0.0.1' },
      agent: { cluster: { kubeconfig } },
    },
    { clock: systemClock },
  );
  t.after(async () => {
    await agent.stop();
    await double.close();
    await rm(dir, { recursive: true });
  });
  const say = async (): Promise<readonly string[]> => {
    const { troubles } = (await agent.client.json('/pinpod/v1/doctor', { signal })) as DoctorReport;
    return troubles
      .filter(({ area }) => area === 'cluster')
      .map(({ object, cause, advice }) => (advice === '' ? '' : `${object} ${cause}`));
  };
  return { agent, double, port: Number(new URL(url).port), metricsPort, say };
}

const manifest = (name: string, image: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'c', image }] },
  });

async function pods(agent: FakeAgent): Promise<readonly Pod[]> {
  return ((await agent.client.json('/api/v1/pods', { signal })) as { readonly items: readonly Pod[] }).items;
}

const isReady = (pod: Pod): boolean => pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;

function ready(agent: FakeAgent, name: string, image: string): Promise<true> {
  return until(
    `${name} runs ${image}`,
    async () =>
      (await pods(agent)).some(
        (pod) => pod.metadata?.name === `${name}-${nodeName}` && pod.spec?.containers[0]?.image === image && isReady(pod),
      ) || undefined,
    20_000,
  );
}

describe('an API server that is', { concurrency: true }, () => {
  for (const fault of faults) {
    it(`${fault.what}: Pods are unaffected, the cause is said, requests are few, and it heals`, { timeout: 110_000 }, async (t) => {
      const w = await setUp(t);
      const { agent, double } = w;
      await fault.begin(w);
      const began = systemClock.now();
      agent.put('a.json', manifest('a', 'registry/a:1'));
      await agent.start();
      await ready(agent, 'a', 'registry/a:1');
      agent.put('b.json', manifest('b', 'registry/b:1'));
      await ready(agent, 'b', 'registry/b:1');
      agent.put('a.json', manifest('a', 'registry/a:2'));
      await ready(agent, 'a', 'registry/a:2');
      await rm(path.join(agent.folder, 'b.json'));
      await until('b is gone', async () => ((await pods(agent)).length === 1 ? true : undefined), 20_000);

      const { says } = fault;
      if (says !== undefined) {
        await until(`doctor says ${says}`, async () => ((await w.say()).includes(says) ? true : undefined));
        const cause = says.slice(says.lastIndexOf(' ') + 1);
        const metrics = await (await fetch(`http://127.0.0.1:${w.metricsPort}/metrics`, { headers: { connection: 'close' } })).text();
        assert.match(metrics, new RegExp(`^pinpod_troubles\\{area="cluster",cause="${cause}",severity="error"\\} [1-9]`, 'm'));
        assert.match(metrics, new RegExp(`^pinpod_api_faults\\{.*cause="${cause}".*\\} [1-9]`, 'm'));
        const { items } = (await agent.client.json('/api/v1/events', { signal })) as { readonly items: readonly Event[] };
        const told = items.filter((e) => e.reason === (fault.event ?? 'APIServerFault') && (e.message ?? '').includes(cause));
        assert.ok(told.length > 0, `an Event of ${cause}`);
      }
      // Let it last, so that a storm would show.
      await systemClock.sleep(Math.max(0, began + 12_000 - systemClock.now()), signal);
      // Joining, and three changes of Pods, take some forty by themselves.
      t.diagnostic(`${fault.what}: ${double.requests.length} requests in 12 s`);
      assert.ok(double.requests.length < 80, `${double.requests.length} requests`);
      const mirror = double.get('pods', 'default', `a-${nodeName}`);
      assert.equal(mirror !== undefined, fault.isShown === true, 'the mirror while it lasts');

      double.rules = [];
      await fault.end?.(w);
      await until('the mirror shows the Pod', () => {
        const shown = double.get('pods', 'default', `a-${nodeName}`);
        return shown?.['spec']?.containers[0]?.image === 'registry/a:2' && shown['status']?.phase === 'Running' ? true : undefined;
      });
      // News of it are Events: their way is open as well.
      agent.put('c.json', manifest('c', 'registry/c:1'));
      await until('doctor is content', async () => ((await w.say()).length === 0 ? true : undefined));
      const shown = (): string =>
        String(
          double
            .objects('pods')
            .map((pod) => pod.metadata.name)
            .sort(),
        );
      await until('nothing is left of what came and went meanwhile', () => (shown() === `a-${nodeName},c-${nodeName}` ? true : undefined));
    });
  }
});
