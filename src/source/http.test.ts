import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import type { Pod } from '../api/pod.ts';
import { Shutdown } from '../std/async.ts';
import { systemClock } from '../std/clock.ts';
import { type LogFields, type Logger, silentLogger } from '../std/log.ts';
import { HttpSource, type HttpSourceDeps, type HttpSourceOptions } from './http.ts';
import { createHttpGet, type HttpAnswer, type HttpGet, type HttpGetOptions } from './http-get.ts';
import { type LastGood, LastGoodFolder, noLastGood } from './last-good.ts';
import { parseUrlManifest } from './parse-manifest.ts';
import { proxyFor } from './proxy.ts';
import type { SourceSnapshot } from './source.ts';

const url = 'http://manifests.test/pods';
const parse = parseUrlManifest({ nodeName: 'node' });

function manifest(name: string, image = 'nginx'): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: { containers: [{ name: 'c', image }] } });
}

function listOf(...names: readonly string[]): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'PodList', items: names.map((name) => JSON.parse(manifest(name))) });
}

function answer(body: string | Uint8Array, more: Partial<HttpAnswer> = {}): HttpAnswer {
  return {
    status: 200,
    statusText: 'OK',
    bytes: typeof body === 'string' ? Buffer.from(body) : body,
    etag: undefined,
    lastModified: undefined,
    contentType: 'application/json',
    retryAfter: undefined,
    ...more,
  };
}

const namesOf = (snapshot: SourceSnapshot): readonly string[] => snapshot.pods.map((pod: Pod) => pod.metadata.name);

type Reply = HttpAnswer | Error | 'hang';

interface Story {
  readonly clock: FakeClock;
  readonly snapshots: SourceSnapshot[];
  /** What was asked, and when. */
  readonly asked: { readonly at: number; readonly ifNoneMatch: string | undefined }[];
  readonly logged: string[];
  stop(): Promise<void>;
}

/** Runs the source against the given answers, one per request, the last one for ever. */
function tell(replies: readonly Reply[], options: Partial<HttpSourceOptions> = {}, deps: Partial<HttpSourceDeps> = {}): Story {
  const clock = new FakeClock(0);
  const asked: Story['asked'] = [];
  const get: HttpGet = ({ ifNoneMatch }, { signal }) => {
    const reply = replies[Math.min(asked.length, replies.length - 1)];
    asked.push({ at: clock.now(), ifNoneMatch });
    if (reply === 'hang' || reply === undefined)
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    return reply instanceof Error ? Promise.reject(reply) : Promise.resolve(reply);
  };
  const logged: string[] = [];
  const write = (level: string) => (message: string, fields?: LogFields) => logged.push(`${level} ${message} ${JSON.stringify(fields)}`);
  const log: Logger = { error: write('error'), warn: write('warn'), info: write('info'), debug: write('debug'), child: () => log };
  const source = new HttpSource(
    { url, headers: {}, httpCheckFrequencyMs: 20_000, sourceFaultPolicy: 'keep', ...options },
    { get, parse, lastGood: noLastGood, clock, random: { next: () => 0 }, log, ...deps },
  );
  const stop = new AbortController();
  const snapshots: SourceSnapshot[] = [];
  const ended = (async () => {
    for await (const snapshot of source.snapshots({ signal: stop.signal })) snapshots.push(snapshot);
  })();
  return {
    clock,
    snapshots,
    asked,
    logged,
    async stop() {
      stop.abort(new Shutdown());
      await ended;
    },
  };
}

const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });

