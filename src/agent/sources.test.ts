// What a reload does to the sources of manifests, with real folders and a real server on the loopback.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { buildConfig } from '../../test/support/agent-config.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { Shutdown } from '../std/async.ts';
import { systemClock } from '../std/clock.ts';
import { silentLogger } from '../std/log.ts';
import { systemRandom } from '../std/random.ts';
import { Sources } from './sources.ts';

const manifest = (name: string): string =>
  JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: { containers: [{ name: 'c', image: 'i' }] } });

class World {
  readonly dir = mkdtempSync(path.join(tmpdir(), 'pinpod-sources-'));
  readonly #stop = new AbortController();
  readonly #sources: Sources;
  readonly #run: Promise<void>;
  #changed: () => void = () => undefined;

  constructor(change: (dir: string) => Partial<AgentConfig>) {
    const config = this.#config(change(this.dir));
    this.#sources = new Sources({ config, env: {} }, { clock: systemClock, random: systemRandom, logger: silentLogger });
    this.#run = this.#sources.run(() => this.#changed(), this.#stop);
    this.#run.catch(() => undefined);
  }

  put(name: string, text: string): void {
    mkdirSync(path.dirname(path.join(this.dir, name)), { recursive: true });
    writeFileSync(path.join(this.dir, 'new'), text);
    renameSync(path.join(this.dir, 'new'), path.join(this.dir, name));
  }

  reload(change: (dir: string) => Partial<AgentConfig>): void {
    this.#sources.configure(this.#config(change(this.dir)));
  }

  names(): string {
    return [...this.#sources.podConfig.desired().values()]
      .map(({ metadata }) => metadata.name)
      .sort()
      .join(' ');
  }

  faults(): readonly (string | undefined)[] {
    return this.#sources.podConfig.sources().map(({ fault }) => fault?.replaceAll(this.dir, ''));
  }

  locations(): readonly string[] {
    return this.#sources.podConfig.sources().map(({ source }) => this.#sources.locationOf(source).replaceAll(this.dir, ''));
  }

  /** Resolves when `isIt`, looked at after each change. */
  async until(isIt: () => boolean): Promise<void> {
    while (!isIt()) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  async end(): Promise<void> {
    const reason = new Shutdown();
    this.#stop.abort(reason);
    await assert.rejects(this.#run, (error) => error === reason);
    rmSync(this.dir, { recursive: true });
  }

  #config(change: Partial<AgentConfig>): AgentConfig {
    return buildConfig({ rootDir: path.join(this.dir, 'root'), staticPodPath: undefined, ...change });
  }
}

const limit = { timeout: 20_000 };

test('a reload leads the folder source elsewhere; what ran runs on until something is known there (D1)', limit, async () => {
  const world = new World((dir) => ({ staticPodPath: path.join(dir, 'a') }));
  try {
    world.put('a/web.json', manifest('web'));
    await world.until(() => world.names() === 'web-node1');
    world.reload((dir) => ({ staticPodPath: path.join(dir, 'b') }));
    await world.until(() => world.faults()[0] !== undefined);
    assert.match(world.faults()[0] ?? '', /^\/b does not exist/);
    assert.equal(world.names(), 'web-node1');
    assert.deepEqual(world.locations(), ['/b']);
    world.put('b/db.json', manifest('db'));
    await world.until(() => world.names() === 'db-node1');
    assert.deepEqual(world.faults(), [undefined]);
  } finally {
    await world.end();
  }
});

test('a reload adds a URL and takes the folder away with its Pods', limit, async () => {
  const server = createServer((request, response) => response.end(manifest(String(request.headers['x-name'])))).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const staticPodUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const folder = (dir: string): Partial<AgentConfig> => ({ staticPodPath: path.join(dir, 'a') });
  const world = new World(folder);
  try {
    world.put('a/web.json', manifest('web'));
    await world.until(() => world.names() === 'web-node1');
    const url = { staticPodUrl, httpCheckFrequencyMs: 3_600_000, staticPodUrlHeaders: { 'X-Name': ['one'] } };
    world.reload((dir) => ({ ...folder(dir), ...url }));
    await world.until(() => world.names() === 'one-node1 web-node1');
    // Another header is another question: it is asked at once.
    world.reload((dir) => ({ ...folder(dir), ...url, staticPodUrlHeaders: { 'X-Name': ['two'] } }));
    await world.until(() => world.names() === 'two-node1 web-node1');
    world.reload(() => ({ ...url, staticPodUrlHeaders: { 'X-Name': ['two'] } }));
    await world.until(() => world.names() === 'two-node1');
    assert.deepEqual(world.locations(), [staticPodUrl]);
  } finally {
    await world.end();
    server.close();
  }
});

test('a reload of other settings leaves the sources alone', limit, async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.end(manifest('one'));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const url = { staticPodUrl: `${origin}/pods`, httpCheckFrequencyMs: 3_600_000 };
  const world = new World(() => url);
  try {
    await world.until(() => world.names() === 'one-node1');
    world.reload(() => ({ ...url, maxPods: 7, logVerbosity: 4 }));
    // Whoever began anew would have asked before these are answered.
    for (let i = 0; i < 3; i++) await (await fetch(`${origin}/others`)).text();
    assert.deepEqual(asked, ['/pods', '/others', '/others', '/others']);
  } finally {
    await world.end();
    server.close();
  }
});
