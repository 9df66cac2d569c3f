// The official client library against the whole agent on real containerd: its streams are WebSockets and nothing else.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import {
  Attach,
  CoreV1Api,
  Cp,
  Exec,
  KubeConfig,
  Log,
  Metrics,
  makeInformer,
  PortForward,
  type V1Status,
  Watch,
} from '@kubernetes/client-node';
import WebSocket from 'ws';
import { offlineImages, whyNoContainerd } from '../support/containerd.ts';
import { eventually, TestAgent, uidOf } from '../support/test-agent.ts';

const shell = (script: string) => ({ image: offlineImages.busybox, imagePullPolicy: 'Never', command: ['sh', '-c', script] });

class Collected extends Writable {
  readonly #parts: Buffer[] = [];

  get text(): string {
    return Buffer.concat(this.#parts).toString();
  }

  override _write(part: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#parts.push(Buffer.from(part));
    done();
  }
}

describe('@kubernetes/client-node and the whole agent', { skip: whyNoContainerd() }, () => {
  let agent: TestAgent;
  let config: KubeConfig;
  const pod = 'web-edge1';

  before(async () => {
    agent = new TestAgent({ kubelet: { healthzPort: 0, enableServer: false } });
    await agent.configure();
    agent.putPod('web', {
      containers: [
        { name: 'httpd', ...shell("trap 'exit 0' TERM; httpd -f -p 8081 -h /www & wait"), ports: [{ containerPort: 8081 }] },
        { name: 'cat', ...shell('while read line; do echo "got $line"; done; sleep 1000'), stdin: true },
      ],
    });
    await agent.start();
    await agent.ready('web');
    config = new KubeConfig();
    config.loadFromFile(agent.kubeconfig);
  });

  after(async () => {
    await agent?.destroy();
  });

  /** Runs to its end. */
  async function exec(command: readonly string[], stdin: Readable | null = null, tty = false) {
    const [out, err] = [new Collected(), new Collected()];
    let status: V1Status | undefined;
    const socket = await new Exec(config).exec('default', pod, 'httpd', [...command], out, tty ? null : err, stdin, tty, (s) => {
      status = s;
    });
    const [code] = (await once(socket as unknown as WebSocket, 'close')) as [number];
    return { out: out.text, err: err.text, status, code, protocol: (socket as unknown as WebSocket).protocol };
  }

  it('H-220 H-224: exec, its streams, its status, a normal end', async () => {
    const done = await exec(['sh', '-c', 'echo out; echo err >&2']);
    assert.deepEqual([done.out, done.err, done.status?.status, done.protocol], ['out\n', 'err\n', 'Success', 'v5.channel.k8s.io']);
    const failed = await exec(['sh', '-c', 'exit 3']);
    assert.deepEqual([failed.status?.status, failed.status?.reason], ['Failure', 'NonZeroExitCode']);
    assert.deepEqual(failed.status?.details?.causes, [{ reason: 'ExitCode', message: '3' }]);
    const missing = await exec(['nosuch']);
    assert.match(missing.status?.message ?? '', /executable file not found in \$PATH/);
    assert.match((await exec(['tty'], null, true)).out, /^\/dev\/pts\/\d+\r\n$/);
  });

  it('H-221: the end of stdin reaches the command; 10 MiB arrive whole', async () => {
    const data = randomBytes(10 << 20);
    const sum = await exec(['sha256sum'], Readable.from([data.subarray(0, 4 << 20), data.subarray(4 << 20)]));
    assert.equal(sum.out.split(' ')[0], createHash('sha256').update(data).digest('hex'));
  });

  it('C-380, C-381: 20 at once, and a client that goes away ends its command', async () => {
    const results = await Promise.all(Array.from({ length: 20 }, (_, i) => exec(['echo', String(i)])));
    assert.deepEqual(
      results.map((r) => r.out),
      Array.from({ length: 20 }, (_, i) => `${i}\n`),
    );
    const input = new PassThrough();
    const socket = (await new Exec(config).exec(
      'default',
      pod,
      'httpd',
      ['sh', '-c', 'echo $$ > /tmp/pid; cat'],
      new Collected(),
      null,
      input,
      false,
    )) as unknown as WebSocket;
    await eventually(agent, 'it runs', async () => ((await exec(['cat', '/tmp/pid'])).out.trim() === '' ? undefined : true));
    socket.terminate();
    await eventually(agent, 'its stdin ended and so did it', async () => {
      return (await exec(['sh', '-c', 'kill -0 $(cat /tmp/pid) 2>/dev/null; echo $?'])).out === '1\n' ? true : undefined;
    });
  });

  it('C-379: attach takes input and gives output', async () => {
    const out = new Collected();
    const input = new PassThrough();
    const socket = (await new Attach(config).attach('default', pod, 'cat', out, null, input, false)) as unknown as WebSocket;
    input.write('hello\n');
    await eventually(agent, 'the answer', () => out.text.includes('got hello\n') || undefined);
    const before = (await agent.pod('web'))?.status?.containerStatuses?.map((c) => c.containerID);
    socket.close();
    await once(socket, 'close');
    assert.deepEqual(
      (await agent.pod('web'))?.status?.containerStatuses?.map((c) => c.containerID),
      before,
    );
  });

  it('H-232: port-forward in the older protocol, whose ports are in the query', async () => {
    const out = new Collected();
    const [err, input] = [new Collected(), new PassThrough()];
    const socket = (await new PortForward(config).portForward('default', pod, [8081], out, err, input)) as unknown as WebSocket;
    input.write('GET / HTTP/1.0\r\n\r\n');
    await eventually(
      agent,
      'the page',
      () => /^HTTP\/1\.[01] 200 OK\r\n[\s\S]*<\/?\w+>|^HTTP\/1\.[01] 200[\s\S]*\r\n\r\n./.test(out.text) || undefined,
    );
    assert.equal(err.text, '');
    socket.close();
  });

  it('C-395: cp both ways', async () => {
    const up = path.join(agent.dir, 'up');
    mkdirSync(up);
    const data = randomBytes((3 << 20) + 17);
    writeFileSync(path.join(up, 'file'), data);
    const cp = new Cp(config);
    await cp.cpToPod('default', pod, 'httpd', up, '/tmp');
    await eventually(agent, 'it is there', async () => {
      const sum = await exec(['sha256sum', '/tmp/file']);
      return sum.out.startsWith(createHash('sha256').update(data).digest('hex')) || undefined;
    });
    const back = path.join(agent.dir, 'back');
    await cp.cpFromPod('default', pod, 'httpd', 'file', back, '/tmp');
    // It says that it is done before it is.
    const read = (): Buffer | undefined => (existsSync(path.join(back, 'file')) ? readFileSync(path.join(back, 'file')) : undefined);
    await eventually(agent, 'it is back', () => read()?.equals(data) || undefined);
  });

  it('list, watch, informer, log, metrics', async () => {
    const api = config.makeApiClient(CoreV1Api);
    const list = await api.listNamespacedPod({ namespace: 'default' });
    assert.deepEqual(
      list.items.map((one) => one.metadata?.name),
      [pod],
    );
    const added: string[] = [];
    const informer = makeInformer(config, '/api/v1/namespaces/default/pods', () => api.listNamespacedPod({ namespace: 'default' }));
    informer.on('add', (one) => added.push(one.metadata?.name ?? ''));
    await informer.start();
    const seen: string[] = [];
    const watch = await new Watch(config).watch(
      '/api/v1/pods',
      { resourceVersion: list.metadata?.resourceVersion },
      (type, one: { readonly metadata: { readonly name: string } }) => seen.push(`${type} ${one.metadata.name}`),
      () => undefined,
    );
    agent.putPod('other', { containers: [{ name: 'c', ...shell('exec sleep 1000') }], terminationGracePeriodSeconds: 1 });
    await eventually(agent, 'the informer has it', () => added.includes('other-edge1') || undefined);
    await eventually(agent, 'the watch has it', () => seen.includes('ADDED other-edge1') || undefined);
    await informer.stop();
    watch.abort();
    assert.ok(!seen.includes(`ADDED ${pod}`), 'a watch from the list sees only what came later');

    const log = new Collected();
    await new Log(config).log('default', pod, 'cat', log);
    await eventually(agent, 'the log', () => log.text.includes('got hello\n') || undefined);
    const usage = await eventually(agent, 'usage', async () =>
      (await new Metrics(config).getPodMetrics('default')).items.find((item) => item.metadata.name === pod),
    );
    assert.deepEqual(usage.containers.map((c) => c.name).sort(), ['cat', 'httpd']);
    assert.ok(uidOf((await agent.pod('web')) ?? {}) !== '');
  });

  it('H-227 H-210: older protocols are the runtime’s matter; nonsense is refused and harms nobody', async () => {
    const server = config.getCurrentCluster()?.server.replace('https', 'wss') ?? '';
    const options: WebSocket.ClientOptions = {};
    await config.applyToHTTPSOptions(options as Parameters<KubeConfig['applyToHTTPSOptions']>[0]);
    const url = `${server}/api/v1/namespaces/default/pods/${pod}/exec?command=echo&command=hi&stdout=true&container=httpd`;
    const connect = (
      protocols: string[],
      query = '',
    ): Promise<{ readonly messages: Buffer[]; readonly code: number; readonly protocol: string }> =>
      new Promise((resolve, reject) => {
        const messages: Buffer[] = [];
        const socket = new WebSocket(url + query, protocols, options);
        socket.on('message', (data) => messages.push(data as Buffer));
        socket.on('unexpected-response', (_request, response) => reject(new Error(`refused with ${response.statusCode}`)));
        socket.on('error', reject);
        socket.on('close', (code) => resolve({ messages, code, protocol: socket.protocol }));
      });
    const old = await connect(['v4.channel.k8s.io']);
    assert.equal(old.protocol, 'v4.channel.k8s.io');
    assert.ok(old.messages.some((message) => message.equals(Buffer.from('\x01hi\n'))));
    const base64 = await connect(['v4.base64.channel.k8s.io']);
    assert.ok(base64.messages.some((message) => message.toString() === `1${Buffer.from('hi\n').toString('base64')}`));
    const plain = await connect(['v5.channel.k8s.io']);
    assert.deepEqual([plain.code, plain.messages[0]], [1000, Buffer.of(1)], 'H-222: an empty message first');
    await assert.rejects(connect(['nonsense.example']), /refused with 403|refused with 400|Unexpected|closed|hang up/);
    const text = new WebSocket(
      url.replace('command=echo&command=hi', 'command=sleep&command=5&stdin=true'),
      ['v5.channel.k8s.io'],
      options,
    );
    text.on('open', () => text.send('text'));
    assert.deepEqual((await once(text, 'close'))[0], 1003);
    assert.equal((await exec(['echo', 'still here'])).out, 'still here\n');
  });
});