describe('the URL source', () => {
  const stories: Story[] = [];
  function story(...args: Parameters<typeof tell>): Story {
    const told = tell(...args);
    stories.push(told);
    return told;
  }
  afterEach(async () => {
    for (const told of stories.splice(0)) await told.stop();
  });

  it('C-016, S-069: a Pod: suffixed, defaulted, without the toleration of files', async () => {
    const { snapshots } = story([answer(manifest('foo'))]);
    await settle();
    const [pod] = snapshots[0]?.pods ?? [];
    assert.equal(pod?.metadata.name, 'foo-node');
    assert.equal(pod?.spec.tolerations, undefined);
    assert.equal(pod?.spec.restartPolicy, 'Always');
    assert.deepEqual(snapshots[0]?.manifests, [{ path: url, pod: 'default/foo-node', verdict: { kind: 'accepted' } }]);
  });

  it('C-017, S-070, S-072, S-226: a list; of two items with one name the first is kept', async () => {
    const { snapshots } = story([answer(listOf('a', 'b', 'a'))]);
    await settle();
    assert.deepEqual(namesOf(snapshots[0] ?? assert.fail()), ['a-node', 'b-node']);
    assert.deepEqual(
      snapshots[0]?.manifests.map(({ index, verdict }) => [index, verdict.kind]),
      [
        [0, 'accepted'],
        [1, 'accepted'],
        [2, 'shadowed'],
      ],
    );
  });

  it('YAML is understood as well', async () => {
    const { snapshots } = story([answer('apiVersion: v1\nkind: Pod\nmetadata: {name: yaml}\nspec: {containers: [{name: c, image: i}]}\n')]);
    await settle();
    assert.deepEqual(namesOf(snapshots[0] ?? assert.fail()), ['yaml-node']);
  });

  it('S-061: asked again after the check frequency; an unchanged body is no news (S-067)', async () => {
    const { clock, asked, snapshots } = story([answer(manifest('foo'))]);
    await settle();
    await clock.advance(60_000);
    assert.deepEqual(
      asked.map(({ at }) => at),
      [0, 20_000, 40_000, 60_000],
    );
    assert.equal(snapshots.length, 1);
  });

  it('conditional: the version that the server named is named to it; 304 keeps all', async () => {
    const { clock, asked, snapshots } = story([
      answer(manifest('foo'), { etag: '"1"' }),
      answer('', { status: 304 }),
      answer(manifest('bar'), { etag: '"2"' }),
    ]);
    await settle();
    await clock.advance(40_000);
    assert.deepEqual(
      asked.map(({ ifNoneMatch }) => ifNoneMatch),
      [undefined, '"1"', '"1"'],
    );
    assert.deepEqual(snapshots.map(namesOf), [['foo-node'], ['bar-node']]);
  });

  const failures: readonly (readonly [string, Reply, RegExp])[] = [
    ['C-014: nobody listens', refused, /: connection refused$/],
    ['S-064: 404', answer('nothing here', { status: 404, statusText: 'Not Found' }), /: 404 Not Found$/],
    ['C-089: 500', answer('', { status: 500, statusText: 'Internal Server Error' }), /: 500 Internal Server Error$/],
    ['S-065: an empty answer', answer(''), /^zero-length data received from /],
    ['an empty list', answer(listOf()), /: the answer is a list without Pods$/],
    ['a web page', answer('<!doctype html><p>Please log in', { contentType: 'text/html' }), /: the answer is a web page, not a manifest$/],
    ['S-073: a cut-off answer', answer(manifest('foo').slice(0, 40)), /: the answer cannot be used$/],
    ['S-071: a list with one bad item', answer(listOf('a', '_bad_')), /: the answer cannot be used$/],
    ['S-062: an answer that never ends', 'hang', /: no complete answer within 10 s$/],
    [
      'TLS',
      Object.assign(new Error('self-signed'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }),
      /: the certificate is not signed by a known authority$/,
    ],
  ];
  describe('D1: the last good version keeps running, with the reason', () => {
    for (const [what, reply, fault] of failures)
      it(what, async () => {
        const { clock, snapshots } = story([answer(manifest('foo')), reply, answer(manifest('bar'))]);
        await settle();
        await clock.advance(20_000 + 10_000);
        assert.deepEqual(snapshots.slice(0, 2).map(namesOf), [['foo-node'], ['foo-node']]);
        assert.match(snapshots[1]?.fault ?? '', fault);
        await clock.advance(30_000);
        assert.deepEqual(namesOf(snapshots.at(-1) ?? assert.fail()), ['bar-node']);
        assert.equal(snapshots.at(-1)?.fault, undefined);
      });
  });

  it('C-013, S-063: what never answered is not seen', async () => {
    const { snapshots } = story([refused]);
    await settle();
    assert.equal(snapshots[0]?.unread, true);
    assert.deepEqual(snapshots[0]?.pods, []);
  });

  describe('C-015: the verdict tells what is wrong', () => {
    const rows: readonly (readonly [string, object, string])[] = [
      ['no apiVersion', { apiVersion: undefined }, 'apiVersion'],
      ['an unknown apiVersion', { apiVersion: 'v1betta2' }, 'apiVersion'],
      ['a container that is no map', { spec: { containers: ['c'] } }, 'spec.containers[0]'],
      [
        'a volume with a bad name',
        { spec: { containers: [{ name: 'c', image: 'i' }], volumes: [{ name: '_INVALID_', emptyDir: {} }] } },
        'spec.volumes[0].name',
      ],
      [
        'two volumes with one name',
        {
          spec: {
            containers: [{ name: 'c', image: 'i' }],
            volumes: [
              { name: 'v', emptyDir: {} },
              { name: 'v', emptyDir: {} },
            ],
          },
        },
        'spec.volumes[1].name',
      ],
      ['a container without a name', { spec: { containers: [{ image: 'i' }] } }, 'spec.containers[0].name'],
      ['a container with a bad name', { spec: { containers: [{ name: '_INVALID_', image: 'i' }] } }, 'spec.containers[0].name'],
      ['an unknown field', { spec: { containers: [{ name: 'c', image: 'i', imge: 'x' }] } }, 'spec.containers[0].imge'],
    ];
    for (const [what, change, field] of rows)
      it(what, async () => {
        const { snapshots } = story([answer(JSON.stringify({ ...JSON.parse(manifest('foo')), ...change }))]);
        await settle();
        const verdict = snapshots[0]?.manifests[0]?.verdict;
        assert.ok(verdict?.kind === 'rejected');
        assert.equal(verdict.problems[0]?.field, field);
      });
  });

  it('the back-off starts at a second, doubles, and is never slower than the ordinary pace', async () => {
    const { clock, asked } = story([refused]);
    await settle();
    await clock.advance(80_000);
    assert.deepEqual(
      asked.map(({ at }) => at / 1000),
      [0, 1, 3, 7, 15, 31, 51, 71],
    );
  });

  it('Retry-After is obeyed', async () => {
    const { clock, asked } = story([answer('', { status: 503, retryAfter: '120' })]);
    await settle();
    await clock.advance(130_000);
    assert.deepEqual(
      asked.map(({ at }) => at / 1000),
      [0, 120],
    );
  });

  it('S-075, C-089: three failures are told, the fourth says that it is the last, success is told again', async () => {
    const { clock, logged } = story([refused, refused, refused, refused, refused, answer(manifest('foo'))]);
    await settle();
    await clock.advance(40_000);
    const levels = logged.map((line) => line.split(' ')[0]);
    assert.deepEqual(levels, ['warn', 'warn', 'warn', 'warn', 'debug', 'info']);
    assert.match(logged[3] ?? '', /only logged for debugging/);
  });

  it('S-060: neither header values nor credentials in the URL are logged or shown', async () => {
    const { snapshots, logged } = story([answer('', { status: 500 }), refused], {
      url: 'http://user:secret@manifests.test/',
      headers: { Token: ['secret'] },
    });
    await settle();
    assert.ok(!JSON.stringify([snapshots, logged]).includes('secret'));
  });

  describe('sourceFaultPolicy: follow', () => {
    const follow = { sourceFaultPolicy: 'follow' } as const;

    it('S-063: a failure changes nothing but the fault; asked again after the frequency (S-061)', async () => {
      const { clock, asked, snapshots } = story([answer(manifest('foo')), refused], follow);
      await settle();
      await clock.advance(40_000);
      assert.deepEqual(snapshots.map(namesOf), [['foo-node'], ['foo-node']]);
      assert.deepEqual(
        asked.map(({ at }) => at / 1000),
        [0, 20, 40],
      );
    });

    it('C-088, S-065, S-066: an empty answer removes the Pods; the same body does not bring them back, another does', async () => {
      const { clock, snapshots } = story([answer(manifest('foo')), answer(''), answer(manifest('foo')), answer(manifest('bar'))], follow);
      await settle();
      await clock.advance(20_000);
      assert.deepEqual(snapshots.map(namesOf), [['foo-node'], []]);
      await clock.advance(20_000);
      assert.deepEqual(namesOf(snapshots.at(-1) ?? assert.fail()), []);
      await clock.advance(20_000);
      assert.deepEqual(namesOf(snapshots.at(-1) ?? assert.fail()), ['bar-node']);
    });

    it('an empty list removes the Pods', async () => {
      const { clock, snapshots } = story([answer(manifest('foo')), answer(listOf())], follow);
      await settle();
      await clock.advance(20_000);
      assert.deepEqual(snapshots.map(namesOf), [['foo-node'], []]);
    });

    it('S-068: a body that cannot be used is told once', async () => {
      const { clock, logged } = story([answer('{'), answer('{')], follow);
      await settle();
      await clock.advance(20_000);
      assert.deepEqual(
        logged.map((line) => line.split(' ')[0]),
        ['warn', 'info'],
      );
    });
  });

  describe('the last good answer on disk', () => {
    let folder = '';
    let lastGood: LastGood;
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'pinpod-http-'));
      lastGood = new LastGoodFolder({ folder }, { log: silentLogger });
    });
    after(() => rmSync(folder, { recursive: true }));

    it('a reboot without a network starts its Pods, and they are the very same', async () => {
      const told = story([answer(manifest('foo'))], {}, { lastGood });
      await untilFirst(told);
      const rebooted = story([refused], {}, { lastGood });
      await untilFirst(rebooted);
      assert.equal(rebooted.snapshots[0]?.pods[0]?.metadata.uid, told.snapshots[0]?.pods[0]?.metadata.uid);
      assert.equal(rebooted.snapshots[0]?.unread, undefined);
      assert.match(rebooted.snapshots[0]?.fault ?? '', /connection refused/);
    });
  });
});

