// Probes of every kind as the whole agent makes them: Pods on the host's network, and servers of the test that answer.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer as createTcp, type Server } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Container, Probe } from '../../src/api/gen/kubernetes.ts';
import { selfSignedCertificate } from '../../src/server/kubelet/serving-certificate.ts';
import { systemClock } from '../../src/std/clock.ts';
import { offlineImages, whyNoContainerd } from '../support/containerd.ts';
import { askedService, type HealthCheck, healthAnswer, serveHealth } from '../support/grpc-health.ts';
import { statusOf } from '../support/telling-pods.ts';
import { eventually, TestAgent } from '../support/test-agent.ts';

const sleeps = (name: string, change: Partial<Container>): Container => ({
  name,
  image: offlineImages.busybox,
  imagePullPolicy: 'IfNotPresent',
  command: ['sleep', '100000'],
  ...change,
});

async function listen(server: Server, host = '0.0.0.0'): Promise<number> {
  server.listen(0, host);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** `good` is served, `bad` is not, `dumb` never answers. */
const answerHealth: HealthCheck = (call, done) => {
  const service = askedService(call);
  if (service !== 'dumb') done(null, healthAnswer(service === 'good' ? 1 : 2));
};

describe('probes on containerd', { skip: whyNoContainerd() ?? false }, () => {
  const agent = new TestAgent();
  const close: (() => void)[] = [];
  /** How often each path was asked for. */
  const asked = new Map<string, number>();
  const firstAsked = new Map<string, number>();
  let isFlaky = false;
  let isSick = false;

  const answer: RequestListener = (request, response) => {
    const [name = ''] = (request.url ?? '').split('?');
    const count = (asked.get(name) ?? 0) + 1;
    asked.set(name, count);
    if (count === 1) firstAsked.set(name, systemClock.now());
    const { host, 'x-token': token, 'user-agent': client } = request.headers;
    const status = (code: number, headers: Record<string, string> = {}): unknown => response.writeHead(code, headers).end('said');
    switch (name) {
      case '/headers':
        return status(host === 'virtual.example' && token === 'sesame' && client === 'kube-probe/1.36' ? 200 : 400);
      case '/query':
        return status(request.url === '/query?a=b' ? 200 : 400);
      case '/moved':
        return status(302, { location: '/fine' });
      case '/away':
        return status(302, { location: 'http://elsewhere.example/' });
      case '/never':
        return undefined;
      case '/busy':
        return status(503);
      case '/flaky':
        return status(isFlaky ? 500 : 200);
      case '/sick':
        return status(isSick ? 500 : 200);
      default:
        return status(200);
    }
  };

  function probed(probes: Readonly<Record<string, Probe>>): readonly Container[] {
    return Object.entries(probes).map(([name, probe]) => sleeps(name, { readinessProbe: { periodSeconds: 1, ...probe } }));
  }

  const saysOf = (name: string, pattern: RegExp): Promise<string> =>
    eventually(agent, `${name}: ${pattern}`, async () => (await agent.events(name)).find((event) => pattern.test(event)));

  before(async () => {
    await agent.configure();
    await agent.start();
    const web = createHttp(answer);
    const local = createHttp(answer);
    const pair = await selfSignedCertificate({ folder: path.join(agent.dir, 'pki'), host: 'nobody.test' }, { clock: systemClock });
    const sealed = createHttps({ cert: pair.certificate, key: pair.key }, answer);
    const open = createTcp((socket) => socket.on('error', () => undefined));
    const closed = createTcp();
    const [port, localPort, sealedPort, openPort, closedPort] = await Promise.all([
      listen(web),
      listen(local, '127.0.0.1'),
      listen(sealed),
      listen(open),
      listen(closed),
    ]);
    closed.close();
    const health = await serveHealth(answerHealth, '0.0.0.0');
    close.push(
      () => health.server.forceShutdown(),
      () => open.close(),
      ...[web, local, sealed].map((server) => () => server.close().closeAllConnections()),
    );
    agent.putPod('good', {
      hostNetwork: true,
      terminationGracePeriodSeconds: 1,
      containers: [
        sleeps('named', {
          ports: [{ name: 'web', containerPort: port }],
          readinessProbe: { periodSeconds: 1, httpGet: { port: 'web', path: '/named' } },
        }),
        ...probed({
          headers: {
            httpGet: {
              port,
              path: '/headers',
              httpHeaders: [
                { name: 'Host', value: 'virtual.example' },
                { name: 'X-Token', value: 'sesame' },
              ],
            },
          },
          query: { httpGet: { port, path: '/query?a=b' } },
          moved: { httpGet: { port, path: '/moved' } },
          away: { httpGet: { port, path: '/away' } },
          sealed: { httpGet: { port: sealedPort, scheme: 'HTTPS', path: '/sealed' } },
          host: { httpGet: { port: localPort, host: '127.0.0.1', path: '/host' } },
          tcp: { tcpSocket: { port: openPort } },
          grpc: { grpc: { port: health.port, service: 'good' } },
          exec: { exec: { command: ['true'] } },
          patient: { httpGet: { port, path: '/patient' }, successThreshold: 3 },
          later: { httpGet: { port, path: '/later' }, initialDelaySeconds: 3 },
          flaky: { httpGet: { port, path: '/flaky' }, failureThreshold: 3 },
        }),
      ],
    });
    agent.putPod('bad', {
      hostNetwork: true,
      terminationGracePeriodSeconds: 1,
      containers: probed({
        busy: { httpGet: { port, path: '/busy' } },
        never: { httpGet: { port, path: '/never' } },
        refused: { tcpSocket: { port: closedPort } },
        unserved: { grpc: { port: health.port, service: 'bad' } },
        dumb: { grpc: { port: health.port, service: 'dumb' } },
        nogrpc: { grpc: { port } },
        exit: { exec: { command: ['sh', '-c', 'echo no; exit 3'] } },
        slow: { exec: { command: ['sleep', '5'] } },
        nameless: { httpGet: { port: 'nameless' } },
      }),
    });
    agent.putPod('hooked', {
      hostNetwork: true,
      terminationGracePeriodSeconds: 5,
      containers: [
        sleeps('app', {
          lifecycle: { postStart: { sleep: { seconds: 4 } } },
          livenessProbe: { httpGet: { port, path: '/hooked' }, periodSeconds: 1 },
        }),
      ],
    });
    agent.putPod('startup', {
      hostNetwork: true,
      terminationGracePeriodSeconds: 1,
      containers: [
        sleeps('app', {
          startupProbe: { httpGet: { port, path: '/startup' }, initialDelaySeconds: 2, periodSeconds: 1 },
          livenessProbe: { httpGet: { port, path: '/sick' }, periodSeconds: 1, failureThreshold: 2 },
        }),
      ],
    });
  });
  after(async () => {
    for (const end of close) end();
    await agent.destroy();
  });

  it('C-325 … C-330 L-411 … L-418 what is ready: ports by name, headers, redirects, TLS, host, TCP, gRPC, command', async () => {
    const pod = await agent.ready('good', () => true, 60);
    for (const { name, ready, started } of pod.status?.containerStatuses ?? []) assert.deepEqual([ready, started], [true, true], name);
    assert.ok((asked.get('/fine') ?? 0) > 0, 'the redirect was followed');
    assert.ok((asked.get('/patient') ?? 0) >= 3, 'L-403: three successes in a row');
    await saysOf('good', /^ProbeWarning: Readiness probe warning: Probe terminated redirects, Response body: said$/);
    const started = Date.parse(statusOf(pod, 'later')?.state?.running?.startedAt ?? '');
    const ready = Date.parse(pod.status?.conditions?.find(({ type }) => type === 'Ready')?.lastTransitionTime ?? '');
    assert.ok(ready - started >= 3000, 'L-399: not before its delay is over');
  });

  it('L-410 … L-419 what is not, and why', async () => {
    const says = (text: string): Promise<string> => saysOf('bad', new RegExp(`^Unhealthy: Readiness probe ${text}`));
    await says('failed: HTTP probe failed with statuscode: 503$');
    await says('failed: Get "http://[^"]*/never": context deadline exceeded \\(Client.Timeout exceeded while awaiting headers\\)$');
    await says('failed: dial tcp [^ ]*: connect: connection refused$');
    await says('failed: service unhealthy \\(responded with "NOT_SERVING"\\)$');
    await says('failed: timeout: health rpc did not complete within 1s$');
    await says('failed: timeout: failed to connect service "[^ ]*" within 1s: context deadline exceeded$');
    await says('failed: no\\n$');
    await says('failed: command timed out: "sleep 5" timed out after 1s$');
    await says('errored and resulted in unknown state: strconv.Atoi: parsing "nameless": invalid syntax');
    const pod = await agent.until('bad', 'runs', ({ status }) => status?.phase === 'Running');
    for (const { name, ready, started, restartCount } of pod.status?.containerStatuses ?? [])
      assert.deepEqual([ready, started, restartCount], [false, true, 0], name);
  });

  it('L-403 a ready container stays so until three failures in a row', async () => {
    const before = asked.get('/flaky') ?? 0;
    isFlaky = true;
    await agent.until('good', 'is not ready', (pod) => statusOf(pod, 'flaky')?.ready === false);
    assert.ok((asked.get('/flaky') ?? 0) >= before + 3);
    isFlaky = false;
    await agent.ready('good');
  });

  it('L-399 L-404 L-420 started by its startup probe, and only then asked whether it lives', async () => {
    await agent.until('startup', 'has started', (pod) => statusOf(pod, 'app')?.started === true);
    const startups = asked.get('/startup');
    await eventually(agent, 'it is asked whether it lives', () => ((asked.get('/sick') ?? 0) > 1 ? true : undefined));
    assert.deepEqual([startups, asked.get('/startup')], [1, 1], 'the startup probe is over');
    isSick = true;
    await agent.until('startup', 'was restarted', (pod) => statusOf(pod, 'app')?.restartCount === 1);
    isSick = false;
    await agent.until(
      'startup',
      'has started again',
      (pod) => statusOf(pod, 'app')?.started === true && statusOf(pod, 'app')?.ready === true,
    );
    assert.equal(asked.get('/startup'), 2);
  });

  it('L-399 L-420 L-431 a container has not started, and is not probed, before its postStart hook has ended', async () => {
    await agent.until('hooked', 'has started', (pod) => statusOf(pod, 'app')?.started === true);
    await eventually(agent, 'it is asked whether it lives', () => (asked.has('/hooked') ? true : undefined));
    const startedAt = Date.parse(statusOf((await agent.pod('hooked')) ?? {}, 'app')?.state?.running?.startedAt ?? '');
    assert.ok((firstAsked.get('/hooked') ?? 0) - startedAt >= 4000);
  });

  it('L-407 D2 an agent that comes back takes over what was known', async () => {
    const before = await agent.pod('good');
    const startups = asked.get('/startup');
    await agent.end('SIGKILL');
    await agent.start();
    const pod = await agent.until('good', 'is there', ({ status }) => status?.containerStatuses?.[0]?.containerID !== undefined);
    assert.deepEqual(pod.status?.containerStatuses, before?.status?.containerStatuses);
    assert.deepEqual(pod.status?.conditions, before?.status?.conditions);
    assert.equal(asked.get('/startup'), startups, 'what has started is not asked again');
  });
});