/** The disk is real in these: turns of the event loop, until the first snapshot is there. */
async function untilFirst({ snapshots }: Story): Promise<void> {
  while (snapshots.length === 0) await new Promise((resolve) => setImmediate(resolve));
}

describe('createHttpGet', { timeout: 30_000 }, () => {
  const servers: http.Server[] = [];
  const sockets = new Set<Socket>();
  let certificates = '';
  before(() => {
    certificates = mkdtempSync(join(tmpdir(), 'pinpod-tls-'));
    const openssl = (...args: readonly string[]): void => void execFileSync('openssl', args, { cwd: certificates, stdio: 'ignore' });
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-keyout',
      'key.pem',
      '-out',
      'cert.pem',
      '-days',
      '30',
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:manifests.test',
    );
  });
  after(() => rmSync(certificates, { recursive: true }));
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    for (const server of servers.splice(0)) server.close();
  });

  async function listen(server: http.Server): Promise<number> {
    servers.push(server);
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  }
  const serve = (handle: http.RequestListener): Promise<number> => listen(http.createServer(handle));
  const pem = (name: string): string => join(certificates, name);

  function get(
    target: string,
    more: {
      readonly headers?: Record<string, readonly string[]>;
      readonly options?: Partial<HttpGetOptions>;
      readonly limitBytes?: number;
    } = {},
  ) {
    const fetch = createHttpGet({ proxyEnvironment: {}, ...more.options });
    return fetch(
      { url: target, headers: more.headers ?? {}, limitBytes: more.limitBytes ?? 1_000_000 },
      { signal: new AbortController().signal },
    );
  }

  it('C-018, S-060: headers are sent as given, several values as several lines; Host has no effect', async () => {
    let seen: readonly string[] = [];
    const port = await serve((request, response) => {
      seen = request.rawHeaders;
      response.end('x');
    });
    await get(`http://u:p@127.0.0.1:${port}/`, { headers: { 'metadata-flavor': ['Google'], 'X-Many': ['a', 'b'], host: ['evil'] } });
    const values = (name: string): readonly string[] => seen.filter((_, i) => i % 2 === 1 && seen[i - 1] === name);
    assert.deepEqual(values('Metadata-Flavor'), ['Google']);
    assert.deepEqual(values('X-Many'), ['a', 'b']);
    assert.deepEqual(values('Host'), [`127.0.0.1:${port}`]);
    assert.deepEqual(values('Authorization'), ['Basic dTpw']);
  });

  it('gzip, within the limit after unpacking', async () => {
    const port = await serve((_, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' });
      response.end(gzipSync(Buffer.alloc(100_000, 'a')));
    });
    assert.equal((await get(`http://127.0.0.1:${port}/`)).bytes.length, 100_000);
    await assert.rejects(get(`http://127.0.0.1:${port}/`, { limitBytes: 100_000 }), { code: 'too-large' });
  });

  it('an endless answer ends at the limit', async () => {
    const port = await serve((_, response) => {
      const more = (): void => {
        while (response.write(Buffer.alloc(65_536)));
      };
      response.on('drain', more);
      more();
    });
    await assert.rejects(get(`http://127.0.0.1:${port}/`), { code: 'too-large' });
  });

  it('a cut-off answer is an error, plain and packed', async () => {
    for (const headers of [{ 'content-length': '100' }, { 'content-length': '100', 'content-encoding': 'gzip' }]) {
      const port = await serve((_, response) => {
        response.writeHead(200, headers);
        response.write(gzipSync('hello').subarray(0, 12), () => response.destroy());
      });
      await assert.rejects(get(`http://127.0.0.1:${port}/`));
    }
  });

  it('a signal ends it, with its reason', async () => {
    const reason = new Shutdown();
    const stop = new AbortController();
    const port = await serve((_, response) => {
      response.write('{');
      stop.abort(reason);
    });
    const fetch = createHttpGet({ proxyEnvironment: {} });
    await assert.rejects(
      fetch({ url: `http://127.0.0.1:${port}/`, headers: {}, limitBytes: 1000 }, { signal: stop.signal }),
      (error) => error === reason,
    );
  });

  it('S-062: redirects are followed, ten at most; another origin gets no configured header', async () => {
    let seen: http.IncomingHttpHeaders = {};
    const other = await serve((request, response) => {
      seen = request.headers;
      response.end('there');
    });
    const port = await serve((request, response) => {
      response.writeHead(302, { location: request.url === '/loop' ? '/loop' : `http://127.0.0.1:${other}/` });
      response.end();
    });
    assert.equal(Buffer.from((await get(`http://127.0.0.1:${port}/`, { headers: { Token: ['secret'] } })).bytes).toString(), 'there');
    assert.equal(seen['token'], undefined);
    await assert.rejects(get(`http://127.0.0.1:${port}/loop`), { code: 'too-many-redirects' });
  });

  it('TLS: the system does not know the server, the given authority does; a client certificate is shown', async () => {
    let client: string | undefined;
    const server = https.createServer(
      {
        key: readFileSync(pem('key.pem')),
        cert: readFileSync(pem('cert.pem')),
        ca: readFileSync(pem('cert.pem')),
        requestCert: true,
        rejectUnauthorized: false,
      },
      (request, response) => {
        client = (request.socket as import('node:tls').TLSSocket).getPeerCertificate().subject?.CN as string | undefined;
        response.end('safe');
      },
    );
    const port = await listen(server);
    await assert.rejects(get(`https://localhost:${port}/`), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    const options = { caFile: pem('cert.pem'), certFile: pem('cert.pem'), keyFile: pem('key.pem') };
    assert.equal(Buffer.from((await get(`https://localhost:${port}/`, { options })).bytes).toString(), 'safe');
    assert.equal(client, 'localhost');
  });

  it('proxies: http is asked of the proxy, https goes through a tunnel', async () => {
    const asked: string[] = [];
    const secure = await listen(
      https.createServer({ key: readFileSync(pem('key.pem')), cert: readFileSync(pem('cert.pem')) }, (_, response) =>
        response.end('tunnelled'),
      ),
    );
    const proxy = http.createServer((request, response) => {
      asked.push(`${request.method} ${request.url} ${request.headers['proxy-authorization']}`);
      response.end('proxied');
    });
    proxy.on('connect', (request: http.IncomingMessage, socket: Socket) => {
      asked.push(`CONNECT ${request.url}`);
      const through = connect(secure, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        through.pipe(socket).pipe(through);
      });
      through.on('error', () => socket.destroy());
      socket.on('error', () => through.destroy());
    });
    const proxyUrl = `http://me:pw@127.0.0.1:${await listen(proxy)}`;
    const options = { proxyEnvironment: { HTTP_PROXY: proxyUrl, HTTPS_PROXY: proxyUrl }, caFile: pem('cert.pem') };
    assert.equal(Buffer.from((await get('http://manifests.test/a?b', { options })).bytes).toString(), 'proxied');
    assert.equal(Buffer.from((await get('https://manifests.test/', { options })).bytes).toString(), 'tunnelled');
    assert.deepEqual(asked, ['GET http://manifests.test/a?b Basic bWU6cHc=', 'CONNECT manifests.test:443']);
  });

  it('from a server to the Pods, with everything real', async () => {
    const port = await serve((_, response) => response.end(manifest('real')));
    const source = new HttpSource(
      { url: `http://127.0.0.1:${port}/`, headers: {}, httpCheckFrequencyMs: 20_000, sourceFaultPolicy: 'keep' },
      {
        get: createHttpGet({ proxyEnvironment: {} }),
        parse,
        lastGood: noLastGood,
        clock: systemClock,
        random: { next: () => 0 },
        log: silentLogger,
      },
    );
    const stop = new AbortController();
    for await (const snapshot of source.snapshots({ signal: stop.signal })) {
      assert.deepEqual(namesOf(snapshot), ['real-node']);
      stop.abort(new Shutdown());
    }
  });
});

describe('proxyFor', () => {
  const env = {
    HTTP_PROXY: 'proxy:3128',
    https_proxy: 'https://secure:1',
    NO_PROXY: 'example.com, .sub.test,10.0.0.0/8,192.168.1.1,with.port:8080',
  };
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['http://a.test/', 'http://proxy:3128/'],
    ['https://a.test/', 'https://secure:1/'],
    ['http://localhost/', undefined],
    ['http://127.0.0.1:80/', undefined],
    ['http://[::1]/', undefined],
    ['http://example.com/', undefined],
    ['http://www.example.com/', undefined],
    ['http://notexample.com/', 'http://proxy:3128/'],
    ['http://x.sub.test/', undefined],
    ['http://sub.test/', 'http://proxy:3128/'],
    ['http://10.1.2.3/', undefined],
    ['http://11.1.2.3/', 'http://proxy:3128/'],
    ['http://192.168.1.1/', undefined],
    ['http://with.port:8080/', undefined],
    ['http://with.port/', 'http://proxy:3128/'],
  ];
  for (const [target, expected] of rows)
    it(`${target} → ${expected ?? 'directly'}`, () => assert.equal(proxyFor(new URL(target), env)?.href, expected));
  it('* exempts all', () => assert.equal(proxyFor(new URL('http://a.test/'), { ...env, NO_PROXY: '*' }), undefined));
});
